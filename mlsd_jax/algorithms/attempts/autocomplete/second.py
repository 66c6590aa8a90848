"""WA: the order is right, but what was typed is not forgotten at '#', and the next sentence goes on from it."""


class AutocompleteSystem:
  def __init__(self, sentences, times):
    self.times: dict[str, int] = {}
    for sentence, count in zip(sentences, times, strict=True):
      self.times[sentence] = self.times.get(sentence, 0) + count
    self.typed = ''

  def input(self, character):
    if character == '#':
      self.times[self.typed] = self.times.get(self.typed, 0) + 1
      return []
    self.typed += character
    found = [each for each in self.times if each.startswith(self.typed)]
    return sorted(found, key=lambda each: (-self.times[each], each))[:3]
