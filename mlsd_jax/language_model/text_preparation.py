"""From a config's `data` section to a folder of prepared text."""

import pathlib
from collections.abc import Mapping
from typing import Any

from mlsd_jax.data.named_tokenizer import tokenizer_for
from mlsd_jax.data.prepare import prepare
from mlsd_jax.data.prepare_parts import local_tokens
from mlsd_jax.data.shards import read_manifest
from mlsd_jax.data.sources import open_source
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import Tokenizer

PREPARED = 'tokens:'  # a source that is tokens already: of a folder, or of s3://... or gs://...


def prepare_text(config: Mapping[str, Any], tokenizer: Tokenizer | None = None) -> pathlib.Path:
  """Prepares the source (once; later runs find it) and returns the folder, for `open_prepared`.

  Args:
    config: source, text_key, tokenizer, val_fraction, split, folder, workers; see configs/gpt2/_base.py. A source
      'tokens:FOLDER' is what `data.prepare_parts` wrote, whose tokenizer and splits are taken with it.
    tokenizer: used instead of the one that `config` names.

  Raises:
    UserError: whatever is wrong with the source, the tokenizer or the folder.
  """
  if str(config['source']).startswith(PREPARED):
    folder = local_tokens(config['source'].removeprefix(PREPARED))
    identity = read_manifest(folder).identity
    if tokenizer is not None and tokenizer.fingerprint != identity['tokenizer_fingerprint']:
      raise UserError(f'{config["source"]} was prepared with {identity["tokenizer"]}, not with this {tokenizer.name}')
    return folder
  source = open_source(config['source'], config['text_key'])
  if tokenizer is None:
    tokenizer = tokenizer_for(config['tokenizer'], source)
  return prepare(
    source,
    tokenizer,
    config['folder'] or None,
    val_fraction=config['val_fraction'],
    split=config['split'],
    workers=config['workers'] or None,
  )
