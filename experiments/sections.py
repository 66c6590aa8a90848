"""The sections of configs that no class of the library is made from, and the check that every value goes through.

A section's class is made before any work; what it does not take is refused in one line.
"""

import dataclasses
import fnmatch
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from ml_collections import ConfigDict

from experiments.modes import covers
from mlsd_jax import schema
from mlsd_jax.executor import ExecutorConfig
from mlsd_jax.executor.config import Kind
from mlsd_jax.schema import (
  Path,
  Place,
  Positive,
  Range,
  Share,
  SourceName,
  above,
  at_least,
  between,
  from_mapping,
)

type Section = type | Callable[[Mapping[str, Any], str], object]


def check(config: ConfigDict, sections: Mapping[str, Section], reads: Iterable[str] = ('*',)) -> None:
  """Makes the class of each section that the mode reads; what lies in a section with a class of its own is left to it.

  Args:
    sections: name, or a pattern such as 'rungs.*.model', or '' for the keys outside of sections -> a dataclass, or a
      function of (values, name).
    reads: of the mode; see modes.Mode.

  Raises:
    UserError: an unknown key, a value of another type, or one out of its range.
  """
  names = [(name, cls) for pattern, cls in sections.items() for name in _matching(config, pattern)]
  for name, cls in names:
    values = _values(config, name, [other for other, _ in names])
    wanted = [key for key in values if covers(reads, f'{name}.{key}' if name else key)]
    if not wanted:
      continue
    if not name:
      values = {key: values[key] for key in wanted}
    if isinstance(cls, type):
      from_mapping(cls, values, name)
    else:
      cls(values, name)


def keys(**kinds: Any) -> type:
  """A class of these fields, any of which may be left out, for a few keys."""
  fields = [(name, kind, dataclasses.field(default=None)) for name, kind in kinds.items()]
  return dataclasses.make_dataclass('Keys', fields, frozen=True)


def with_values(cls: type, **known: Any) -> Section:
  """The class of a section to which the data add what is `known` only later, such as the size of a vocabulary."""
  return lambda values, name: from_mapping(cls, {**values, **known}, name)


def partly(cls: type, **others: Any) -> Section:
  """The class of a section that says only what differs; `others` are what it must have besides."""
  return lambda values, name: from_mapping(cls, {**others, **values}, name)


Port = Annotated[int, between(0, 65535)]
EXECUTOR = ('executor', 'cluster')  # keys of what is computed in parts: they change no result
CLUSTER = partly(ExecutorConfig)  # the section, to which `executor` adds the kind
EXECUTOR_KIND = Kind


def read_executor(config: ConfigDict) -> ExecutorConfig:
  """Where a config has its parts computed."""
  return from_mapping(ExecutorConfig, {'kind': config.executor, **config.cluster.to_dict()}, 'cluster')


def idle_cluster(config: ConfigDict) -> dict[str, str]:
  """What of `cluster` has no effect with the executor of a config."""
  if config.executor == 'ray':
    return {}
  of_ray = dict.fromkeys(('gpus', 'tpus', 'memory_gigabytes', 'address', 'start_seconds'), 'ray')
  others = {'here': dict.fromkeys(('workers', 'cpus', 'attempts'), 'processes or ray')}.get(config.executor, {})
  return {
    f'cluster.{key}': f'config.executor is {config.executor!r}, and not {of}'
    for key, of in {**of_ray, **others}.items()
  }


def _matching(config: ConfigDict, pattern: str) -> list[str]:
  if '*' not in pattern:
    return [pattern]
  return [
    name for name in _names(config) if fnmatch.fnmatchcase(name, pattern) and name.count('.') == pattern.count('.')
  ]


def _names(config: ConfigDict, prefix: str = '') -> Iterable[str]:
  for key, value in config.items():
    if isinstance(value, ConfigDict):
      yield prefix + key
      yield from _names(value, f'{prefix}{key}.')


def _values(config: ConfigDict, name: str, others: Sequence[str]) -> dict[str, Any]:
  node: Any = config
  for part in name.split('.') if name else ():
    node = node[part]
  inside = lambda key: f'{name}.{key}' if name else key
  values = {key: value for key, value in node.items() if inside(key) not in others}
  if not name:
    return {key: value for key, value in values.items() if not isinstance(value, ConfigDict)}
  return {key: value.to_dict() if isinstance(value, ConfigDict) else value for key, value in values.items()}


