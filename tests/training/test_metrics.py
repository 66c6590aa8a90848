import errno
import json
import math
import os
import struct

import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsd_jax.errors import UserError
from mlsd_jax.training import distributed
from mlsd_jax.training.metrics import FILE_NAME, MetricsWriter, read_metrics


def strict(line):
  """Parses as a reader does that knows only what RFC 8259 allows."""

  def refuse(constant):
    raise ValueError(constant)

  return json.loads(line, parse_constant=refuse)


def lines(workdir):
  """What any reader of JSON finds; each line ends with its checksum."""
  records = [strict(line) for line in (workdir / FILE_NAME).read_text().splitlines()]
  assert all([*record][-1] == 'crc32' for record in records)
  return [{name: value for name, value in record.items() if name != 'crc32'} for record in records]


def values(records):
  return [{name: value for name, value in record.items() if name != 'time'} for record in records]


def test_one_object_a_step(tmp_path):
  with MetricsWriter(tmp_path, tensorboard=False) as writer:
    writer.write(10, {'loss': jnp.float32(2.5), 'count': 3})
    writer.write(20, {'loss': jnp.ones((1,)) * 1.5})
    writer.write(20, {'val_loss': 1.25})
    writer.write(30, {'loss': 0.5})
  assert values(lines(tmp_path)) == [
    {'step': 10, 'loss': 2.5, 'count': 3.0},
    {'step': 20, 'loss': 1.5, 'val_loss': 1.25},
    {'step': 30, 'loss': 0.5},
  ]
  assert read_metrics(tmp_path) == lines(tmp_path)
  times = [record['time'] for record in lines(tmp_path)]
  assert times == sorted(times)
  assert times[0] > 1.7e9  # seconds since 1970


def test_a_record_is_held_back_until_the_next_or_a_flush(tmp_path):
  with MetricsWriter(tmp_path, tensorboard=False) as writer:
    writer.write(1, {'loss': jnp.float32(1)})
    assert read_metrics(tmp_path) == []
    writer.write(2, {'loss': jnp.float32(2)})
    assert values(read_metrics(tmp_path)) == [{'step': 1, 'loss': 1.0}]
    writer.flush()
    assert values(read_metrics(tmp_path)) == [{'step': 1, 'loss': 1.0}, {'step': 2, 'loss': 2.0}]
    writer.flush()
    assert len(read_metrics(tmp_path)) == 2


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf, jnp.float32(math.nan)])
def test_what_is_not_finite_is_null(tmp_path, value):
  with MetricsWriter(tmp_path, tensorboard=False) as writer:
    writer.write(1, {'loss': value, 'grad_norm': 1.0})
  assert values(lines(tmp_path)) == [{'step': 1, 'loss': None, 'grad_norm': 1.0}]


def test_only_scalars(tmp_path):
  with MetricsWriter(tmp_path, tensorboard=False) as writer:
    writer.write(1, {'loss': 1.0})
    writer.write(2, {'loss': jnp.ones(2)})
    with pytest.raises(ValueError, match='reshape'):
      writer.flush()


@settings(max_examples=60, deadline=None)
@given(data=st.data(), steps=st.lists(st.integers(1, 50), min_size=1, max_size=12, unique=True))
def test_a_killed_and_resumed_run_leaves_the_file_of_an_undisturbed_one(tmp_path_factory, data, steps):
  steps = sorted(steps)
  record = lambda step: {'loss': step / 3}

  undisturbed = tmp_path_factory.mktemp('undisturbed')
  with MetricsWriter(undisturbed, tensorboard=False) as writer:
    for step in steps:
      writer.write(step, record(step))

  killed = tmp_path_factory.mktemp('killed')
  checkpoint = data.draw(st.integers(0, max(steps)), 'last checkpoint')
  with MetricsWriter(killed, tensorboard=False) as writer:
    for step in (step for step in steps if step <= checkpoint):
      writer.write(step, record(step))
    writer.flush()  # as before every checkpoint
    saved = (killed / FILE_NAME).stat().st_size if (killed / FILE_NAME).exists() else 0
    for step in (step for step in steps if step > checkpoint):
      writer.write(step, record(step))
  if (killed / FILE_NAME).exists():
    content = (killed / FILE_NAME).read_bytes()
    reached = data.draw(st.floats(0, 1), 'share of the rest that reached the disk')
    (killed / FILE_NAME).write_bytes(content[: saved + round(reached * (len(content) - saved))])

  with MetricsWriter(killed, resume_step=checkpoint, tensorboard=False) as writer:
    for step in (step for step in steps if step > checkpoint):
      writer.write(step, record(step))
  assert values(lines(killed)) == values(lines(undisturbed))


