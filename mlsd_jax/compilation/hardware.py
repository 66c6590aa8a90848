"""Machines that are not here: their devices for the compiler alone, by a name such as 8xh100 or v5e:4x4.

XLA compiles for devices that it is told of. For a TPU it asks libtpu for the topology; for a GPU the CUDA plugin takes
a description of the chip, which is written from `GPUS`. No driver and no accelerator is needed for either.
"""

import dataclasses
import importlib
import os
import re
from collections.abc import Sequence

import jax
from jax.experimental import topologies

from mlsd_jax.compilation.device_count import count_devices
from mlsd_jax.errors import UserError

GIB = 2**30
GPUS_A_HOST = 8
MOST_DEVICES = 65_536
# The share of a GPU's memory that JAX takes for itself unless XLA_PYTHON_CLIENT_MEM_FRACTION says otherwise.
GPU_SHARE = 0.75


@dataclasses.dataclass(frozen=True)
class GPU:
  """What XLA has to know of a GPU. Numbers as in openxla/xla, xla/backends/gpu/target_config/specs."""

  name: str
  compute_capability: tuple[int, int]
  cores: int
  fpus_per_core: int
  shared_memory_per_core: int  # bytes
  shared_memory_per_block: int  # bytes, at most
  memory: int  # bytes
  memory_bandwidth: int  # bytes / s
  l2_cache: int  # bytes
  clock_ghz: float

  def target_config(self) -> str:
    """XLA's GpuTargetConfigProto as text."""
    major, minor = self.compute_capability
    return f"""
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: {self.shared_memory_per_core}
  threads_per_core_limit: 2048
  core_count: {self.cores}
  fpus_per_core: {self.fpus_per_core}
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {self.memory_bandwidth}
  l2_cache_size: {self.l2_cache}
  clock_rate_ghz: {self.clock_ghz}
  device_memory_size: {self.memory}
  shared_memory_per_block_optin: {self.shared_memory_per_block}
  cuda_compute_capability {{ major: {major} minor: {minor} }}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 }}
device_description_str: "{self.name}"
"""


GPUS = {
  'a100': GPU(
    *('NVIDIA A100-SXM4-80GB', (8, 0), 108, 64, 167_936, 166_912),
    *(85_100_068_864, 2_039_040_000_000, 41_943_040, 1.41),
  ),
  'h100': GPU(
    *('NVIDIA H100 80GB HBM3', (9, 0), 132, 128, 233_472, 232_448),
    *(84_942_979_072, 3_352_320_000_000, 52_428_800, 1.98),
  ),
  'h200': GPU(
    *('NVIDIA H200 141GB HBM3e', (9, 0), 132, 128, 233_472, 232_448),
    *(151_397_597_184, 4_800_000_000_000, 52_428_800, 1.98),
  ),
  'b200': GPU(
    *('NVIDIA B200', (10, 0), 148, 128, 233_472, 232_448),
    *(191_514_411_008, 7_672_320_000_000, 132_644_864, 1.965),
  ),
}
# High-bandwidth memory of a chip in GiB, from Google's system architecture pages (cloud.google.com/tpu/docs).
TPUS = {'v4': 32.0, 'v5e': 16.0, 'v5p': 95.0, 'v6e': 32.0}
# A chip of a v4 is one device, its two cores together, as a machine has it; libtpu would describe two.
_TPU_OPTIONS = {'v4': {'chip_config_name': 'megacore'}}
NAMES = (
  f'N x {", ".join(GPUS)} (8xh100, 64xh200: hosts of {GPUS_A_HOST}), or a TPU topology of '
  f'{", ".join(TPUS)} (v5e:4x4, v5p:2x2x2)'
)


@dataclasses.dataclass(frozen=True)
class Hardware:
  """A machine to compile for.

  Attributes:
    name: as it was asked for.
    platform: 'cuda', 'tpu' or 'cpu'.
    chip: name of a device.
    devices: that know how to be compiled for, and nothing else.
    memory: bytes of a device.
    usable: bytes of it that a program can have.
  """

  name: str
  platform: str
  chip: str
  devices: Sequence[jax.Device]
  memory: int
  usable: int


