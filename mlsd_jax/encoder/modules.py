"""How a model is used, as sentence-transformers writes it beside the weights: pooling, normalisation, length, prompts.

modules.json lists what a text goes through: Transformer, Pooling, Normalize, each with a folder of its own settings.
What would give other vectors than ours is refused by its name.
"""

import dataclasses
import pathlib
from typing import Any

from mlsd_jax import files
from mlsd_jax.errors import UserError

MODULES, LIMITS, PROMPTS = 'modules.json', 'sentence_bert_config.json', 'config_sentence_transformers.json'
_POOLING = '1_Pooling/config.json'
FILES = (MODULES, LIMITS, PROMPTS, _POOLING)
_TOKENIZER = 'tokenizer_config.json'
_UNLIMITED = 10**6  # model_max_length of a tokenizer that has no limit is far beyond
_MODES = {'pooling_mode_cls_token': 'cls', 'pooling_mode_mean_tokens': 'mean'}

# Where a model's own files do not say it: what stands before a query and a passage (from their model cards).
_BGE = 'Represent this sentence for searching relevant passages: '
_E5 = ('query: ', 'passage: ')
_NOMIC = ('search_query: ', 'search_document: ')
PREFIXES = {
  **dict.fromkeys(('e5-', 'multilingual-e5-'), _E5),
  'bge-m3': ('', ''),
  'bge-': (_BGE, ''),
  **dict.fromkeys(('nomic-embed-text-', 'modernbert-embed-'), _NOMIC),
}


@dataclasses.dataclass(frozen=True)
class Usage:
  """pooling: 'mean' or 'cls'. max_length: tokens of a text, those around it counted. Prefixes stand before texts."""

  pooling: str
  max_length: int
  query_prefix: str
  passage_prefix: str


def read_usage(folder: pathlib.Path, name: str, context_length: int) -> Usage:
  """How the model in a folder is used; where nothing says it, as plain BERT models are: mean of all tokens, no prompts.

  Args:
    name: of the model, for prompts that are known from model cards.
    context_length: the longest text that it can take.

  Raises:
    UserError: a file is damaged, or asks for another module, pooling or similarity than there is here, by name.
  """
  pooling = _POOLING
  if (folder / MODULES).exists():
    pooling = _check_modules(folder)
  prompts = read_optional(folder / PROMPTS)
  limits = read_optional(folder / LIMITS)
  if limits.get('do_lower_case') and not read_optional(folder / _TOKENIZER).get('do_lower_case'):
    raise UserError(f'{folder / LIMITS} says do_lower_case=True, and the tokenizer does not lower texts')
  settings = read_optional(folder / pooling)
  queries, passages = _prefixes(folder, prompts, name)
  if settings.get('include_prompt') is False and (queries or passages):
    raise UserError(
      f'{folder / pooling} says include_prompt=False, which leaves prompts out of the mean: not known here'
    )
  return Usage(_mode(folder / pooling, settings), _max_length(folder, limits, context_length), queries, passages)


def write_usage(folder: pathlib.Path, usage: Usage, width: int | None) -> None:
  """Writes what `read_usage` and sentence-transformers read. `width`: of the vectors; None for a scorer of pairs."""
  files.write_json(folder / LIMITS, {'max_seq_length': usage.max_length, 'do_lower_case': False})
  files.write_json(folder / PROMPTS, {'prompts': {'query': usage.query_prefix, 'document': usage.passage_prefix}})
  if width is None:
    return
  modes = {mode: usage.pooling == name for mode, name in _MODES.items()}
  modes |= {'pooling_mode_max_tokens': False, 'pooling_mode_mean_sqrt_len_tokens': False}
  files.write_json(folder / _POOLING, {'word_embedding_dimension': width, **modes})
  parts = (('', 'Transformer'), ('1_Pooling', 'Pooling'), ('2_Normalize', 'Normalize'))
  files.write_json(
    folder / MODULES,
    [
      {'idx': i, 'name': str(i), 'path': path, 'type': f'sentence_transformers.models.{name}'}
      for i, (path, name) in enumerate(parts)
    ],
  )