def test_a_new_run_starts_a_new_file(tmp_path):
  for _ in range(2):
    with MetricsWriter(tmp_path, tensorboard=False) as writer:
      writer.write(0, {'val_loss': 5.0})
      writer.write(1, {'loss': 4.0})
  assert [record['step'] for record in lines(tmp_path)] == [0, 1]


def test_a_file_that_is_right_is_left_alone(tmp_path):
  with MetricsWriter(tmp_path, tensorboard=False) as writer:
    writer.write(1, {'loss': 4.0})
  before = (tmp_path / FILE_NAME).stat()
  with MetricsWriter(tmp_path, resume_step=1, tensorboard=False):
    pass
  after = (tmp_path / FILE_NAME).stat()
  assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_what_is_no_record_is_left_out_and_said(tmp_path, caplog):
  good = '{"step": 1, "loss": 2.0}'
  (tmp_path / FILE_NAME).write_bytes(
    b'\n'.join([good.encode(), b'\xff\xfe', b'[1]', b'{"loss": 1}', b'{"step": 2, "lo'])
  )
  assert read_metrics(tmp_path) == [json.loads(good)]
  with MetricsWriter(tmp_path, resume_step=5, tensorboard=False):
    pass
  assert (tmp_path / FILE_NAME).read_text() == good + '\n'
  assert f'{tmp_path / FILE_NAME} is damaged in line 2, 3, 4: left out' in caplog.messages
  assert read_metrics(tmp_path / 'nowhere') == []


def test_a_flip_anywhere_is_noticed(tmp_path, check_flips):
  with MetricsWriter(tmp_path, tensorboard=False) as writer:
    for step in (1, 2, 30):
      writer.write(step, {'loss': step / 3, 'count': 3})
  size = (tmp_path / FILE_NAME).stat().st_size
  shares = [place / (size - 1) for place in range(size)]
  assert check_flips(tmp_path, lambda: read_metrics(tmp_path), shares=shares) == [FILE_NAME]


def test_a_line_half_written_is_survived_at_every_length(tmp_path, caplog):
  with MetricsWriter(tmp_path, tensorboard=False) as writer:
    for step in (1, 2):
      writer.write(step, {'loss': step / 3})
  path = tmp_path / FILE_NAME
  whole = path.read_bytes()
  first = whole.index(b'\n') + 1
  for size in range(first, len(whole) - 1):
    path.write_bytes(whole[:size])
    assert [record['step'] for record in read_metrics(tmp_path)] == [1]
  assert not caplog.messages


def test_other_processes_write_nothing(tmp_path, monkeypatch):
  monkeypatch.setattr(distributed, 'is_main', lambda: False)
  with MetricsWriter(tmp_path) as writer:
    writer.write(1, {'loss': jnp.float32(1)})
    writer.write(2, {'loss': jnp.float32(1)})
  assert list(tmp_path.iterdir()) == []


def test_no_space_is_one_line(tmp_path):
  class Full:
    def write(self, _):
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self):
      pass

  writer = MetricsWriter(tmp_path, tensorboard=False)
  writer._file = Full()
  writer.write(1, {'loss': 1.0})
  with pytest.raises(UserError, match=r'cannot write metrics of step 1 .*No space left on device'):
    writer.write(2, {'loss': 1.0})


def events(workdir):
  """(step, tag, value) of every scalar, and the steps at which a session began, from the TFRecord files."""
  from tensorboardX.proto.event_pb2 import Event

  scalars, starts = [], []
  for path in sorted((workdir / 'tensorboard').iterdir()):
    content, at = path.read_bytes(), 0
    while at < len(content):
      (length,) = struct.unpack('<Q', content[at : at + 8])
      event = Event.FromString(content[at + 12 : at + 12 + length])
      at += 12 + length + 4
      scalars += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
      if event.HasField('session_log'):
        starts.append(event.step)
  return scalars, starts


def test_tensorboard_gets_the_same_scalars(tmp_path):
  with MetricsWriter(tmp_path) as writer:
    writer.write(10, {'loss': jnp.float32(2.5), 'val_loss': math.inf})
    writer.write(20, {'loss': 1.5})
  with MetricsWriter(tmp_path, resume_step=10) as writer:
    writer.write(20, {'loss': 1.5})
  scalars, starts = events(tmp_path)
  assert sorted(scalars) == [(10, 'loss', 2.5), (20, 'loss', 1.5), (20, 'loss', 1.5)]
  assert starts == [0, 11]  # TensorBoard drops what an earlier session wrote from that step on
