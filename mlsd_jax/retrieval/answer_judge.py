"""How good answers are: right sentences, where a collection says what answers its questions, and silence when due.

Every query is answered twice: with all pages there, and with those hidden that are judged relevant to it.
"""

import dataclasses
import functools
import time
from collections.abc import Mapping, Sequence

import numpy as np

from mlsd_jax.ranking_measures import Judgements
from mlsd_jax.resampling import bootstrap
from mlsd_jax.retrieval import answers, calibration
from mlsd_jax.retrieval.search import Searcher
from mlsd_jax.retrieval.store import Store

_PLACES = (1, 3)  # citations that are looked at
_FOLDS = 5


@dataclasses.dataclass(frozen=True)
class AnswerConfig:
  """Sentences that are cited, pages that they are picked from, the confidence below which it abstains."""

  sentences: int = 3
  pages: int = 5
  min_confidence: float = 0.5


@dataclasses.dataclass(frozen=True)
class AnswerReport:
  """What was answered to N queries.

  Attributes:
    ids: of the queries.
    right: bool [R, K]: whether the first, the first two, ... citations hold a text that answers, of the R queries for
      which that is known; None if it is of none.
    known_answers: ids of these R.
    known: float [N]: confidence with the pages there, by a calibration on the queries of other pages;
    hidden: float [N]: the same with them hidden.
    min_confidence: below it no answer is given.
    lengths: [N] characters of the first citation, 0 without one.
    milliseconds: [N] of picking the sentences, the search not included.
    calibration: fitted to all of them.
  """

  ids: Sequence[str]
  right: np.ndarray | None
  known_answers: Sequence[str]
  known: np.ndarray
  hidden: np.ndarray
  min_confidence: float
  lengths: np.ndarray
  milliseconds: np.ndarray
  calibration: calibration.Calibration

  @property
  def abstained_known(self) -> np.ndarray:
    """bool [N]: no answer although the page that has it is in the corpus."""
    return self.known < self.min_confidence

  @property
  def answered_unknown(self) -> np.ndarray:
    """bool [N]: an answer although that page was hidden."""
    return self.hidden >= self.min_confidence

  def table(self, ndcg: float) -> str:
    """A head, a line that begins with nDCG@10 of the last stage, and what its columns are."""
    head, shares, said = '', '', ''
    for place, hits in self._hits().items():
      head += f'{f"answer@{place}":>26}'
      shares += f'{bootstrap(hits.astype(float))!s:>26}'
      said = 'answer@k: a right text stands in the first k citations; '
    middle, late = np.percentile(self.milliseconds, [50, 99])
    return (
      f'answers  ndcg@10{head}   abstains  answers unknown  length      ms     p99\n'
      f'{ndcg:16.4f}{shares}{self.abstained_known.mean():11.4f}{self.answered_unknown.mean():17.4f}'
      f'{self.lengths.mean():8.0f}{middle:8.1f}{late:8.1f}\n'
      f'{said}abstains: with its page in the corpus; answers unknown: with its page hidden;\n'
      'length: characters of the first citation; ms, p99: to pick the sentences'
    )

  def result(self) -> dict[str, float]:
    """For result.json."""
    middle, late = np.percentile(self.milliseconds, [50, 99])
    return {f'answer_at_{place}': float(hits.mean()) for place, hits in self._hits().items()} | {
      'abstained_known': float(self.abstained_known.mean()),
      'answered_unknown': float(self.answered_unknown.mean()),
      'answer_length': float(self.lengths.mean()),
      'answer_p50_ms': float(middle),
      'answer_p99_ms': float(late),
    }

  def by_query(self) -> dict[str, dict[str, float]]:
    """Measure -> query id -> 0 or 1."""
    columns = {f'answer@{place}': (self.known_answers, hits) for place, hits in self._hits().items()}
    columns |= {'abstains': (self.ids, self.abstained_known), 'answers unknown': (self.ids, self.answered_unknown)}
    return {name: dict(zip(ids, values.astype(float).tolist(), strict=True)) for name, (ids, values) in columns.items()}

  def _hits(self) -> dict[int, np.ndarray]:
    if self.right is None:
      return {}
    return {place: self.right[:, min(place, self.right.shape[1]) - 1] for place in _PLACES}


