"""Problems against Python's own arithmetic, sorting and calendar, and what their batches promise."""

import datetime
import itertools
import re

import numpy as np
import pytest

from mlsd_jax.data import algorithmic
from mlsd_jax.data.algorithmic import Addition, Dates, Reversal, Sorting, answer_batches
from mlsd_jax.errors import UserError

PROBLEMS = [Addition(), Addition(digits=3, min_digits=1), Sorting(), Reversal(), Dates()]
RNG = np.random.default_rng


@pytest.mark.parametrize('problem', PROBLEMS, ids=str)
@pytest.mark.parametrize('held_out', [True, False])
def test_sources_are_of_their_part_and_fit(problem, held_out):
  for source in problem.sources(RNG(0), 300, held_out=held_out):
    assert problem.is_held_out(source) == held_out
    assert len(source) <= problem.lengths[0]
    assert len(problem.answer(source)) <= problem.lengths[1]
    assert problem.decode(problem.encode(source)) == source


def test_a_rare_part_is_found():
  """Of 20 sources at a time most draws bring none, as only five in a thousand are held out."""
  problem = Addition(digits=4, held_out=0.005)
  found = problem.sources(RNG(0), 20, held_out=True)
  assert len(found) == 20
  assert all(map(problem.is_held_out, found))


@pytest.mark.parametrize('problem', PROBLEMS, ids=str)
def test_the_longest_are_as_long_as_said(problem):
  sources = problem.draw(RNG(0), 5000)
  assert max(map(len, sources)) == problem.lengths[0]
  assert max(len(problem.answer(source)) for source in sources) == problem.lengths[1]


def test_addition_is_pythons():
  for source in Addition(digits=3, min_digits=1).draw(RNG(1), 500):
    a, b = map(int, source[:-1].split('+'))
    assert int(Addition().answer(source)[::-1]) == a + b


def test_all_sums_are_there_once():
  sources = Addition().all_sources()
  assert len(set(sources)) == 10_000
  assert sources[8550] == '85+50='
  assert 0.18 < np.mean([Addition().is_held_out(source) for source in sources]) < 0.22


def test_sorting_and_reversal_are_pythons():
  for source in Sorting(length=8, symbols=10).draw(RNG(1), 100):
    assert list(Sorting().answer(source)) == sorted(source[:-1])
  for source in Reversal().draw(RNG(1), 100):
    assert Reversal().answer(source) == ''.join(reversed(source))


@pytest.mark.parametrize(
  ('written', 'form'), [(r'\w{4,} \d+, \d+', '%B %d, %Y'), (r'\d+ \w+ \d+', '%d %B %Y'), (r'\S+/\S+', '%m/%d/%Y')]
)
def test_dates_are_the_calendars(written, form):
  found = [source for source in Dates().draw(RNG(1), 500) if re.fullmatch(written, source)]
  assert len(found) > 20
  for source in found:
    assert Dates().answer(source) == datetime.datetime.strptime(source, form).date().isoformat()


@pytest.mark.parametrize('arrange', [algorithmic.sequences, algorithmic.pairs])
def test_batches_follow_from_seed_and_number(arrange):
  make = lambda seed: answer_batches(Reversal(), 8, seed, arrange)
  first = list(itertools.islice(make(0).batches(0), 5))
  for batch, again in zip(first[3:], make(0).batches(3), strict=False):
    for name in batch:
      np.testing.assert_array_equal(batch[name], again[name])
  part = next(make(0).batches(3, slice(2, 5)))
  for name in part:
    np.testing.assert_array_equal(part[name], first[3][name][2:5])
  other = next(make(1).batches(3))
  assert any(not np.array_equal(other[name], first[3][name]) for name in other)


def test_weights_stand_on_the_target_and_its_end():
  problem = Addition(digits=2)
  batch = algorithmic.sequences(problem, ['85+50='])
  targets = batch['tokens'][0, 1:][batch['weights'][0] == 1]
  assert problem.decode(targets.tolist()) == '531'
  assert targets[-1] == algorithmic.END


def test_held_out_sources_differ():
  sources = algorithmic.held_out_sources(Sorting(), 50)
  assert len(set(sources)) == len(sources)


def test_what_cannot_be_is_refused():
  with pytest.raises(UserError, match='no held-out examples'):
    Addition(held_out=0.0).sources(RNG(0), 1, held_out=True)
  with pytest.raises(UserError, match='not among the characters'):
    Addition().encode('1x')
  for make in (lambda: Addition(digits=0), lambda: Sorting(symbols=11), lambda: Reversal(min_length=0)):
    with pytest.raises(UserError):
      make()
