"""reStructuredText as Markdown, through docutils; what only Sphinx knows keeps its words."""

import contextlib
import io
from collections.abc import Iterator
from typing import Any

from mlsd_jax.errors import UserError
from mlsd_jax.retrieval.html_text import html_to_markdown

_CODE = ('code-block', 'sourcecode', 'code', 'doctest', 'testcode', 'testoutput', 'ipython', 'prompt', 'parsed-literal')
_NO_WORDS = ('toctree', 'index', 'highlight', 'currentmodule', 'module', 'tabularcolumns', 'contents')
_SETTINGS: dict[str, Any] = {
  'file_insertion_enabled': False,  # a page says what it holds, not what other files do
  'raw_enabled': False,
  'report_level': 1,  # everything that was not understood stays in the tree, and from there its words are taken
  'halt_level': 6,
  'syntax_highlight': 'none',
  'smart_quotes': False,
  '_disable_config': True,
  'embed_stylesheet': False,
  'math_output': 'LaTeX',
}


def rst_to_markdown(text: str, what: str) -> tuple[str, str]:
  """(title, or '', and the text as Markdown). What is no valid reStructuredText stays as it was written.

  Raises:
    UserError: docutils cannot make anything of it.
  """
  from docutils import core, nodes

  settings = _SETTINGS | {'warning_stream': io.StringIO()}
  try:
    with _whatever_sphinx_knows():
      tree = core.publish_doctree(text, settings_overrides=settings)
    for message in list(tree.findall(nodes.system_message)):
      place = message.parent.index(message)
      message.parent[place : place + 1] = [part for part in message.children if isinstance(part, nodes.literal_block)]
    tree.parse_messages, tree.transform_messages = [], []  # whose words stand in the text
    page = core.publish_from_doctree(tree, writer='html5', settings_overrides=settings)
  except Exception as error:  # of deep nesting, or its own on odd input
    raise UserError(f'{what} cannot be read as reStructuredText: {" ".join(str(error).split())[:200]}') from error
  heading, body = html_to_markdown(page.decode())
  section = next(iter(tree.findall(nodes.section)), None)
  first = section.next_node(nodes.title).astext() if section is not None else ''
  return ' '.join((tree.get('title') or first or heading).split()), body


@contextlib.contextmanager
def _whatever_sphinx_knows() -> Iterator[None]:
  """Directives and roles that docutils does not know are read for their words."""
  from docutils import nodes
  from docutils.parsers.rst import Directive, directives, roles

  class Words(Directive):
    has_content, optional_arguments, final_argument_whitespace = True, 1, True
    option_spec = _AnyOption()

    def run(self) -> list[Any]:
      if self.name in _NO_WORDS:
        return []
      if self.name in _CODE:
        code = '\n'.join(self.content)
        return [nodes.literal_block(code, code)]
      holder = nodes.container()
      if self.arguments:
        holder += nodes.paragraph('', self.arguments[0])
      self.state.nested_parse(self.content, self.content_offset, holder)
      return holder.children

  def words(name: str, rawtext: str, text: str, *_: Any, **__: Any) -> tuple[list[Any], list[Any]]:
    shown = text.partition(' <')[0] if text.endswith('>') and ' <' in text else text.lstrip('~!')
    return [nodes.inline(rawtext, shown)], []

  directive, role = directives.directive, roles.role

  def find_directive(name: str, *arguments: Any) -> Any:
    found, messages = (Words, []) if name in (*_CODE, *_NO_WORDS) else directive(name, *arguments)
    return (found, messages) if found else (Words, [])

  def find_role(name: str, *arguments: Any) -> Any:
    found, messages = role(name, *arguments)
    return (found, messages) if found else (words, [])

  directives.directive, roles.role = find_directive, find_role
  try:
    yield
  finally:
    directives.directive, roles.role = directive, role


class _AnyOption(dict):
  """Takes any option as it is written."""

  def __bool__(self) -> bool:
    return True

  def __contains__(self, _: object) -> bool:
    return True

  def __getitem__(self, _: str) -> Any:
    return lambda argument: argument
