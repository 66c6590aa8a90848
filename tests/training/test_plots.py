"""The loss curve of any run, also one that hardly began: drawn without a warning (which would be an error here)."""

import pytest

from mlsd_jax.training import plots


@pytest.mark.parametrize(
  ('records', 'baselines'),
  [
    ([], {}),
    ([{'step': 20, 'val_loss': 3.3}], {}),
    ([{'step': 20, 'loss': 3.3}], {'bigram model': 3.3}),
    ([{'step': 20, 'val_loss': 3.3}], {'bigram model': 1.2, 'uniform guess': 4.0}),  # one baseline is far from reached
    ([{'step': step, 'loss': 4 - step / 100} for step in range(200)], {'bigram model': 3.0}),
  ],
)
def test_a_curve_is_drawn_from_whatever_there_is(tmp_path, records, baselines):
  plots.loss_curve(records, tmp_path / 'loss.png', title='a run', baselines=baselines)
  assert (tmp_path / 'loss.png').read_bytes().startswith(b'\x89PNG')
