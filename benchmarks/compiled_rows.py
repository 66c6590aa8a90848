"""What is compiled for which machine: every config that trains, in each form of the step, on each mesh; what serves."""

from collections.abc import Iterator
from typing import NamedTuple


class Row(NamedTuple):
  """A config as it is to be compiled: flags of its experiment beside the config's own values."""

  name: str
  experiment: str
  hardware: str
  flags: tuple[str, ...] = ()


GPUS, TPUS = '8xh100', 'v5e:4x4'
_OF_ONE_PROCESS = {GPUS: GPUS, TPUS: 'v5e:2x2'}  # pmap has the devices of one
_MESHES = {
  'data': {'data': -1, 'fsdp': 1, 'tensor': 1},
  'fsdp': {'data': 1, 'fsdp': -1, 'tensor': 1},
  'fsdp x tensor 2': {'data': 1, 'fsdp': -1, 'tensor': 2},
}
_TWO_LAYERS = '--config.model.num_layers=2'
_ARTICLES, _CUSTOMERS = 105_542, 1_371_980  # of H&M


def list_rows() -> Iterator[Row]:
  """Every row of the page, those first that take the least time."""
  yield from _other_systems()
  yield from _forms('gpt2_124m')
  yield from _forms('modern_124m')
  yield from _small_configs()
  yield from _serving()
  yield from _whole()


def _forms(config: str) -> Iterator[Row]:
  """Two layers at their real width in every form of the step on every mesh."""
  for hardware in (GPUS, TPUS):
    for mesh in _MESHES:
      for step in ('jit', 'shard_map'):
        flags = _TWO_LAYERS, f'--config.train.step={step}', *_mesh_flags(mesh)
        yield _gpt2(config, hardware, f'2 layers, {step}, {mesh}', *flags)
    flags = _TWO_LAYERS, '--config.train.step=pmap', '--config.model.attention=xla', *_mesh_flags('data')
    yield _gpt2(config, _OF_ONE_PROCESS[hardware], '2 layers, pmap, data', *flags)


def _small_configs() -> Iterator[Row]:
  """The other configs of gpt2: two layers of the large ones, the small ones as they are, on their own mesh."""
  for hardware in (GPUS, TPUS):
    for config in ('gpt2_medium', 'gpt2_large'):
      yield _gpt2(config, hardware, '2 layers', _TWO_LAYERS)
    for config in ('quickstart', 'speedrun', 'shakespeare_char', 'modern_cpu'):
      flags = f'--config=configs/gpt2/{config}.py', '--program=train'
      yield Row(config, 'gpt2', hardware, flags)


def _whole() -> Iterator[Row]:
  """Configs as they are, of them those that the files of docs/how-to/cluster start: 32 and 16 GPUs, 16 chips."""
  for hardware in (GPUS, '32xh100', '16xh100', TPUS, 'v6e:4x4'):
    yield _gpt2('gpt2_124m', hardware, 'whole')
  for hardware in (GPUS, TPUS):
    yield _gpt2('modern_124m', hardware, 'whole')
  for hardware in (GPUS, TPUS, 'v6e:4x4'):
    yield _gpt2('gpt2_xl', hardware, 'whole')
  yield _gpt2('gpt2_xl', GPUS, '64 rows a GPU at once', '--config.train.accumulation=1')
  of_hosts = '--config.train.mesh.data=8', '--config.train.mesh.fsdp=8', '--config.train.accumulation=1'
  yield _gpt2('gpt2_xl', '64xh100', 'fsdp within a host', *of_hosts)
  of_lines = '--config.train.mesh.data=4', '--config.train.mesh.fsdp=4'
  yield _gpt2('gpt2_xl', TPUS, 'fsdp along a line of chips', *of_lines)
  for hardware, rows in ((GPUS, 128), (TPUS, 128)):
    long = '--config.model.context_length=4096', f'--config.train.batch_size={rows}', '--config.model.loss_chunks=32'
    yield _gpt2('gpt2_xl', hardware, '4,096 tokens', *long)


def _serving() -> Iterator[Row]:
  for config in ('gpt2_124m', 'modern_124m'):
    for hardware in ('1xh100', 'v5e:2x4'):
      for program in ('prefill', 'decode'):
        flags = f'--config=configs/gpt2/{config}.py', _TWO_LAYERS, f'--program={program}'
        yield Row(f'{config}, 2 layers, {program}', 'gpt2', hardware, flags)


def _other_systems() -> Iterator[Row]:
  for hardware in (GPUS, TPUS):
    for mesh in _MESHES:
      yield _recommender(hardware, mesh, 'jit')
    yield _recommender(hardware, 'fsdp', 'shard_map')
    yield Row('makemore', 'makemore', hardware)
    yield Row('mingpt', 'mingpt', hardware)
    yield Row('mingpt, fsdp, shard_map', 'mingpt', hardware, _train_flags('fsdp', 'shard_map'))
    for kind in ('contrastive', 'cross_encoder', 'masked_lm'):
      # 16 rows in two microbatches do not go over 16 chips.
      rows = ('--config.train.batch_size=64',) if hardware == TPUS and kind != 'contrastive' else ()
      config = f'--config=configs/encoder/{kind}.py', '--program=train', *rows
      yield Row(f'encoder, {kind}, data', 'encoder', hardware, config)
      yield Row(f'encoder, {kind}, fsdp', 'encoder', hardware, (*config, *_train_flags('fsdp', 'jit')))
    for mesh, step in (('fsdp', 'shard_map'), ('fsdp x tensor 2', 'jit'), ('fsdp x tensor 2', 'shard_map')):
      config = '--config=configs/encoder/contrastive.py', '--program=train'
      yield Row(f'encoder, contrastive, {mesh}, {step}', 'encoder', hardware, (*config, *_train_flags(mesh, step)))
    yield Row('encoder, embedding', 'encoder', hardware, ('--program=embedding',))


def _recommender(hardware: str, mesh: str, step: str) -> Row:
  sizes = f'--num_items={_ARTICLES}', f'--num_users={_CUSTOMERS}'
  flags = [flag for part in ('tower', 'ranker') for flag in _train_flags(mesh, step, part)]
  padded = [f'--config.{part}.model.rows_multiple=128' for part in ('tower', 'ranker')]
  config = '--config=configs/recsys/hm.py'
  return Row(f'recsys, H&M, {mesh}, {step}', 'recsys', hardware, (config, *sizes, *flags, *padded))


def _gpt2(config: str, hardware: str, what: str, *flags: str) -> Row:
  kernel = () if any('attention=' in flag for flag in flags) else (f'--config.model.attention={_kernel(hardware)}',)
  return Row(
    f'{config}, {what}', 'gpt2', hardware, (f'--config=configs/gpt2/{config}.py', *kernel, '--program=train', *flags)
  )


def _kernel(hardware: str) -> str:
  return 'cudnn' if hardware[0].isdigit() else 'splash'


def _train_flags(mesh: str, step: str, part: str = '') -> tuple[str, ...]:
  section = f'{part}.train' if part else 'train'
  return (*_mesh_flags(mesh, section), f'--config.{section}.step={step}')


def _mesh_flags(mesh: str, section: str = 'train') -> tuple[str, ...]:
  return tuple(f'--config.{section}.mesh.{axis}={size}' for axis, size in _MESHES[mesh].items())
