"""What a run says of its data before anything is learnt."""

import polars as pl
import pytest

from mlsd_jax.recsys import settings
from mlsd_jax.recsys.purchases import own_table, weeks


def _said(folder, lines_of_0):
  who = ['0'] * lines_of_0 + [f'c{number}' for number in range(40) for _ in range(6)]
  when = [f'2020-{1 + row % 6:02}-{1 + row % 28:02}' for row in range(len(who))]
  pl.DataFrame({'user_id': who, 'item_id': 'x', 'time': when}).write_csv(folder / 'log.csv')
  data = own_table.read_table(folder / 'log.csv', {})
  return settings.describe(data, weeks.choose_cuts(data, 4))


@pytest.mark.parametrize(('lines', 'share'), [(80, '25%'), (60, '20%'), (59, None), (6, None)])
def test_a_user_that_stands_for_nobody_is_told(tmp_path, lines, share):
  said = _said(tmp_path, lines)  # of the others each has 6
  if share:
    assert f"user '0' has {share} of all purchases" in said
  else:
    assert 'of all purchases' not in said


@pytest.mark.parametrize(('hours', 'first'), [(24, '2020-03-25'), (7, '2020-03-23')])
def test_a_week_of_days_begins_with_the_first_of_them(tmp_path, hours, first):
  times = pl.datetime_range(pl.date(2020, 1, 1), pl.datetime(2020, 3, 31, 0), f'{hours}h', eager=True)
  pl.DataFrame({'user_id': 'a', 'item_id': 'x', 'time': times}).write_csv(tmp_path / 'log.csv')
  data = own_table.read_table(tmp_path / 'log.csv', {})
  assert f'held out: the week from {first} on, 1 users' in settings.describe(data, weeks.choose_cuts(data, 4))