def judge_answers(
  searcher: Searcher,
  queries: Mapping[str, str],
  judgements: Judgements,
  texts: Mapping[str, Sequence[str]],
  config: AnswerConfig,
  *,
  fit: bool = True,
) -> AnswerReport | None:
  """Answers the queries of which a relevant page is in the corpus; None if there is no such query.

  Args:
    texts: by query, what answers it; a citation is right if it holds one of them, whatever its case and spaces.
    fit: fit the calibration to these queries; else it is calibration.PRIOR.
  """
  store = searcher.store
  row_of = {id_: row for row, id_ in enumerate(store.page_ids)}
  pages = {
    id_: [row_of[page] for page, grade in judgements[id_].items() if grade > 0 and page in row_of]
    for id_ in queries
    if id_ in judgements
  }
  pages = {id_: rows for id_, rows in pages.items() if rows}
  if not pages:
    return None
  pick = functools.partial(answers.answer, searcher, sentences=config.sentences, pages=config.pages)
  right, known, hidden, lengths, spent = [], [], [], [], []
  for id_, rows in pages.items():
    query = queries[id_]
    found = searcher.search(query)
    began = time.perf_counter()
    said = pick(query, found)
    spent.append(1000 * (time.perf_counter() - began))
    known.append(said.signals.array())
    lengths.append(len(said.citations[0].text) if said.citations else 0)
    if id_ in texts:
      right.append(_right(said, texts[id_], config.sentences))
    without = searcher.search(query, without=rows)
    hidden.append(pick(query, without).signals.array())
  off = [pick(query, searcher.search(query)) for query in calibration.EVERYDAY]
  everyday = np.array([each.signals.array() for each in off])
  with_page, without_page = np.array(known), np.array(hidden)
  if fit:
    curve = calibration.calibrate(with_page, without_page, everyday)
    confidence = _confidences(with_page, without_page, everyday, _folds(store, list(pages.values())))
  else:
    curve = calibration.PRIOR
    confidence = curve.of(with_page), curve.of(without_page)
  return AnswerReport(
    list(pages),
    np.array(right) if right else None,
    [id_ for id_ in pages if id_ in texts],
    *confidence,
    config.min_confidence,
    np.array(lengths),
    np.array(spent),
    curve,
  )


def _right(said: answers.Answer, texts: Sequence[str], sentences: int) -> np.ndarray:
  """bool [sentences]: one of the texts stands in the citations up to each."""
  wanted = [_folded(text) for text in texts]
  holds = [any(text in _folded(each.text) for text in wanted) for each in said.citations]
  return np.logical_or.accumulate([*holds, *[False] * (sentences - len(holds))])


def _folded(text: str) -> str:
  return ' '.join(text.casefold().split())


def _folds(store: Store, pages: Sequence[Sequence[int]]) -> np.ndarray:
  """int [N]: queries that ask for pages of one folder are in one fold, or if there are few folders, for one page."""
  folders = [store.folders[rows[0]] for rows in pages]
  group_of = folders if len(set(folders)) >= 2 * _FOLDS else [rows[0] for rows in pages]
  number = {group: place for place, group in enumerate(dict.fromkeys(group_of))}
  return np.array([number[group] % _FOLDS for group in group_of])


def _confidences(
  known: np.ndarray, hidden: np.ndarray, everyday: np.ndarray, folds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """[N] and [N] of both kinds, each by the calibration on the other folds."""
  result = np.empty(len(known)), np.empty(len(known))
  for fold in np.unique(folds):
    mine = folds == fold
    curve = calibration.calibrate(known[~mine], hidden[~mine], everyday)
    result[0][mine], result[1][mine] = curve.of(known[mine]), curve.of(hidden[mine])
  return result
