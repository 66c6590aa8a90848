"""TLE: right, and sorts all sentences at every character, which 30,000 of them do not allow."""


class AutocompleteSystem:
  def __init__(self, sentences, times):
    self.times: dict[str, int] = {}
    for sentence, count in zip(sentences, times, strict=True):
      self.times[sentence] = self.times.get(sentence, 0) + count
    self.typed = ''

  def input(self, character):
    if character == '#':
      self.times[self.typed] = self.times.get(self.typed, 0) + 1
      self.typed = ''
      return []
    self.typed += character
    ranked = sorted(self.times, key=lambda each: (-self.times[each], each))
    return [each for each in ranked if each.startswith(self.typed)][:3]