def _check_modules(folder: pathlib.Path) -> str:
  """The name of the pooling's settings.

  Raises:
    UserError: modules.json lists another module, or in another order.
  """
  path = folder / MODULES
  content = files.read_json(path)
  try:
    modules = [(str(each['type']).rpartition('.')[2], str(each['path'])) for each in content]
  except (KeyError, TypeError) as error:
    raise UserError(f'{path} is no list of modules with type and path') from error
  kinds = [kind for kind, _ in modules]
  known = ('Transformer', 'Pooling', 'Normalize')
  other = next((kind for kind in kinds if kind not in known), None)
  if other is not None:
    raise UserError(f'{path} has the module {other}; only {", ".join(known)} are known here')
  if kinds not in (list(known[:2]), list(known)):
    raise UserError(f'{path} lists {", ".join(kinds) or "nothing"}; a text goes through {", ".join(known)}')
  if modules[0][1]:
    raise UserError(f'{path} has its Transformer in the folder {modules[0][1]!r}; name that folder')
  similarity = read_optional(folder / PROMPTS).get('similarity_fn_name') or 'cosine'
  if len(kinds) == 2 and similarity != 'cosine':
    raise UserError(
      f'{path} has no Normalize and {PROMPTS} compares by {similarity!r}: here vectors are of unit length'
    )
  return f'{modules[1][1]}/config.json'


def _mode(path: pathlib.Path, settings: dict[str, Any]) -> str:
  modes = {key for key, value in settings.items() if key.startswith('pooling_mode_') and value}
  named = settings.get('pooling_mode')
  found = {_MODES.get(mode, mode.removeprefix('pooling_mode_')) for mode in modes} | ({named} if named else set())
  if found <= {'mean'}:
    return 'mean'
  if found == {'cls'}:
    return 'cls'
  raise UserError(f'{path} asks for a pooling that is neither mean nor cls: {" and ".join(sorted(map(str, found)))}')


def _max_length(folder: pathlib.Path, limits: dict[str, Any], context_length: int) -> int:
  length = limits.get('max_seq_length')
  if length is None:
    of_tokenizer = read_optional(folder / _TOKENIZER).get('model_max_length')
    length = of_tokenizer if type(of_tokenizer) is int and 3 <= of_tokenizer < _UNLIMITED else context_length
  if type(length) is not int or length < 3:
    raise UserError(f'{folder / LIMITS} has no whole number above 2 for max_seq_length, but {length!r}')
  return min(length, context_length)


def _prefixes(folder: pathlib.Path, content: dict[str, Any], name: str) -> tuple[str, str]:
  """Of queries and passages: those of the model's prompts for them, else its default prompt, else its model card's."""
  prompts, default = content.get('prompts') or {}, content.get('default_prompt_name')
  if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in prompts.values()):
    raise UserError(f'{folder / PROMPTS} has no texts by name under prompts')
  if default and default not in prompts:
    raise UserError(f'{folder / PROMPTS} says default_prompt_name={default!r}, and has no such prompt')
  usual = prompts.get(default, '') if default else ''
  passage = next((prompts[key] for key in ('document', 'passage', 'corpus') if key in prompts), usual)
  query = str(prompts.get('query', usual))
  if query or passage:
    return query, str(passage)
  short = pathlib.PurePath(name.removeprefix('hf:')).name.rpartition('--')[2].lower()
  return next((prefixes for start, prefixes in PREFIXES.items() if short.startswith(start)), ('', ''))


def read_optional(path: pathlib.Path) -> dict[str, Any]:
  """The object of a JSON file; {} where there is none. Raises UserError for JSON that is no object."""
  if not path.exists():
    return {}
  content = files.read_json(path)
  if not isinstance(content, dict):
    raise UserError(f'{path} is not a JSON object')
  return content
