"""Text datasets that the user has prepared with tensorflow-datasets, read without TensorFlow.

    python -c "import tensorflow_datasets as d; d.builder('lm1b', file_format='array_record').download_and_prepare()"

prepares one; many builders use TensorFlow for it, which `uv run --with tensorflow-cpu python -c ...` adds. The program
`tfds` (4.9.10) does the same, and does not start without TensorFlow, Apache Beam and mlcroissant.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from typing import Any

from mlsd_jax.data.documents import Document, pieces_of
from mlsd_jax.errors import UserError


def documents(name: str, text_key: str) -> Iterator[Document]:
  """The training split of dataset `name` ('NAME' or 'NAME/CONFIG'), one document an example.

  Raises:
    UserError: the dataset is unknown, not prepared, not in a format with random access, or has no feature `text_key`.
  """
  builder = _builder(name, text_key)
  try:
    examples = builder.as_data_source('train')
  except NotImplementedError as error:
    raise UserError(
      f'{name} in {builder.data_dir} is stored as {builder.info.file_format.value}, which only TensorFlow reads: '
      f'prepare it anew with {_command(name)}'
    ) from error
  for i in range(len(examples)):
    yield from pieces_of(f'{name}:{i}', examples[i][text_key].decode())


def fingerprint(name: str, text_key: str) -> str:
  """Changes with the dataset's version, its shards and the feature that is read."""
  info = _builder(name, text_key).info
  identity = [info.full_name, text_key, info.splits['train'].shard_lengths]
  return hashlib.sha256(json.dumps(identity).encode()).hexdigest()


def _builder(name: str, text_key: str) -> Any:
  import tensorflow_datasets

  try:
    builder = tensorflow_datasets.builder(name, data_dir=os.environ.get('TFDS_DATA_DIR'))
  except (tensorflow_datasets.core.DatasetNotFoundError, ValueError) as error:
    raise UserError(f'tensorflow-datasets knows no {name!r}, neither by name nor in its data folder') from error
  if 'train' not in builder.info.splits:
    raise UserError(f'{name} is not prepared in {builder.data_dir}: prepare it with {_command(name)}')
  if text_key not in builder.info.features:
    features = ', '.join(map(repr, sorted(builder.info.features)))
    raise UserError(f'{name} has no feature {text_key!r} (it has {features}); name the feature that holds the text')
  return builder


def _command(name: str) -> str:
  return f'tensorflow_datasets.builder({name!r}, file_format="array_record").download_and_prepare()'
