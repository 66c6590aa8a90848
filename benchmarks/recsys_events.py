"""What it costs a recommender to go on counting: requests alone, behind its log, and while purchases come.

python -m benchmarks.recsys_events --workdir=runs/recsys/quickstart

One client, one request after the other; unknown users among them. Prints milliseconds, median and 99th percentile, and
how long a purchase takes from its post until it is in the next answer.
"""

import argparse
import asyncio
import pathlib
import tempfile
import time

import numpy as np

from mlsd_jax.recsys import saved_state
from mlsd_jax.serving import AnswerLog, RecommendService, Shop


async def ask(service: RecommendService, users: list[str]) -> list[float]:
  taken = []
  for user in users:
    began = time.perf_counter()
    await service.recommend(user)
    taken.append(1000 * (time.perf_counter() - began))
  return taken


async def post(shop: Shop, users: list[str], items: list[str], a_second: float, stop: asyncio.Event) -> list[float]:
  """Purchases one after the other, so many a second; each one's milliseconds until the state has it."""
  rng, taken = np.random.default_rng(1), []
  while not stop.is_set():
    event = shop.make_event(str(rng.choice(users)), str(rng.choice(items)))
    began = time.perf_counter()
    await shop.post([event])
    view = shop.view
    assert view.items[event.item] in view.state.snapshot['recent'][view.users[event.user]]
    taken.append(1000 * (time.perf_counter() - began))
    await asyncio.sleep(max(0.0, 1 / a_second - taken[-1] / 1000))
  return taken


async def measure(arguments: argparse.Namespace) -> None:
  state = saved_state.load(arguments.workdir / 'state')
  users = [str(id_) for id_ in state.users['id'].sample(arguments.requests, with_replacement=True, seed=0)]
  users[::10] = ['nobody'] * len(users[::10])
  items = [str(id_) for id_ in state.items['id']]
  with tempfile.TemporaryDirectory() as folder:
    shop = Shop(state, pathlib.Path(folder))
    frozen = RecommendService('frozen', state)
    live = RecommendService('live', state, shop=shop, answers=AnswerLog(pathlib.Path(folder, 'answers')))
    for service in (frozen, live):
      service.warm_up()
      await ask(service, users[:50])
    times: dict[str, list[float]] = {'frozen': [], 'live': [], 'live, purchases come': []}
    posted: list[float] = []
    for part in np.array_split(users, 4):  # by turns: what else the machine does falls on all alike
      times['frozen'] += await ask(frozen, part.tolist())
      times['live'] += await ask(live, part.tolist())
      stop = asyncio.Event()
      posting = asyncio.create_task(post(shop, users, items, arguments.events, stop))
      times['live, purchases come'] += await ask(live, part.tolist())
      stop.set()
      posted += await posting
    for service in (frozen, live):
      await service.close()
  base = np.quantile(times['frozen'], [0.5, 0.99])
  print(f'{len(state.users):,} users, {len(state.items):,} items, {len(users):,} requests of each kind')
  for name, values in times.items():
    median, worst = np.quantile(values, [0.5, 0.99])
    print(f'{name:<22} p50 {median:6.2f} ms ({median / base[0]:.2f})  p99 {worst:6.2f} ms ({worst / base[1]:.2f})')
  median, worst = np.quantile(posted, [0.5, 0.99])
  print(
    f'{len(posted)} purchases, {arguments.events:g} a second: counted after p50 {median:.1f} ms, p99 {worst:.1f} ms'
  )


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--workdir', type=pathlib.Path, default=pathlib.Path('runs/recsys/quickstart'))
  parser.add_argument('--requests', type=int, default=800)
  parser.add_argument('--events', type=float, default=10.0, help='purchases a second')
  asyncio.run(measure(parser.parse_args()))


if __name__ == '__main__':
  main()
