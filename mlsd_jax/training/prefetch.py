"""Running an iterator a few items ahead in a thread."""

import contextlib
import queue
import threading
from collections.abc import Generator, Iterator


def prefetch[T](iterator: Iterator[T], depth: int = 2) -> Generator[T]:
  """Yields the items of `iterator`, of which up to `depth` are made ahead of need.

  An exception in the iterator is raised at the place its item would have had. Closing the generator ends the thread.
  """
  items: queue.Queue = queue.Queue(maxsize=depth)
  closed = threading.Event()

  def put(item) -> None:
    while not closed.is_set():
      with contextlib.suppress(queue.Full):
        items.put(item, timeout=0.1)
        return

  def produce() -> None:
    try:
      for item in iterator:
        put((item, None))
        if closed.is_set():
          return
      put((None, StopIteration()))
    except BaseException as error:
      put((None, error))

  thread = threading.Thread(target=produce, daemon=True, name='prefetch')
  thread.start()
  try:
    while True:
      item, error = items.get()
      if isinstance(error, StopIteration):
        return
      if error is not None:
        raise error
      yield item
  finally:
    closed.set()
    thread.join()
