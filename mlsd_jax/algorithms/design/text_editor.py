"""Text editor.

A text with a cursor; every k is 0 or more. `add_text(text)` types it at the cursor, `delete_text(k)` deletes up to k
characters to the left and answers how many, `cursor_left(k)` and `cursor_right(k)` move the cursor by up to k and
answer the last ten characters to its left. Every operation costs its k, whatever the length of the text. `undo()`
and `redo()` take back and do again the latest change of the text (the cursor goes where it was); they answer whether
there was one. A new change forgets what could be redone."""

import random

from mlsd_jax.algorithms.problem import Call, Problem

SHOWN = 10


class TextEditor:
  """Two stacks of characters, left and right of the cursor, and two of changes: (place, removed, typed)."""

  def __init__(self):
    self.left: list[str] = []
    self.right: list[str] = []
    self.done: list[tuple[int, str, str]] = []
    self.undone: list[tuple[int, str, str]] = []

  def add_text(self, text: str) -> None:
    self._record(len(self.left), '', text)
    self.left += text

  def delete_text(self, k: int) -> int:
    k = min(k, len(self.left))
    if k:
      removed = ''.join(self.left[-k:])
      del self.left[-k:]
      self._record(len(self.left), removed, '')
    return k

  def cursor_left(self, k: int) -> str:
    self._move(-min(k, len(self.left)))
    return ''.join(self.left[-SHOWN:])

  def cursor_right(self, k: int) -> str:
    self._move(min(k, len(self.right)))
    return ''.join(self.left[-SHOWN:])

  def undo(self) -> bool:
    if not self.done:
      return False
    place, removed, typed = self.done.pop()
    self.undone.append((place, removed, typed))
    self._replace(place, typed, removed)
    return True

  def redo(self) -> bool:
    if not self.undone:
      return False
    place, removed, typed = self.undone.pop()
    self.done.append((place, removed, typed))
    self._replace(place, removed, typed)
    return True

  def _record(self, place: int, removed: str, typed: str) -> None:
    self.done.append((place, removed, typed))
    self.undone.clear()

  def _move(self, by: int) -> None:
    source, target = (self.right, self.left) if by > 0 else (self.left, self.right)
    for _ in range(abs(by)):
      target.append(source.pop())

  def _replace(self, place: int, old: str, new: str) -> None:
    """Puts `new` where `old` begins at `place`; the cursor ends behind it. Costs its distance from the cursor."""
    self._move(place + len(old) - len(self.left))
    del self.left[place:]
    self.left += new


class Oracle:
  """A string, and every earlier one."""

  def __init__(self):
    self.text, self.cursor, self.before, self.after = '', 0, [], []

  def _change(self, text, cursor):
    self.before.append((self.text, self.cursor, cursor))
    self.after.clear()
    self.text, self.cursor = text, cursor

  def add_text(self, text):
    self._change(self.text[: self.cursor] + text + self.text[self.cursor :], self.cursor + len(text))

  def delete_text(self, k):
    k = min(k, self.cursor)
    if k:
      self._change(self.text[: self.cursor - k] + self.text[self.cursor :], self.cursor - k)
    return k

  def _shown(self):
    return self.text[max(0, self.cursor - 10) : self.cursor]

  def cursor_left(self, k):
    self.cursor = max(0, self.cursor - k)
    return self._shown()

  def cursor_right(self, k):
    self.cursor = min(len(self.text), self.cursor + k)
    return self._shown()

  def undo(self):
    if not self.before:
      return False
    text, cursor, then = self.before.pop()
    self.after.append((self.text, then, cursor))
    self.text, self.cursor = text, cursor
    return True

  def redo(self):
    if not self.after:
      return False
    text, cursor, then = self.after.pop()
    self.before.append((self.text, then, cursor))
    self.text, self.cursor = text, cursor
    return True


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  calls: list[Call] = [('TextEditor', [])]
  for _ in range(count):
    kind = rng.random()
    if kind < 0.3:
      calls.append(('add_text', [''.join(rng.choices('abcde', k=rng.randint(1, 6)))]))
    elif kind < 0.5:
      calls.append(('delete_text', [rng.randint(1, 6)]))
    elif kind < 0.85:
      calls.append((rng.choice(('cursor_left', 'cursor_right')), [rng.randint(1, 8)]))
    else:
      calls.append((rng.choice(('undo', 'undo', 'redo')), []))
  return calls


PROBLEM = Problem(
  TextEditor,
  Oracle,
  operations,
  {'add_text': '1', 'delete_text': '1', 'cursor_left': '1', 'cursor_right': '1', 'undo': '1', 'redo': '1'},
  sizes=(2048, 8192),
)