@dataclasses.dataclass(frozen=True)
class Source:
  source: SourceName
  path: schema.Source = ''


@dataclasses.dataclass(frozen=True)
class Judged(Source):
  split: str = ''


@dataclasses.dataclass(frozen=True)
class Documents(Source):
  text_key: str = 'text'
  workers: int = 0  # 0 is one a core


@dataclasses.dataclass(frozen=True)
class Text(Documents):
  tokenizer: SourceName = 'bytes'
  val_fraction: Share = 0.1
  split: Literal['documents', 'contiguous'] = 'documents'
  folder: Path = ''  # '' is a folder of the user cache


@dataclasses.dataclass(frozen=True)
class TextOrConversations(Text):
  format: Literal['text', 'conversations'] = 'text'


@dataclasses.dataclass(frozen=True)
class Words(Source):
  split_seed: int = 42


@dataclasses.dataclass(frozen=True)
class Sample:
  """Of a language model; how a token is chosen is another class's, see `sample_with`."""

  prompt: str | tuple[str, ...]
  num_samples: Positive
  max_new_tokens: Positive
  seed: int
  stop: tuple[str, ...] = ()
  rung: str = ''


def sample_with(sampling: type) -> Section:
  """A section of samples whose other keys are fields of `sampling`."""
  own = {field.name for field in dataclasses.fields(Sample)}

  def make(values: Mapping[str, Any], name: str) -> None:
    from_mapping(Sample, {key: value for key, value in values.items() if key in own}, name)
    from_mapping(sampling, {key: value for key, value in values.items() if key not in own}, name)

  return make


@dataclasses.dataclass(frozen=True)
class TextEvaluation:
  stride: int
  hellaswag: Path
  lambada: Path
  choices: Path
  answers: int = 0


@dataclasses.dataclass(frozen=True)
class NewWords:
  number: Positive
  shown: int
  seed: int


@dataclasses.dataclass(frozen=True)
class Search:
  trials: Positive
  low: Annotated[float, above(0)]
  high: Annotated[float, above(0)]
  widths: tuple[Positive, ...]
  context: Positive
  embed_dim: Positive
  steps: Positive
  batch_size: Positive
  seed: int
  part: int = 0


@dataclasses.dataclass(frozen=True)
class Diagnosis:
  steps: Positive
  learning_rate: Annotated[float, above(0)]


@dataclasses.dataclass(frozen=True)
class Comparison:
  """Of tokenizers by a language model each."""

  tokenizers: schema.SourceNames
  teraflops: Annotated[float, above(0)]
  context_length: Positive
  num_layers: Positive
  num_heads: Positive
  embed_dim: Positive
  batch_size: Positive
  learning_rate: Annotated[float, above(0)]
  val_fraction: Share
  split: Literal['documents', 'contiguous']

  def __post_init__(self):
    if self.embed_dim % self.num_heads:
      raise ValueError(f'embed_dim {self.embed_dim} is not divisible by num_heads {self.num_heads}')
    if not self.tokenizers:
      raise ValueError('tokenizers is empty: there is nothing to compare')


@dataclasses.dataclass(frozen=True)
class OfEncoder:
  name: SourceName
  dtype: Literal['float32', 'bfloat16']
  max_length: Annotated[int, at_least(3)]


@dataclasses.dataclass(frozen=True)
class QueryEvaluation:
  known_items: str
  max_queries: int  # 0: all
  queries: Path
  qrels: Path
  runs: tuple[Path, ...]
  judge: str
  seed: int


@dataclasses.dataclass(frozen=True)
class Answers:
  sentences: Positive
  pages: Positive
  min_confidence: Annotated[float, between(0, 1)]
  shown: Positive


@dataclasses.dataclass(frozen=True)
class Tuning:
  recall: Annotated[float, Range(0, 1, low_open=True)]
  k: Positive


@dataclasses.dataclass(frozen=True)
class Serving:
  requests: Positive
  number: Positive
  part: Positive
  output: Place = ''