def open_hardware(name: str, program: str = 'python -m experiments.NAME') -> Hardware:
  """The machine of a name.

  Args:
    name: 'NxGPU', 'TPU:TOPOLOGY', or 'Nxcpu' for simulated devices of this machine.
    program: for the command that a message proposes.

  Raises:
    UserError: a name that says nothing, a topology that does not exist, a compiler that is not installed.
  """
  text = name.strip().lower()
  if match := re.fullmatch(r'(?:(\d+)x)?([a-z]\w*)', text):
    chip, count = match[2], _count(name, [match[1] or '1'])
    if chip == 'cpu' and count:
      return _open_cpu(name, count)
    if chip in GPUS and count:
      return _open_gpu(name, count, chip, program)
    if chip in TPUS:
      raise UserError(f'--hardware={name}: a TPU is named with its topology, such as v5e:4x4 or v5p:2x2x2')
  elif match := re.fullmatch(r'(\w+):(\d+(?:x\d+)+)', text):
    if match[1] in TPUS:
      _count(name, match[2].split('x'))
      return _open_tpu(name, text, match[1], program)
    if match[1] in GPUS:
      raise UserError(
        f'--hardware={name}: {match[1]} is a GPU, of which there is a number, such as 8x{match[1]}; a topology, such '
        f'as v5e:4x4, is of a TPU: {", ".join(TPUS)}'
      )
  raise UserError(f'--hardware={name} names no machine; known are {NAMES}')


def _count(name: str, sides: Sequence[str]) -> int:
  return count_devices(name, sides, MOST_DEVICES, 'programs are compiled')


def _open_gpu(name: str, count: int, chip: str, program: str) -> Hardware:
  if count > GPUS_A_HOST and count % GPUS_A_HOST:
    raise UserError(f'--hardware={name}: {count} is not a multiple of the {GPUS_A_HOST} GPUs of a host')
  try:
    plugin = importlib.import_module('jax_plugins.xla_cuda13')
  except ImportError as error:
    raise UserError(
      f"--hardware={name} requires JAX's CUDA plugin, which compiles without a GPU too: "
      f"uv run --with 'jax[cuda13]' {program} --mode=compile --hardware={name}"
    ) from error
  if plugin._get_library_path() is None:
    raise UserError(f"--hardware={name}: the CUDA plugin is damaged; uv run --with 'jax[cuda13]' {program} brings it")
  gpu, hosts = GPUS[chip], max(1, count // GPUS_A_HOST)
  topology = topologies.get_topology_desc(
    '', platform='cuda', target_config=gpu.target_config(), topology=f'1x{hosts}x{count // hosts}'
  )
  share = float(os.environ.get('XLA_PYTHON_CLIENT_MEM_FRACTION', GPU_SHARE))
  return Hardware(name, 'cuda', gpu.name, topology.devices, gpu.memory, int(share * gpu.memory))


def _open_tpu(name: str, topology: str, chip: str, program: str) -> Hardware:
  os.environ.setdefault('TPU_SKIP_MDS_QUERY', '1')  # there is no machine whose metadata could be asked for
  os.environ.setdefault('TPU_WORKER_HOSTNAMES', 'localhost')
  os.environ.setdefault('TPU_ACCELERATOR_TYPE', 'v5litepod-1')  # else it warns that it does not know where it is
  try:
    importlib.import_module('libtpu')
  except ImportError as error:
    raise UserError(
      f"--hardware={name} requires libtpu, the TPU's compiler, which runs without a TPU too: "
      f"uv run --with 'jax[tpu]' {program} --mode=compile --hardware={name}"
    ) from error
  try:
    devices = topologies.get_topology_desc(platform='tpu', topology_name=topology, **_TPU_OPTIONS.get(chip, {})).devices
  except jax.errors.JaxRuntimeError as error:
    raise UserError(f'--hardware={name}: {" ".join(str(error).split())}') from error
  memory = int(TPUS[chip] * GIB)
  # The runtime keeps a part for itself; the compiler refuses what does not fit into the rest, and says so.
  kind: str = devices[0].device_kind  # type: ignore[attr-defined]
  return Hardware(name, 'tpu', kind, devices, memory, memory)


def _open_cpu(name: str, count: int) -> Hardware:
  """Simulated devices of this machine: what the mesh makes of a program can be seen without any plugin."""
  devices = jax.devices('cpu')
  if len(devices) != count:
    raise UserError(
      f'--hardware={name}: this process has {len(devices)} CPU devices; start it with JAX_NUM_CPU_DEVICES={count}'
    )
  memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') // count
  return Hardware(name, 'cpu', 'simulated', devices, memory, memory)
