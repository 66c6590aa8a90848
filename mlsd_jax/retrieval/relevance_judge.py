"""Judgements by a language model where there are none by people (Thomas et al. 2023, arXiv:2309.10621)."""

import re
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence

from mlsd_jax.errors import UserError
from mlsd_jax.ranking_measures import Judgements

type Ask = Callable[[str], str]  # prompt -> what the model says

_PROMPT = """Grade how well the passage answers the query.
3: it answers it fully; 2: in part, or among other things; 1: it is about the subject only; 0: nothing to do with it.

Query: {query}
Passage: {passage}

Grade (0 to 3):"""


def judge(queries: Mapping[str, str], shown: Mapping[str, Sequence[tuple[str, str]]], ask: Ask) -> Judgements:
  """Grades 0 to 3 of every page shown for a query.

  Args:
    shown: query id -> (page id, text) pairs.

  Raises:
    UserError: the model says something in which there is no grade.
  """
  judgements: dict[str, dict[str, int]] = {}
  for query, pages in shown.items():
    for page, text in pages:
      said = ask(_PROMPT.format(query=queries[query], passage=text))
      found = re.search(r'\b[0-3]\b', said)
      if not found:
        raise UserError(f'the judge gave no grade from 0 to 3 for query {query!r}: it said {said.strip()[:60]!r}')
      judgements.setdefault(query, {})[page] = int(found[0])
  return judgements


def command(line: str, *, timeout: float = 120) -> Ask:
  """A judge that is a program: it reads the prompt on standard input and prints what it says.

  Raises:
    UserError: when asked, if the program is not there, fails, or takes longer than `timeout` seconds.
  """
  arguments = shlex.split(line)

  def ask(prompt: str) -> str:
    try:
      done = subprocess.run(arguments, input=prompt, capture_output=True, text=True, timeout=timeout)
    except (OSError, subprocess.TimeoutExpired) as error:
      raise UserError(f'the judge {line!r} cannot be asked: {error}') from error
    if done.returncode:
      raise UserError(f'the judge {line!r} failed with code {done.returncode}: {done.stderr.strip()[-200:]}')
    return done.stdout

  return ask
