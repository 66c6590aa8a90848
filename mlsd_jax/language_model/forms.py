"""Conversations made by rule, with one right answer each: dates in one form, sums by a call of the calculator.

Small enough that a model of a million parameters learns them in minutes, and to be scored to the letter.
"""

import datetime
from collections.abc import Iterator

import numpy as np

from mlsd_jax.language_model.chat_template import Message
from mlsd_jax.language_model.tools import calculate

NAME = 'forms'
_MONTHS = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
]
_FIRST, _LAST = datetime.date(1970, 1, 1), datetime.date(2039, 12, 31)


def make_conversations(number: int, seed: int = 0) -> Iterator[list[Message]]:
  """`number` conversations, no two alike, half of them about dates."""
  rng = np.random.default_rng(seed)
  seen: set[str] = set()
  while len(seen) < number:
    messages = _date(rng) if rng.random() < 0.5 else _sum(rng)
    if messages[0]['content'] not in seen:
      seen.add(messages[0]['content'])
      yield messages


def _date(rng: np.random.Generator) -> list[Message]:
  day = _FIRST + datetime.timedelta(days=int(rng.integers((_LAST - _FIRST).days)))
  month = _MONTHS[day.month - 1]
  written = (f'{day.day} {month} {day.year}', f'{month} {day.day}, {day.year}')[int(rng.integers(2))]
  return [{'role': 'user', 'content': f'Date: {written}'}, {'role': 'assistant', 'content': day.isoformat()}]


def _sum(rng: np.random.Generator) -> list[Message]:
  a, b = (int(each) for each in rng.integers(2, 100, 2))
  expression = f'{a} {"+-*"[int(rng.integers(3))]} {b}'
  result = calculate(expression)
  return [
    {'role': 'user', 'content': f'What is {expression}?'},
    {'role': 'assistant', 'content': f'calculate: {expression}'},
    {'role': 'tool', 'content': result},
    {'role': 'assistant', 'content': result},
  ]
