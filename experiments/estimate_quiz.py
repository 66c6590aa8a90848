"""--mode=quiz: asks, reads answers with units from a terminal or a pipe, shows the working, keeps the score."""

import dataclasses
import sys
from typing import Annotated

from experiments import contract
from mlsd_jax import sealed
from mlsd_jax.errors import UserError
from mlsd_jax.estimates import quiz as questions
from mlsd_jax.schema import Positive, Range, from_mapping

SCORE = 'score.json'


@dataclasses.dataclass(frozen=True)
class QuizConfig:
  """config of configs/estimate."""

  questions: Positive
  seed: int
  tolerance: Annotated[float, Range(0, 1, low_open=True)]
  topics: tuple[str, ...] = ()


KEYS = tuple(field.name for field in dataclasses.fields(QuizConfig))


def quiz(run: contract.Run) -> None:
  """Asks back-of-envelope questions (answers take units: '3.2 GB', '40 ms', '500 QPS'), and keeps the score."""
  config = from_mapping(QuizConfig, run.config.to_dict(), '')
  asked = questions.questions(config.questions, config.seed, config.topics)
  run.claim(KEYS)
  told: dict[str, list[bool]] = {}
  for number, question in enumerate(asked, 1):
    run.print(f'{number}/{len(asked)} [{question.topic}] {question.text}')
    off = _ask(run, question)
    if off is None:
      break
    is_right = off <= config.tolerance
    told.setdefault(question.topic, []).append(is_right)
    said = 'right' if is_right else 'no'
    run.print(f'  {said}: {question.shown} (off by {off:.1%}; {config.tolerance:.0%} is allowed)')
    run.print('\n'.join(f'    {line}' for line in question.working) + '\n')
    _keep(run, question.topic, is_right)
  total = _score(run)
  for topic, answers in told.items():
    ever = total['topics'][topic]
    run.print(f'{topic}: {sum(answers)} of {len(answers)} right; all in all {ever["right"]} of {ever["asked"]}')
  right, asked_now = sum(map(sum, told.values())), sum(map(len, told.values()))
  run.print(
    f'{right} of {asked_now} right; all in all {total["right"]} of {total["asked"]}, kept in {run.workdir / SCORE}'
  )


def _ask(run: contract.Run, question: questions.Question) -> float | None:
  """How far the answer is off; None at the end of the input. What is no such number is said, and asked again."""
  while True:
    if sys.stdin.isatty():
      print('> ', end='', flush=True)
    line = sys.stdin.readline()
    if not line:
      run.print('')
      return None
    if not line.strip():
      continue
    try:
      return question.off_by(line.strip())
    except UserError as error:
      run.print(f'  {error}')


def _score(run: contract.Run) -> dict:
  path = run.workdir / SCORE
  return sealed.read_json(path) if path.exists() else {'asked': 0, 'right': 0, 'topics': {}}


def _keep(run: contract.Run, topic: str, right: bool) -> None:
  """Adds an answer to score.json, which is whole at every moment."""
  score = _score(run)
  of_topic = score['topics'].get(topic, {'asked': 0, 'right': 0})
  for counts in (score, of_topic):
    counts['asked'] += 1
    counts['right'] += int(right)
  sealed.write_json(run.workdir / SCORE, score | {'topics': score['topics'] | {topic: of_topic}})
