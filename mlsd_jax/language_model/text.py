"""From a config's `data` section to a tokenizer and two splits of tokens."""

import dataclasses
import hashlib
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mlsd_jax import folders, tokenizers
from mlsd_jax.data.prepare import prepare
from mlsd_jax.data.sources import Source, open_source
from mlsd_jax.data.tokens import TokenDataset
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import BPETokenizer, CharacterTokenizer, Tokenizer

# A small vocabulary settles within some megabytes of text.
_BPE_TRAINING_CHARACTERS = 8_000_000


@dataclasses.dataclass(frozen=True)
class Text:
  """A source as tokens."""

  source: Source
  tokenizer: Tokenizer
  train: TokenDataset
  val: TokenDataset


def open_text(config: Mapping[str, Any], tokenizer: Tokenizer | None = None) -> Text:
  """Prepares the source (once; later runs find it) and opens its splits.

  Args:
    config: source, text_key, tokenizer, val_fraction, split, folder, workers; see configs/gpt2/_base.py.
    tokenizer: used instead of the one that `config` names.

  Raises:
    UserError: whatever is wrong with the source, the tokenizer or the folder.
  """
  source = open_source(config['source'], config['text_key'])
  if tokenizer is None:
    tokenizer = open_tokenizer(config['tokenizer'], source)
  folder = prepare(
    source,
    tokenizer,
    config['folder'] or None,
    val_fraction=config['val_fraction'],
    split=config['split'],
    workers=config['workers'] or None,
  )
  split = lambda name: TokenDataset.open(folder, name, tokenizer=tokenizer)
  return Text(source, tokenizer, split('train'), split('val'))


def open_tokenizer(spec: str, source: Source) -> Tokenizer:
  """'characters' and 'bpe-N' are made from the source, once; any other name or file is loaded.

  Raises:
    UserError: no such tokenizer.
  """
  bpe = re.fullmatch(r'bpe-(\d+)', spec)
  if spec != 'characters' and not bpe:
    return tokenizers.load(spec)
  key = hashlib.sha256(f'{source.fingerprint()} {spec}'.encode()).hexdigest()[:12]
  path = folders.cache_folder() / 'tokenizers' / f'{re.sub(r"[^\w.-]+", "_", source.name)}-{spec}-{key}.json'
  if path.exists():
    return tokenizers.load(path)
  texts = (document.text for document in source.documents())
  if bpe:
    tokenizer: Tokenizer = BPETokenizer.train(_first(texts, _BPE_TRAINING_CHARACTERS), int(bpe[1]))
  else:
    tokenizer = CharacterTokenizer.train(texts)
  tokenizer.save(path)
  return tokenizer


def _first(texts: Iterator[str], characters: int) -> Iterator[str]:
  """Texts until so many characters have gone by."""
  seen = 0
  for text in texts:
    yield text
    seen += len(text)
    if seen >= characters:
      return


def run_tokenizer(workdir: pathlib.Path) -> Tokenizer:
  """The tokenizer of a run, which its workdir keeps.

  Raises:
    UserError: there is none.
  """
  if not (workdir / 'tokenizer.json').exists():
    raise UserError(f'{workdir} holds no tokenizer.json: no run was started there')
  return tokenizers.load(workdir / 'tokenizer.json')
