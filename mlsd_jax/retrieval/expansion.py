"""Other words for a query, by a language model: rewrites, and made-up answers that lie near real ones.

HyDE: Gao et al. 2022 (arXiv:2212.10496). A language model is any function from a prompt to its continuation.
"""

from collections.abc import Callable

from mlsd_jax.errors import UserError

type Write = Callable[[str], str]

_PROMPTS = {
  'hyde': 'Question: {query}\nPassage of the documentation that answers it:',
  'multi': 'Question: {query}\nThe same question in other words:',
}
KINDS = ('none', *_PROMPTS)


def rewrites(query: str, kind: str, write: Write | None) -> tuple[str, ...]:
  """What to search besides the query; nothing for 'none', or if the model writes nothing.

  Raises:
    UserError: no such kind, or there is no language model to write them.
  """
  if kind not in KINDS:
    raise UserError(f'search.expansion={kind!r} is not one of {", ".join(KINDS)}')
  if kind == 'none':
    return ()
  if write is None:
    raise UserError(f'search.expansion={kind!r} needs a language model: name one with --config.generator')
  text = ' '.join(write(_PROMPTS[kind].format(query=query)).split())
  return (text,) if text else ()
