"""AC: a trie in which each prefix keeps its three best, since a count only grows."""


class Node:
  def __init__(self):
    self.children, self.best = {}, []


class AutocompleteSystem:
  def __init__(self, sentences, times):
    self.root, self.times = Node(), {}
    for sentence, count in zip(sentences, times, strict=True):
      self.add(sentence, count)
    self.node, self.typed = self.root, ''

  def add(self, sentence, count):
    self.times[sentence] = self.times.get(sentence, 0) + count
    node = self.root
    for character in sentence:
      node = node.children.setdefault(character, Node())
      among = {*node.best, sentence}
      node.best = sorted(among, key=lambda each: (-self.times[each], each))[:3]

  def input(self, character):
    if character == '#':
      self.add(self.typed, 1)
      self.node, self.typed = self.root, ''
      return []
    self.typed += character
    self.node = self.node.children.get(character, Node())
    return self.node.best
