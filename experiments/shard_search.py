"""Search over shards that several machines hold: searchers own them, a root asks all and merges.

python -m experiments.shard_search --config.shards=FOLDER --config.groups=2 --config.group=0     # a searcher
python -m experiments.shard_search --mode=root --config.searchers=http://HOST:8100,http://HOST:8100
curl http://127.0.0.1:8100/v1/search --json '{"query": "copy a folder", "k": 5}'
"""

import asyncio
import sys
from collections.abc import Sequence

import numpy as np

from experiments import contract, sections
from experiments.listening import listen
from mlsd_jax.encoder.encoder import load_encoder
from mlsd_jax.errors import UserError
from mlsd_jax.executor import open_parts
from mlsd_jax.schema import Name, Place, from_mapping
from mlsd_jax.serving.shard_search import RootConfig, Shards, create_root, create_searcher, own_of


def search(run: contract.Run) -> None:
  """Owns every groups-th shard, from the group-th on, and answers the root."""
  config = run.config
  parts = open_parts(config.shards)
  names = own_of(list(parts.seals), config.group, config.groups)
  shards = Shards.open(parts, names)
  run.print(f'owns {len(names)} of {len(parts.seals)} shards of {parts.path}: {len(shards):,} vectors')
  listen(run, config.host, config.port, create_searcher(shards))


def root(run: contract.Run) -> None:
  """Asks all searchers, merges what they find, and says which did not answer in time."""
  config = run.config
  groups = [[each.strip() for each in group.split('|') if each.strip()] for group in config.searchers.split(',')]
  if not all(groups):
    raise UserError('--mode=root needs config.searchers=http://HOST:PORT,...: an address of each group of shards')
  wrong = next((each for group in groups for each in group if not each.startswith(('http://', 'https://'))), None)
  if wrong:
    raise UserError(f'config.searchers names {wrong!r}, which is no address: http://HOST:PORT')
  encoder = load_encoder(config.encoder.name, dtype=config.encoder.dtype, max_length=config.encoder.max_length)
  for length in (4, 16):  # compiles the shapes of short queries
    encoder.encode(['word ' * length], 'query')
  lock = asyncio.Lock()

  async def embed(query: str) -> np.ndarray:
    async with lock:
      return (await asyncio.to_thread(encoder.encode, [query], 'query'))[0]

  settings = from_mapping(RootConfig, config.root, 'root')
  run.print(f'{len(groups)} groups of shards, {sum(map(len, groups))} searchers')
  listen(run, config.host, config.port, create_root(groups, settings, embed=embed))


_WHERE = ('host', 'port')
MODES = {
  'search': contract.Mode(search, (*_WHERE, 'shards', 'groups', 'group')),
  'root': contract.Mode(root, (*_WHERE, 'searchers', 'encoder', 'root')),
}
SECTIONS: dict[str, sections.Section] = {
  '': sections.keys(host=Name, port=sections.Port, shards=Place, groups=sections.Positive, group=int, searchers=str),
  'encoder': sections.OfEncoder,
  'root': RootConfig,
}


def main(argv: Sequence[str] | None = None) -> int:
  uses_jax = lambda run: run.flags['mode'] == 'root'
  return contract.launch(
    'shard_search',
    MODES,
    'quickstart',
    uses_jax=uses_jax,
    sections=SECTIONS,
    classes=(('root', RootConfig),),
    argv=argv,
  )


if __name__ == '__main__':
  sys.exit(main())
