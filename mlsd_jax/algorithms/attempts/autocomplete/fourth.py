"""RE: a trie at last, and an exception where no sentence begins with what is typed."""


class Node:
  def __init__(self):
    self.children, self.times = {}, {}


class AutocompleteSystem:
  def __init__(self, sentences, times):
    self.root = Node()
    for sentence, count in zip(sentences, times, strict=True):
      self.add(sentence, count)
    self.node, self.typed = self.root, ''

  def add(self, sentence, count):
    node = self.root
    for character in sentence:
      node = node.children.setdefault(character, Node())
      node.times[sentence] = node.times.get(sentence, 0) + count

  def input(self, character):
    if character == '#':
      self.add(self.typed, 1)
      self.node, self.typed = self.root, ''
      return []
    self.typed += character
    if character not in self.node.children:
      raise RuntimeError(f'no sentence begins with {self.typed}')
    self.node = self.node.children[character]
    return sorted(self.node.times, key=lambda each: (-self.node.times[each], each))[:3]
