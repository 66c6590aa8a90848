"""Prepared text, ready to train on: a tokenizer and two splits of tokens. How it is prepared: text_preparation.py."""

import dataclasses
import pathlib
from collections.abc import Sequence

from mlsd_jax import tokenizers
from mlsd_jax.data.shards import TOKENIZER, read_manifest
from mlsd_jax.data.tokens import TokenDataset
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import Tokenizer
from mlsd_jax.training import distributed


@dataclasses.dataclass(frozen=True)
class Text:
  """A source as tokens; `source` is its name."""

  source: str
  tokenizer: Tokenizer
  train: TokenDataset
  val: TokenDataset


def open_prepared(folder: str | pathlib.Path) -> Text:
  """Maps the splits of a folder that `prepare` wrote; nothing is read of them before it is asked for.

  Raises:
    UserError: nothing was prepared there, or it is damaged.
  """
  folder = pathlib.Path(folder)
  source = read_manifest(folder).identity['source']
  tokenizer = tokenizers.load(folder / TOKENIZER)
  # Ids mean nothing without the tokenizer that made them: `open` compares its fingerprint with the manifest's.
  train, val = (TokenDataset.open(folder, split, tokenizer=tokenizer) for split in ('train', 'val'))
  return Text(source, tokenizer, train, val)


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


def read_prompts(prompts: str | Sequence[str], tokenizer: Tokenizer) -> list[str]:
  """One prompt or several, each as it stands. Asked before training, not after.

  Raises:
    UserError: there is none, one is no text, or the tokenizer cannot express it.
  """
  found = [prompts] if isinstance(prompts, str) else list(prompts)
  if not found:
    raise UserError("sample.prompt holds no prompt; '' starts a new document")
  for prompt in found:
    if not isinstance(prompt, str):
      raise UserError(f'sample.prompt holds {prompt!r}, which is no text')
    try:
      tokenizer.encode(prompt)
    except UserError as error:
      raise UserError(f'sample.prompt {prompt!r}: {error}') from error
  return found
