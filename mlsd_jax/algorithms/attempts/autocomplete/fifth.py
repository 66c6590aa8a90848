"""MLE: a table of all prefixes, each with a page of its own for its sentences; right on usual cases."""

PAGE = 4096  # bytes


class AutocompleteSystem:
  def __init__(self, sentences, times):
    self.pages: dict[str, bytearray] = {}
    self.below: dict[str, dict[str, int]] = {}
    for sentence, count in zip(sentences, times, strict=True):
      self.add(sentence, count)
    self.typed = ''

  def add(self, sentence, count):
    for end in range(1, len(sentence) + 1):
      prefix = sentence[:end]
      below = self.below.setdefault(prefix, {})
      below[sentence] = below.get(sentence, 0) + count
      self.pages.setdefault(prefix, bytearray(b'\0' * PAGE))

  def input(self, character):
    if character == '#':
      self.add(self.typed, 1)
      self.typed = ''
      return []
    self.typed += character
    below = self.below.get(self.typed, {})
    return sorted(below, key=lambda each: (-below[each], each))[:3]
