"""How good answers are, where a collection says what answers its questions: right sentences, and silence when due."""

import dataclasses
import time
from collections.abc import Mapping, Sequence

import numpy as np

from mlsd_jax.ranking_measures import Judgements
from mlsd_jax.resampling import bootstrap
from mlsd_jax.retrieval import answers
from mlsd_jax.retrieval.search import Searcher

_PLACES = (1, 3)  # citations that are looked at


@dataclasses.dataclass(frozen=True)
class AnswerConfig:
  """Sentences that are cited, pages that they are picked from, the confidence below which it abstains."""

  sentences: int = 3
  pages: int = 5
  min_confidence: float = 0.5


@dataclasses.dataclass(frozen=True)
class AnswerReport:
  """What was answered to N questions.

  Attributes:
    right: bool [N, K]: whether the first, the first two, ... citations hold a text that answers the question.
    abstained_known: bool [N]: no answer although the page that has it is in the corpus.
    answered_unknown: bool [N]: an answer although that page was hidden.
    lengths: [N] characters of the first citation, 0 without one.
    milliseconds: [N] of picking the sentences, the search not included.
  """

  right: np.ndarray
  abstained_known: np.ndarray
  answered_unknown: np.ndarray
  lengths: np.ndarray
  milliseconds: np.ndarray

  def table(self, ndcg: float) -> str:
    """Two lines, nDCG@10 of the last stage before the answers' figures."""
    at = {place: self.right[:, min(place, self.right.shape[1]) - 1] for place in _PLACES}
    head = ''.join(f'{f"answer@{place}":>26}' for place in at)
    shares = ''.join(f'{bootstrap(hits.astype(float))!s:>26}' for hits in at.values())
    late = np.percentile(self.milliseconds, [50, 99])
    return (
      f'answers  ndcg@10{head}   abstains  answers unknown  length      ms     p99\n'
      f'{ndcg:16.4f}{shares}{self.abstained_known.mean():11.4f}{self.answered_unknown.mean():17.4f}'
      f'{self.lengths.mean():8.0f}{late[0]:8.1f}{late[1]:8.1f}\n'
      'answer@k: a right text stands in the first k citations; abstains: with its page in the corpus; answers unknown: '
      'with its page hidden; length: characters of the first citation; ms: to pick them'
    )

  def result(self) -> dict[str, float]:
    """For result.json."""
    shares = {f'answer_at_{place}': self.right[:, min(place, self.right.shape[1]) - 1].mean() for place in _PLACES}
    p50, p99 = np.percentile(self.milliseconds, [50, 99])
    return {name: float(value) for name, value in shares.items()} | {
      'abstained_known': float(self.abstained_known.mean()),
      'answered_unknown': float(self.answered_unknown.mean()),
      'answer_length': float(self.lengths.mean()),
      'answer_p50_ms': float(p50),
      'answer_p99_ms': float(p99),
    }


def judge_answers(
  searcher: Searcher,
  queries: Mapping[str, str],
  judgements: Judgements,
  texts: Mapping[str, Sequence[str]],
  calibration: answers.Calibration,
  config: AnswerConfig,
) -> AnswerReport:
  """Answers every question twice: with all pages there, and with those hidden that are judged relevant to it.

  Args:
    texts: by query, what answers it; a citation is right if it holds one of them, whatever its case and spaces.
  """
  row_of = {id_: row for row, id_ in enumerate(searcher.store.page_ids)}
  settings = {'calibration': calibration, **dataclasses.asdict(config)}
  right, silent, spoke, lengths, spent = [], [], [], [], []
  for id_ in texts:
    found = searcher.search(queries[id_])
    began = time.perf_counter()
    said = answers.answer(searcher, queries[id_], found, **settings)
    spent.append(1000 * (time.perf_counter() - began))
    wanted = [_folded(text) for text in texts[id_]]
    holds = [any(text in _folded(each.text) for text in wanted) for each in said.citations]
    holds = [*holds, *[False] * (config.sentences - len(holds))]
    right.append(np.logical_or.accumulate(holds))
    silent.append(said.abstains)
    lengths.append(len(said.citations[0].text) if said.citations else 0)
    hidden = {row_of[page] for page, grade in judgements[id_].items() if grade > 0 and page in row_of}
    without = answers.answer(searcher, queries[id_], searcher.search(queries[id_], without=hidden), **settings)
    spoke.append(not without.abstains)
  columns = (right, silent, spoke, lengths, spent)
  return AnswerReport(*(np.array(column) for column in columns))


def _folded(text: str) -> str:
  return ' '.join(text.casefold().split())
