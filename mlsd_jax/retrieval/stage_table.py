"""How good each stage is and what it costs: measures with intervals, tests between stages, times, calibration."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mlsd_jax.errors import UserError
from mlsd_jax.ranking_measures import Judgements, Run, per_query
from mlsd_jax.resampling import Estimate, bootstrap, sign_flip_p
from mlsd_jax.retrieval import relevance_judge
from mlsd_jax.retrieval.answer_judge import AnswerConfig, AnswerReport, judge_answers
from mlsd_jax.retrieval.fusion import FUSIONS, best, fuse
from mlsd_jax.retrieval.judged_collections import format_run
from mlsd_jax.retrieval.search import Searcher

MEASURES = ('ndcg@5', 'ndcg@10', 'recall@5', 'recall@100', 'mrr@10', 'map@100')
_SHOWN = ('ndcg@5', 'ndcg@10', 'recall@5', 'mrr@10', 'map@100')
_JUDGED = 5  # pages of each stage that a language model is asked to grade
# What has to run before a stage has its ranking.
_COSTS = {
  'bm25': ('bm25',),
  'dense': ('encode', 'dense'),
  'hybrid': ('bm25', 'encode', 'dense', 'hybrid'),
  'rerank': ('bm25', 'encode', 'dense', 'hybrid', 'rerank'),
}


@dataclasses.dataclass(frozen=True)
class Report:
  """What an evaluation came to.

  Attributes:
    ids: of the N queries with a relevant page.
    found: stage -> query id -> (page id, score), the best first.
    values: stage -> measure -> [N], a query each.
    milliseconds: part of the search -> [N].
    others: the same values of runs that were made elsewhere, by name.
    answers: how good the answers are, and the calibration of their confidence; None if the corpus has no relevant page.
  """

  ids: Sequence[str]
  found: Mapping[str, Mapping[str, Sequence[tuple[str, float]]]]
  values: Mapping[str, Mapping[str, np.ndarray]]
  milliseconds: Mapping[str, np.ndarray]
  others: Mapping[str, Mapping[str, np.ndarray]] = dataclasses.field(default_factory=dict)
  answers: AnswerReport | None = None

  @property
  def estimates(self) -> dict[str, dict[str, Estimate]]:
    """Stage -> measure -> mean and interval, of the measures that are drawn."""
    return {stage: {name: bootstrap(own[name]) for name in _SHOWN[:3]} for stage, own in self.values.items()}

  def table(self) -> str:
    """One line a stage, then one a run made elsewhere; then the answers, if they were judged."""
    width = max(8, *(len(name) + 2 for name in (*self.values, *self.others)))
    head = ''.join(f'{name:>26}' for name in _SHOWN[:3])
    lines = [f'{"stage":<{width}}{head}{"mrr@10":>8}{"map@100":>9}{"p":>8}{"ms":>8}']
    before = None
    for stage, own in self.values.items():
      spent = np.sum([self.milliseconds[part] for part in _COSTS[stage]], axis=0)
      lines.append(f'{stage:<{width}}{_row(own, before)}{np.median(spent):8.1f}')
      before = own
    lines += [f'{name:<{width}}{_row(own, before)}' for name, own in self.others.items()]
    number = len(next(iter(self.milliseconds.values())))
    versus = 'the line above' if not self.others else f'the line above, of other runs against {list(self.values)[-1]}'
    lines.append(
      f'{number:,} queries; 95% intervals; p: nDCG@10 against {versus}; ms: median, with what the stage builds on'
    )
    if self.answers is not None:
      lines += ['', self.answers.table(float(before['ndcg@10'].mean()) if before else 0.0)]
    return '\n'.join(lines)

  def trec(self, stage: str) -> str:
    """A stage's run in TREC's format."""
    return format_run(self.found[stage], f'mlsd_jax-{stage}')

  def by_query(self) -> dict[str, dict[str, float]]:
    """Measure -> query id -> value: nDCG@10 of each stage, and what was judged of the answers."""
    stages = {f'ndcg@10 {stage}': own['ndcg@10'].tolist() for stage, own in self.values.items()}
    measured = {name: dict(zip(self.ids, values, strict=True)) for name, values in stages.items()}
    return measured | (self.answers.by_query() if self.answers is not None else {})

  def result(self) -> dict[str, object]:
    """For result.json."""
    by_stage: dict[str, object] = {
      name: {stage: float(own[name].mean()) for stage, own in (*self.values.items(), *self.others.items())}
      for name in MEASURES
    }
    first = np.sum([self.milliseconds[part] for part in _COSTS['hybrid']], axis=0)
    return by_stage | {
      'num_queries': len(first),
      'search_p50_ms': float(np.percentile(first, 50)),
      'search_p99_ms': float(np.percentile(first, 99)),
      **(self.answers.result() if self.answers is not None else {}),
    }


def evaluate(
  searcher: Searcher,
  queries: Mapping[str, str],
  judgements: Judgements,
  *,
  ask: relevance_judge.Ask | None = None,
  rewrite: Callable[[str], Sequence[str]] = lambda _: (),
  others: Mapping[str, Run] | None = None,
  texts: Mapping[str, Sequence[str]] | None = None,
  answering: AnswerConfig | None = None,
  calibrated: bool = True,
) -> Report:
  """Runs every query through every stage.

  Args:
    texts: by query, the texts any of which answers it; with them the answers are judged, which `answering` says how to
      pick.
    calibrated: fit the confidence of answers to these queries, as people ask so.
    ask: a language model that grades the first pages of each stage, instead of `judgements`.
    rewrite: other words for a query.
    others: runs that were made elsewhere, by name.

  Raises:
    UserError: an empty query, none has a page judged relevant, or a run answers none of them.
  """
  store = searcher.store
  tokens = searcher.encoder.count_tokens
  for query in {tokens(query) // 16: query for query in queries.values()}.values():  # compiles what is timed below
    searcher.search(query)
  found: dict[str, dict[str, list[tuple[str, float]]]] = {}
  passages: dict[str, dict[str, str]] = {}
  times: dict[str, list[float]] = {}
  for id_, query in queries.items():
    one = searcher.search(query, rewrites=rewrite(query))
    for stage, hits in one.stages.items():
      found.setdefault(stage, {})[id_] = [(store.page_ids[hit.page], hit.score) for hit in hits]
      if ask is not None:
        shown = {store.page_ids[hit.page]: store.chunk_text(hit.chunk) for hit in hits[:_JUDGED]}
        passages[id_] = shown | passages.get(id_, {})
    for part, spent in one.milliseconds.items():
      times.setdefault(part, []).append(spent)
  if ask is not None:
    shown_pairs = {id_: list(pages.items()) for id_, pages in passages.items()}
    judgements = relevance_judge.judge(queries, shown_pairs, ask)
  chosen = {id_: judgements[id_] for id_ in queries if id_ in judgements}
  runs = {
    stage: {id_: [page for page, _ in ranked] for id_, ranked in by_query.items()} for stage, by_query in found.items()
  }
  for name, run in (others or {}).items():
    if not chosen.keys() & run.keys():
      raise UserError(f'{name} ranks pages for none of the {len(chosen)} judged queries: their ids must be the same')
  measure = lambda run: {name: per_query(run, chosen, name) for name in MEASURES}
  return Report(
    ids=[id_ for id_, grades in chosen.items() if any(grade > 0 for grade in grades.values())],
    found=found,
    values={stage: measure(run) for stage, run in runs.items()},
    milliseconds={part: np.array(spent) for part, spent in times.items()},
    others={name: measure(run) for name, run in (others or {}).items()},
    answers=judge_answers(searcher, queries, chosen, texts or {}, answering or AnswerConfig(), fit=calibrated),
  )


def _row(own: Mapping[str, np.ndarray], before: Mapping[str, np.ndarray] | None) -> str:
  p = f'{sign_flip_p(own["ndcg@10"] - before["ndcg@10"]):8.4f}' if before else f'{"":>8}'
  means = ''.join(f'{bootstrap(own[name])!s:>26}' for name in _SHOWN[:3])
  return f'{means}{own["mrr@10"].mean():8.4f}{own["map@100"].mean():9.4f}{p}'


def fusion_sweep(
  searcher: Searcher, queries: Mapping[str, str], judgements: Judgements
) -> tuple[list[float], dict[str, list[float]]]:
  """nDCG@10 of both fusions by the weight of the dense ranking, 0 to 1 in tenths."""
  chosen = {id_: judgements[id_] for id_ in queries if id_ in judgements}
  rankings = {
    id_: [{hit.page: hit.score for hit in found.stages[stage]} for stage in ('bm25', 'dense')]
    for id_, query in queries.items()
    if (found := searcher.search(query))
  }
  weights = [tenth / 10 for tenth in range(11)]
  names = searcher.store.page_ids
  measured: dict[str, list[float]] = {}
  for name in FUSIONS:
    for weight in weights:
      run = {
        id_: [names[page] for page in best(fuse(name, pair, [1 - weight, weight]), 10)]
        for id_, pair in rankings.items()
      }
      measured.setdefault(name, []).append(float(per_query(run, chosen, 'ndcg@10').mean()))
  return weights, measured
