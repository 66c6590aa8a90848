"""SentencePiece's Unigram model (Kudo 2018, arXiv:1804.10959) as Hugging Face's tokenizer.json holds it: XLM-R's.

Text is normalised, cut at white space into words that begin with a sign for it, and a word into the pieces of the
greatest summed log probability. E5's multilingual encoders and BGE-M3 have it.
"""

import functools
import hashlib
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
import regex

from mlsd_jax import files
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import base
from mlsd_jax.tokenizers.charsmap import CharsMap

_SPACE = '\u2581'
_UNKNOWN_PENALTY = 10.0  # below the score of the least probable piece
_WHITE = regex.compile(r'\p{White_Space}+')
_WORD = regex.compile(rf'{_SPACE}?[^{_SPACE}]+|{_SPACE}')
_REMEMBERED = 2**16
# What a special token does, by BERT's name for it, and XLM-R's spelling.
_ROLES = {'[CLS]': '<s>', '[PAD]': '<pad>', '[SEP]': '</s>', '[UNK]': '<unk>', '[MASK]': '<mask>'}


class SentencePieceTokenizer(base.Tokenizer):
  """XLM-R's tokenizer. Text is not got back exactly: what normalisation and cutting at spaces change is lost.

  Attributes:
    vocabulary: the pieces by id.
    special_tokens: id of each that there is, by BERT's name for what it does.
    separators: how many stand between the two texts of a pair.
  """

  kind = 'sentencepiece'
  end_of_text = None
  separators = 2

  def __init__(self, content: Mapping[str, Any]):
    """`content`: of a tokenizer.json. Raises UserError for a part of it that is not known here, which is named."""
    self._content = content
    model = content.get('model') or {}
    if model.get('type') != 'Unigram' or model.get('byte_fallback'):
      kind = 'one with byte_fallback' if model.get('byte_fallback') else model.get('type')
      raise UserError(f'its model is {kind}; only Unigram without byte_fallback is read')
    self.vocabulary = tuple(str(piece) for piece, _ in model['vocab'])
    scores = [float(score) for _, score in model['vocab']]
    self.vocab_size = len(self.vocabulary)
    self.name = f'sentencepiece-{self.vocab_size}'
    ids = {piece: number for number, piece in enumerate(self.vocabulary)}
    missing = next((text for role, text in _ROLES.items() if role in ('[CLS]', '[SEP]') and text not in ids), None)
    if missing is not None or not isinstance(model.get('unk_id'), int):
      raise UserError(f'its vocabulary has no {missing or "unknown piece (unk_id)"}')
    self.special_tokens = {role: ids[text] for role, text in _ROLES.items() if text in ids}
    self._unknown: int = model['unk_id']
    added = {token['id'] for token in content.get('added_tokens') or []}
    reserved = {*self.special_tokens.values(), *added, self._unknown}
    self._pieces = {
      piece: (number, score)
      for number, (piece, score) in enumerate(zip(self.vocabulary, scores, strict=True))
      if number not in reserved
    }
    self._longest = max(map(len, self._pieces), default=1)
    self._unknown_score = min(scores) - _UNKNOWN_PENALTY
    self._normalize = [_step(each) for each in _listed(content.get('normalizer'), 'normalizers')]
    self._cut_at_spaces = _cuts_at_spaces(content.get('pre_tokenizer'))
    self._check_frame(content.get('post_processor'))
    written = json.dumps(['sentencepiece', content], sort_keys=True)
    self.fingerprint = hashlib.sha256(written.encode()).hexdigest()

  @classmethod
  def from_file(cls, path: str | pathlib.Path) -> Self:
    """Of a tokenizer.json.

    Raises:
      UserError: the file is missing or damaged, or asks for what is not known here.
    """
    try:
      return cls(files.read_json(path))
    except UserError as error:
      raise error if str(path) in str(error) else UserError(f'{path}: {error}') from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
      raise UserError(f'{path} is no whole tokenizer.json: {error!r}') from error

  def _check_frame(self, processor: Any) -> None:
    """Raises UserError unless a text stands between <s> and </s>, and </s> twice between the texts of a pair."""
    if processor is None:
      return
    marks = lambda form: [
      part['SpecialToken']['id'] if 'SpecialToken' in part else '$' for part in processor.get(form) or []
    ]
    if processor.get('type') != 'TemplateProcessing' or (
      marks('single') != ['<s>', '$', '</s>'] or marks('pair') != ['<s>', '$', '</s>', '</s>', '$', '</s>']
    ):
      raise UserError(f'its post_processor {processor.get("type")} is not that of XLM-R (<s> A </s></s> B </s>)')

  def encode(self, text: str) -> np.ndarray:
    """The int32 ids of `text`, without <s> and </s> around them."""
    return np.array(self.first_ids(text, None), np.int32)

  def first_ids(self, text: str, count: int | None) -> list[int]:
    """The first `count` ids of `text`, all without a count."""
    ids: list[int] = []
    for word in self._words(base.well_formed(text)):
      ids += self._cut(word)
      if count is not None and len(ids) >= count:
        return ids[:count]
    return ids

  def known_share(self, text: str) -> float:
    """Share of a text's characters, spaces left out, that are no part of an unknown piece."""
    words = self._words(base.well_formed(text))
    letters = sum(len(word.removeprefix(_SPACE)) for word in words)
    known = sum(
      len(self.vocabulary[id_].replace(_SPACE, '')) for word in words for id_ in self._cut(word) if id_ != self._unknown
    )
    return min(known / letters, 1.0) if letters else 1.0

  def _words(self, text: str) -> list[str]:
    """Each with the sign for the space before it."""
    for step in self._normalize:
      text = step(text)
    parts = filter(None, _WHITE.split(text)) if self._cut_at_spaces else [text] if text else []
    signed = (part.replace(' ', _SPACE) for part in parts)
    return [word for part in signed for word in _WORD.findall(part if part[0] == _SPACE else _SPACE + part)]

  @functools.lru_cache(maxsize=_REMEMBERED)  # noqa: B019, one tokenizer lives as long as the process
  def _cut(self, word: str) -> tuple[int, ...]:
    """The pieces of the greatest sum; of equal ones the longer last piece. Unknown ones in a row are one."""
    size = len(word)
    best: list[tuple[float, int, int] | None] = [(0.0, 0, 0), *[None] * size]  # score, start and id of the last piece
    for start in range(size):
      here = best[start]
      assert here is not None
      for end in range(start + 1, min(start + self._longest, size) + 1):
        found = self._pieces.get(word[start:end])
        if found is None and end == start + 1:
          found = self._unknown, self._unknown_score
        if found is None:
          continue
        score, other = here[0] + found[1], best[end]
        if other is None or score > other[0]:
          best[end] = score, start, found[0]
    ids: list[int] = []
    end = size
    while end:
      last = best[end]
      assert last is not None
      if last[2] != self._unknown or not ids or ids[-1] != self._unknown:
        ids.append(last[2])
      end = last[1]
    return tuple(reversed(ids))

  def decode_bytes(self, ids: base.Ids) -> bytes:
    """Pieces joined, their signs as spaces."""
    return ''.join(self.vocabulary[i] for i in self._checked(ids).tolist()).replace(_SPACE, ' ').strip(' ').encode()

  def _added_bytes(self, number: int, *, is_first: bool) -> bytes:
    piece = self.vocabulary[self._checked([number])[0]].replace(_SPACE, ' ')
    return (piece.removeprefix(' ') if is_first else piece).encode()

  def state(self) -> dict[str, Any]:
    return {'content': dict(self._content)}

  @classmethod
  def from_state(cls, state: Mapping[str, Any]) -> Self:
    return cls(state['content'])


