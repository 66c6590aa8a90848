"""WA: sorts by the count alone, so that of equally frequent sentences those that came first are shown."""


class AutocompleteSystem:
  def __init__(self, sentences, times):
    self.times = dict(zip(sentences, times, strict=True))
    self.typed = ''

  def input(self, character):
    if character == '#':
      self.times[self.typed] = self.times.get(self.typed, 0) + 1
      self.typed = ''
      return []
    self.typed += character
    found = [each for each in self.times if each.startswith(self.typed)]
    return sorted(found, key=lambda each: -self.times[each])[:3]
