"""Conversations as what a model is taught from: their tokens, which of them the assistant said, packed into rows.

A line of the file is {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", ...}]}, as TRL and the
hub's datasets have it, or the list of messages alone, as nanochat has it. The loss counts what the assistant says, the
token that ends its message among it: the rest is what it will be given to read.

A row of a batch holds as many conversations as fit. None of them sees another: attention stays inside a document and
positions begin anew (models/attention.py), so that a packed row trains as its conversations alone would.

Names: N rows, T targets of a row, which holds a token more.
"""

import bisect
import dataclasses
import hashlib
import os
import pathlib
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from mlsd_jax import files, reading
from mlsd_jax.data.batches import Batch
from mlsd_jax.errors import UserError
from mlsd_jax.language_model import forms
from mlsd_jax.language_model.chat_template import ChatTemplate, Message, check_messages
from mlsd_jax.tokenizers import Tokenizer


@dataclasses.dataclass(frozen=True)
class Taught:
  """A conversation: its ids int32 [n], and whether each is the assistant's, bool [n]."""

  tokens: np.ndarray
  is_answer: np.ndarray


@dataclasses.dataclass(frozen=True)
class Conversations:
  """A file of conversations, as rows of two splits.

  Attributes:
    train, val: 'tokens' int32 [N, T + 1], 'weights' float32 [N, T], 1 for a target that the assistant says, and
      'documents' int32 [N, T], the number of the conversation in its row.
    num_train: conversations of the first.
    val_messages: those of the second, as they were read.
    fingerprint: SHA-256 of all of them.
  """

  train: Batch
  val: Batch
  num_train: int
  val_messages: list[list[Message]]
  fingerprint: str


def read(
  path: str | os.PathLike[str], template: ChatTemplate, tokenizer: Tokenizer, length: int, val_fraction: float
) -> Conversations:
  """Reads, encodes and packs a JSONL file (gzipped if its name ends in .gz), or what forms.py makes.

  Args:
    path: the file, or 'forms:NUMBER' (forms.py).
    length: targets of a row, the model's context.
    val_fraction: share of the validation split; a hash of a conversation decides in which it falls.

  Raises:
    UserError: a line that is no conversation, has no assistant's message or is longer than a row, a template that does
      not tell the assistant's words apart, or a split that stays empty. The line is named.
  """
  splits: dict[bool, list[Taught]] = {False: [], True: []}
  held_out: list[list[Message]] = []
  digest = hashlib.sha256()
  for where, messages in read_messages(path):
    try:
      taught = encode(messages, template, tokenizer)
    except UserError as error:
      raise UserError(f'{where}: {error}') from error
    if len(taught.tokens) > length + 1:
      raise UserError(
        f'{where}: the conversation has {len(taught.tokens)} tokens, more than the context of {length} and its next '
        'one; cut it into shorter ones, or leave it out'
      )
    content = files.to_json(messages, where).encode()
    digest.update(content + b'\n')
    share = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest()) / 2**64
    splits[share < val_fraction].append(taught)
    if share < val_fraction:
      held_out.append(messages)
  if not any(splits.values()):
    raise UserError(f'{path} holds no conversation')
  for is_val, name in ((False, 'training'), (True, 'validation')):
    if not splits[is_val]:
      raise UserError(f'data.val_fraction={val_fraction} leaves the {name} split of {path} empty: choose another')
  train, val = (pack(splits[is_val], length) for is_val in (False, True))
  return Conversations(train, val, len(splits[False]), held_out, digest.hexdigest())


def read_messages(path: str | os.PathLike[str]) -> Iterator[tuple[str, list[Message]]]:
  """(where it stands, messages) of each line.

  Raises:
    UserError: the file cannot be read, or a line is no conversation with an assistant's message.
  """
  name, _, number = str(path).partition(':')
  if name == forms.NAME and not pathlib.Path(path).exists():
    if not number.isdigit() or not int(number):
      raise UserError(f'data.source={path} has no number of conversations to make: forms:5000')
    yield from ((f'{path}, number {i}', each) for i, each in enumerate(forms.make_conversations(int(number))))
    return
  for line, row in reading.strict(reading.json_lines(path, unique=True)):
    where = f'{path}, line {line}'
    messages = row.get('messages') if isinstance(row, dict) else row
    if not isinstance(messages, list):
      raise UserError(f'{where}: no conversation, which is {{"messages": [{{"role": ..., "content": ...}}, ...]}}')
    try:
      check_messages(messages)
    except UserError as error:
      raise UserError(f'{where}: {error}') from error
    if not any(message['role'] == 'assistant' for message in messages):
      raise UserError(f"{where}: no message of the role 'assistant', so that there is nothing to learn from it")
    yield where, messages


def encode(messages: Sequence[Message], template: ChatTemplate, tokenizer: Tokenizer) -> Taught:
  """The ids of a conversation, and which of them are the assistant's.

  What the assistant says is encoded apart from what stands before it, as it is when a model answers.

  Raises:
    UserError: as ChatTemplate.render_parts.
  """
  parts = [
    (template.encode_text(text, tokenizer), is_answer) for text, is_answer in template.render_parts(messages, tokenizer)
  ]
  tokens = np.concatenate([np.empty(0, np.int32), *(ids for ids, _ in parts)])
  is_answer = np.concatenate([np.empty(0, bool), *(np.full(len(ids), flag) for ids, flag in parts)])
  return Taught(tokens, is_answer)


def pack(taught: Sequence[Taught], length: int) -> Batch:
  """Rows of `length` targets that hold every conversation once, none of them cut.

  Raises:
    UserError: one is longer than a row.
  """
  rows = fill_rows([len(each.tokens) for each in taught], length + 1)
  tokens = np.zeros((len(rows), length + 1), np.int32)
  answers = np.zeros((len(rows), length + 1), bool)
  documents = np.zeros((len(rows), length + 1), np.int32)
  for row, members in enumerate(rows):
    start = 0
    for document, member in enumerate(members):
      each = taught[member]
      end = start + len(each.tokens)
      tokens[row, start:end], documents[row, start:end] = each.tokens, document
      answers[row, start + 1 : end] = each.is_answer[1:]  # nothing stands before the first, to say it from
      start = end
    documents[row, start:] = len(members)  # what fills the row up is a document of its own, and counts for nothing
  return {'tokens': tokens, 'weights': answers[:, 1:].astype(np.float32), 'documents': documents[:, :-1]}


def fill_rows(lengths: Sequence[int], size: int) -> list[list[int]]:
  """Numbers of items, in rows of at most `size` together: the longest first, each where the least room is left.

  (Best fit decreasing, at most 11/9 of the fewest rows there can be: Johnson 1974, doi:10.1137/0203025. Ding et al.
  2024, arXiv:2404.10830, pack documents so.)

  Raises:
    UserError: an item is longer than a row.
  """
  rows: list[list[int]] = []
  by_room: dict[int, list[int]] = defaultdict(list)  # room left -> rows that have it
  rooms: list[int] = []  # its keys with rows, ascending
  for item in sorted(range(len(lengths)), key=lambda item: -lengths[item]):
    if lengths[item] > size:
      raise UserError(f'an item of {lengths[item]} is longer than a row of {size}')
    place = bisect.bisect_left(rooms, lengths[item])
    if place == len(rooms):
      rows.append([])
      row, room = len(rows) - 1, size
    else:
      room = rooms[place]
      row = by_room[room].pop()
      if not by_room[room]:
        rooms.pop(place)
    rows[row].append(item)
    left = room - lengths[item]
    if not by_room[left]:
      bisect.insort(rooms, left)
    by_room[left].append(row)
  return rows