def _listed(part: Any, key: str) -> list[Any]:
  """One step, or those of a sequence."""
  if part is None:
    return []
  return list(part[key]) if part.get('type') == 'Sequence' else [part]


def _step(part: Mapping[str, Any]) -> Callable[[str], str]:
  kind = part.get('type')
  if kind == 'Precompiled':
    return CharsMap(part['precompiled_charsmap'])
  if kind == 'Replace' and part['pattern'] in ({'Regex': ' {2,}'}, {'String': ' '}):
    pattern, content = regex.compile(' {2,}' if 'Regex' in part['pattern'] else ' '), part['content']
    return lambda text: pattern.sub(lambda _: content, text)
  if kind == 'Strip':
    left, right = part.get('strip_left', True), part.get('strip_right', True)
    return lambda text: _stripped(text, left=left, right=right)
  raise UserError(f'its normalizer {kind} is not known here')


def _stripped(text: str, *, left: bool, right: bool) -> str:
  start = _WHITE.match(text) if left else None
  text = text[start.end() :] if start else text
  return regex.sub(r'\p{White_Space}+\Z', '', text) if right else text


def _cuts_at_spaces(part: Any) -> bool:
  """Whether white space of every kind parts words, or the space alone. Raises UserError for other ways to cut."""
  steps = _listed(part, 'pretokenizers')
  kinds = [step.get('type') for step in steps]
  if kinds not in (['WhitespaceSplit', 'Metaspace'], ['Metaspace']):
    raise UserError(f'its pre_tokenizer {kinds} is not that of SentencePiece')
  last = steps[-1]
  prepends = last.get('prepend_scheme', 'always' if last.get('add_prefix_space', True) else 'never')
  if last.get('replacement', _SPACE) != _SPACE or prepends != 'always' or not last.get('split', True):
    raise UserError(f'its Metaspace (prepend_scheme={prepends!r}, split={last.get("split", True)}) is not known here')
  return len(kinds) == 2
