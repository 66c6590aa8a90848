"""Question answering collections in SQuAD's JSON (Rajpurkar et al. 2016): paragraphs, questions, and their answers.

{"data": [{"title": ..., "paragraphs": [{"context": ..., "qas": [{"id", "question", "answers": [{"text", ...}]}]}]}]}

XQuAD, MLQA, COVID-QA and many more are written so. Each paragraph is a page; its questions are asked of all of them.
"""

import collections
import pathlib
import unicodedata
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mlsd_jax import reading
from mlsd_jax.errors import UserError
from mlsd_jax.retrieval.judged_files import Judged
from mlsd_jax.retrieval.page import Page


def is_squad(path: pathlib.Path) -> bool:
  """Whether a file looks like one of these by its beginning."""
  with reading.opened(path) as file:
    head = file.read(1 << 16)
  return b'"paragraphs"' in head and b'"context"' in head


def read_squad(path: pathlib.Path, warn: Callable[[str], None] = print) -> tuple[Iterator[Page], Judged]:
  """The pages, named TITLE#NUMBER, and the questions with the page and the texts that answer them.

  A paragraph has its article's title if it is of the script that the paragraph is written in: a translation keeps the
  titles of the original, which its readers would not search for.

  Args:
    warn: gets a line if questions are left out because they have no answer (as SQuAD 2.0's impossible ones).

  Raises:
    UserError: the file cannot be read, is not in this form, has two questions of one id, or holds no answered question.
  """
  content = reading.read_json(path, unique=True)
  if not isinstance(content, dict) or not isinstance(content.get('data'), list):
    raise UserError(f"{path} is not in SQuAD's form: no object with a list under 'data'")
  pages: list[Page] = []
  queries: dict[str, str] = {}
  judgements: dict[str, dict[str, int]] = {}
  answers: dict[str, tuple[str, ...]] = {}
  numbers: collections.Counter[str] = collections.Counter()
  unanswered = 0
  for place, article in enumerate(content['data'], start=1):
    where = f'{path}, article {place}'
    named = isinstance(article, dict) and article.get('title')
    title = _text(article, 'title', where).replace('_', ' ') if named else ''
    title = urllib.parse.unquote(title)
    for number, paragraph in enumerate(_list(article, 'paragraphs', where), start=1):
      here = f'{where}, paragraph {number}'
      context = reading.newlines(_text(paragraph, 'context', here))
      name = title or f'article {place}'
      numbers[name] += 1
      page = Page(f'{name}#{numbers[name]}', title if _script(title) == _script(context) else '', context, name)
      pages.append(page)
      for question in _list(paragraph, 'qas', here):
        id_, text = _text(question, 'id', f'{here}, a question'), _text(question, 'question', f'{here}, a question')
        if id_ in queries:
          raise UserError(f'{here}: question {id_!r} is there already; ids must be unique')
        found = [_text(each, 'text', f'{here}, question {id_!r}') for each in _list(question, 'answers', here)]
        if not text.strip():
          raise UserError(f'{here}: question {id_!r} is empty')
        if not any(each.strip() for each in found):
          unanswered += 1
          continue
        queries[id_] = ' '.join(text.split())
        judgements[id_] = {page.id: 1}
        answers[id_] = tuple(dict.fromkeys(each for each in found if each.strip()))
  if not queries:
    raise UserError(f'{path} holds no question with an answer')
  if unanswered:
    warn(f'{unanswered:,} of {unanswered + len(queries):,} questions of {path} have no answer and are not asked')
  return iter(pages), Judged(queries, judgements, answers)


def _list(value: Any, key: str, where: str) -> list[Any]:
  if not isinstance(value, Mapping) or not isinstance(value.get(key), list):
    raise UserError(f"{where} is not in SQuAD's form: no object with a list under {key!r}")
  return value[key]


def _text(value: Any, key: str, where: str) -> str:
  found = value.get(key) if isinstance(value, Mapping) else None
  if key == 'id' and isinstance(found, int) and not isinstance(found, bool):  # COVID-QA numbers its questions
    return str(found)
  if not isinstance(found, str):
    raise UserError(f"{where} is not in SQuAD's form: no text under {key!r}")
  return found


def _script(text: str) -> str:
  """The commonest script of the letters, by the first word of their names: LATIN, ARABIC, CJK; '' without letters."""
  names = (unicodedata.name(each, ' ').split(' ', 1)[0] for each in text[:1000] if each.isalpha())
  return max(collections.Counter(names).items(), key=lambda item: item[1], default=('', 0))[0]
