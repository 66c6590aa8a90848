"""From a config's `data` section to a tokenizer and two splits of tokens."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from mlsd_jax import tokenizers
from mlsd_jax.data.named_tokenizer import tokenizer_for
from mlsd_jax.data.prepare import prepare
from mlsd_jax.data.sources import Source, open_source
from mlsd_jax.data.tokens import TokenDataset
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import Tokenizer
from mlsd_jax.training import distributed


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
    tokenizer = tokenizer_for(config['tokenizer'], source)
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


def keep_tokenizer(workdir: pathlib.Path, tokenizer: Tokenizer) -> None:
  """Writes the tokenizer of a run into its workdir, or checks that the run began with the same.

  Raises:
    UserError: it began with another one, of which its checkpoints are.
  """
  path = workdir / 'tokenizer.json'
  if path.exists() and tokenizers.load(path).fingerprint != tokenizer.fingerprint:
    raise UserError(f'{path} is not what the text gives: it has changed since the run began; choose another --workdir')
  if distributed.is_main():
    tokenizer.save(path)


def run_tokenizer(workdir: pathlib.Path) -> Tokenizer:
  """The tokenizer of a run, which its workdir keeps.

  Raises:
    UserError: there is none.
  """
  if not (workdir / 'tokenizer.json').exists():
    raise UserError(f'{workdir} holds no tokenizer.json: no run was started there')
  return tokenizers.load(workdir / 'tokenizer.json')


def split_prompts(prompts: str, tokenizer: Tokenizer) -> list[str]:
  """The prompts that stand in `prompts` with '|' between them. Asked before training, not after.

  Raises:
    UserError: the tokenizer cannot express one of them.
  """
  found = prompts.split('|')
  for prompt in found:
    try:
      tokenizer.encode(prompt)
    except UserError as error:
      raise UserError(f'sample.prompt {prompt!r}: {error}') from error
  return found
