"""What the site adds to the pages: the source files that they link to, and what `--help` prints.

MkDocs calls these functions by their names (mkdocs.yml, hooks).
"""

import contextlib
import functools
import importlib
import io
import logging
import pathlib
import posixpath
import re

from mkdocs.structure.files import File

REPOSITORY = pathlib.Path(__file__).parent.parent
_LINK = re.compile(r'\]\(((?:\.\./)+[^)#\s]+)(#[^)]*)?\)')
_ASSET = re.compile(r'<(?:script|img|iframe|source|link)[^>]*?(?:src|href)="?((?:https?:)?//[^"\s>]+)')
_HELP = re.compile(r'<!-- help: (\w+) -->')
_logger = logging.getLogger('mkdocs.plugins.site_hooks')
_LANGUAGES = {'.py': 'python', '.toml': 'toml', '.yaml': 'yaml', '.md': 'markdown'}


def on_files(files, config):
  """Adds a page for every file of the repository outside docs/ that a page links to."""
  linked = {target for file in files.documentation_pages() for target in _linked_files(file)}
  for target in sorted(linked):
    language = _LANGUAGES.get(pathlib.Path(target).suffix, 'text')
    content = f'# {target}\n\n````{language}\n{(REPOSITORY / target).read_text()}````\n'
    files.append(File.generated(config, f'source/{target}.md', content=content))
  return files


def on_page_markdown(markdown, page, config, files):
  """Points links to files outside docs/ to their pages, and puts an experiment's --help where it is named."""

  def to_source_page(match):
    target = _target(page.file.src_uri, match[1])
    if target is None:
      return match[0]
    return f']({posixpath.relpath(f"source/{target}.md", posixpath.dirname(page.file.src_uri) or ".")})'

  if page.file.src_uri.startswith('source/'):
    return markdown
  markdown = _LINK.sub(to_source_page, markdown)
  return _HELP.sub(lambda match: f'```text\n{_help_of(match[1])}```', markdown)


def _linked_files(file):
  for path, _ in _LINK.findall(pathlib.Path(file.abs_src_path).read_text()):
    target = _target(file.src_uri, path)
    if target is not None:
      yield target


def _target(page, link):
  """The path in the repository of a link that leaves docs/; None for one that stays, or leads to nothing."""
  target = posixpath.normpath(posixpath.join('docs', posixpath.dirname(page), link))
  return None if target.startswith(('docs/', '..')) or not (REPOSITORY / target).is_file() else target


@functools.cache
def _help_of(name):
  """What `python -m experiments.NAME --help` prints."""
  printed = io.StringIO()
  with contextlib.redirect_stdout(printed):
    importlib.import_module(f'experiments.{name}').main(['--help'])
  return printed.getvalue()


def on_post_page(output, page, config):
  """Warns (an error in strict mode) where a page would load something from another host."""
  for asset in _ASSET.findall(output):
    _logger.warning('%s loads %s', page.file.src_uri, asset)
  return output
