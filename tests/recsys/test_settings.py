"""What a run says of its data before anything is learnt."""

import polars as pl
import pytest

from mlsd_jax.recsys import funnel, settings, tables


def _said(folder, lines_of_0):
  who = ['0'] * lines_of_0 + [f'c{number}' for number in range(40) for _ in range(6)]
  when = [f'2020-{1 + row % 6:02}-{1 + row % 28:02}' for row in range(len(who))]
  pl.DataFrame({'user_id': who, 'item_id': 'x', 'time': when}).write_csv(folder / 'log.csv')
  data = tables.table(folder / 'log.csv', {})
  return settings.described(data, funnel.weeks_of(data, 4))


@pytest.mark.parametrize(('lines', 'told'), [(80, True), (50, False), (6, False)])
def test_a_user_that_stands_for_nobody_is_told(tmp_path, lines, told):
  assert ("user '0' has 25% of all purchases" in _said(tmp_path, lines)) == told
