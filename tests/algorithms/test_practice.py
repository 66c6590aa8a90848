"""Judging a class on a design problem."""

import textwrap

from mlsd_jax.algorithms import practice
from mlsd_jax.algorithms.limits import Limits
from mlsd_jax.algorithms.problem import Problem


class Echo:
  def say(self, number):
    return f'{number} ' * 500


PROBLEM = Problem(Echo, Echo, lambda rng, count, size: [], {})


def test_the_mistake_shown_is_the_one_that_was_made(pool, tmp_path):
  """It may stand behind the beginning of the output, which is all that a result holds."""
  wrong = """
    class Echo:
      def say(self, number):
        return f'{number} ' * 500 if number != 70 else 'oh'
    """
  (tmp_path / 'echo.py').write_text(textwrap.dedent(wrong))
  calls = [('Echo', []), *(('say', [number]) for number in range(100))]
  case = practice.operations_case(PROBLEM, calls, 'long')
  report, mismatch = practice.judge_class(
    PROBLEM, tmp_path / 'echo.py', [case], pool=pool, limits=Limits(time=20), build_folder=tmp_path / 'build'
  )
  assert report.verdict == 'WA'
  assert len(report.results[0].output) < len('70 ' * 500) * 70
  assert (mismatch.calls[-1], mismatch.actual) == (('say', [70]), 'oh')
