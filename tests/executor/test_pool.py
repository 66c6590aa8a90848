"""The loop over workers, with workers that begin, end and die when the test says so."""

import collections
import concurrent.futures
import threading

from mlsd_jax.executor import pool


class Scripted:
  """A slot whose futures the test resolves: `asked` holds (what, part, future) in order."""

  def __init__(self):
    self.asked = collections.deque()
    self.seen = threading.Condition()

  def _ask(self, what, name):
    future = concurrent.futures.Future()
    with self.seen:
      self.asked.append((what, name, future))
      self.seen.notify_all()
    return future

  def start(self):
    return self._ask('start', None)

  def make(self, name, task):
    del task
    return self._ask('make', name)

  def stop(self):
    pass

  def next(self, what):
    """The future of the next thing that was asked of this slot, which is `what`; and the part."""
    with self.seen:
      assert self.seen.wait_for(lambda: self.asked, timeout=60), f'nobody asked to {what}'
      asked, name, future = self.asked.popleft()
    assert asked == what
    return name, future


def test_a_part_of_a_dead_worker_goes_to_one_that_had_none_left():
  """The dead one finds no room again, as the idle one keeps its core: without the idle one nothing would ever move."""
  lively, dying = Scripted(), Scripted()
  made, one_is_made = [], threading.Event()

  def on_part(name, note):
    made.append(name)
    one_is_made.set()

  arguments = ([dying, lively], {'a': 0, 'b': 1}, ['a', 'b'], on_part)
  options = dict(find=lambda name: None, attempts=3, start_seconds=60)
  whole = threading.Thread(target=pool.run, args=arguments, kwargs=options, daemon=True)
  whole.start()
  dying.next('start')[1].set_result(None)
  first, lost = dying.next('make')
  lively.next('start')[1].set_result(None)
  second, future = lively.next('make')
  future.set_result({})
  assert one_is_made.wait(60)  # and now it has nothing to do
  lost.set_exception(pool.LostWorkerError('its node was killed'))
  dying.next('start')  # which never comes to be
  again, future = lively.next('make')
  future.set_result({})
  whole.join(60)
  assert not whole.is_alive()
  assert again == first
  assert sorted(made) == sorted([first, second])
