"""Many processes as one run: starting them, and agreeing on small things.

A run of several processes starts by itself under Slurm, Open MPI and on TPU pods; anywhere else it is told by flags
(coordinator, number of processes, own number). What the processes agree on beside the arrays - which checkpoint is
good, whether a save failed - goes through the key-value store of JAX's coordination service: no device is involved, so
that asking costs well under a millisecond and does not wait for steps that are still running.
"""

import collections
import json
import os
import socket
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from jax._src import cloud_tpu_init
from jax._src import distributed as jax_distributed  # the key-value client has no public name

from mlsd_jax.errors import UserError

AGREEMENT_TIMEOUT_SECONDS = 3600  # process 0 may be reading terabytes to verify a checkpoint

# How long a process that is leaving waits for the others. One that leaves by an error should not hold them up for long;
# those that leave by success meet at a barrier before.
SHUTDOWN_TIMEOUT_SECONDS = 30

_sequence: collections.Counter[str] = collections.Counter()  # a key of the store is written once, never again


class Launch(NamedTuple):
  """How a launcher started this process. On a TPU the numbers are None: jax asks the machine for them."""

  launcher: str
  num_processes: int | None
  process_id: int | None
  local_device_ids: list[int] | None  # the GPUs of the node that are this process's


def initialize(
  coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None, *, timeout: int = 300
) -> None:
  """Joins this process to its run; does nothing for a plain single process. Call it before anything asks for a device.

  Args:
    coordinator: 'HOST:PORT' of process 0. Under Slurm, Open MPI 4 and on TPUs it is found; Open MPI 5 finds it if
      mpi4py is installed.
    num_processes: how many there are. Found under Slurm, Open MPI and on TPUs.
    process_id: which of them this is, from 0. Found likewise.
    timeout: seconds to wait for the others to come up.

  Raises:
    UserError: flags that contradict themselves or do not suffice, or a coordinator that cannot be started.
  """
  if jax.distributed.is_initialized():
    return
  launch = launched_by(os.environ, on_tpu_vm=cloud_tpu_init.running_in_cloud_tpu_vm)
  if launch is not None:
    num_processes = launch.num_processes if num_processes is None else num_processes
    process_id = launch.process_id if process_id is None else process_id
  elif coordinator is None and num_processes is None and process_id is None:
    return
  _check_flags(coordinator, num_processes, process_id, launch)
  if num_processes == 1:
    return
  if coordinator is not None and process_id == 0:
    _check_port_is_free(coordinator)
  try:
    jax.distributed.initialize(
      coordinator,
      num_processes,
      process_id,
      local_device_ids=launch.local_device_ids if launch else None,
      # What is known needs no guess: jax would ask mpi4py under Open MPI 5, or Kubernetes' API, all the same.
      cluster_detection_method='deactivate' if coordinator and num_processes and process_id is not None else None,
      initialization_timeout=timeout,
      shutdown_timeout_seconds=SHUTDOWN_TIMEOUT_SECONDS,
    )
  except (ValueError, RuntimeError) as error:
    if 'before any JAX calls' in str(error):
      raise
    reason = ' '.join(str(error).split())[:300]
    raise UserError(
      f'process {process_id} of {num_processes} could not join the run at {coordinator or "its coordinator"}: '
      f'{reason}; give --coordinator=HOST:PORT, an address of process 0 with a free port that all processes can reach'
    ) from error


def launched_by(environ: Mapping[str, str], *, on_tpu_vm: bool = False) -> Launch | None:
  """The launcher that started this process as one of several, by its environment; None for a process on its own."""
  slurm = ('SLURM_JOB_ID', 'SLURM_STEP_NODELIST', 'SLURM_NTASKS', 'SLURM_PROCID', 'SLURM_LOCALID')
  if all(name in environ for name in slurm):  # SLURM_STEP_* is there only under srun, not in the batch script itself
    count = int(environ.get('SLURM_STEP_NUM_TASKS', environ['SLURM_NTASKS']))
    if count == 1:
      return None
    gpus = environ.get('SLURM_GPUS_ON_NODE', '')
    one_task_a_node = count == int(environ.get('SLURM_STEP_NUM_NODES', 0))
    devices = list(range(int(gpus))) if one_task_a_node and gpus.isdigit() else [int(environ['SLURM_LOCALID'])]
    return Launch('Slurm', count, int(environ['SLURM_PROCID']), _visible(devices, environ))
  if int(environ.get('OMPI_COMM_WORLD_SIZE', 1)) > 1:
    devices = [int(environ['OMPI_COMM_WORLD_LOCAL_RANK'])]
    count, index = int(environ['OMPI_COMM_WORLD_SIZE']), int(environ['OMPI_COMM_WORLD_RANK'])
    return Launch('Open MPI', count, index, _visible(devices, environ))
  if on_tpu_vm and not environ.get('JAX_PLATFORMS', '').startswith('cpu'):
    workers = environ.get('TPU_PROCESS_ADDRESSES') or environ.get('TPU_WORKER_HOSTNAMES')
    in_file = 'TPU_PROCESS_ADDRESSES_PATH' in environ
    several = in_file or ',' in (workers or '') or int(environ.get('MEGASCALE_NUM_SLICES') or 1) > 1
    outside_gke = workers is None and not in_file and 'TPU_SKIP_MDS_QUERY' not in environ
    if several or outside_gke:
      return Launch('TPU', None, None, None)
  return None


def is_main() -> bool:
  """Whether this process writes files and prints: process 0."""
  return jax.process_index() == 0


def barrier(name: str, timeout: float = AGREEMENT_TIMEOUT_SECONDS) -> None:
  """Waits until every process has come here. All must pass the same names in the same order.

  A run that ends well ends with one: a process that leaves earlier than the others is taken for one that failed.
  """
  if jax.distributed.is_initialized():
    _client().wait_at_barrier(_key(name), round(timeout * 1000))


def broadcast_json(name: str, value: Any, timeout: float = AGREEMENT_TIMEOUT_SECONDS) -> Any:
  """Process 0's `value` (of JSON types) on every process. All must call it, with the same names in the same order."""
  if jax.process_count() == 1:
    return value
  key = _key(name)
  if is_main():
    _client().key_value_set(key, json.dumps(value))
    return value
  return json.loads(_client().blocking_key_value_get(key, round(timeout * 1000)))


def gather_json(name: str, value: Any, timeout: float = AGREEMENT_TIMEOUT_SECONDS) -> list[Any]:
  """Every process's `value` (of JSON types), in the order of the processes, on every process."""
  if jax.process_count() == 1:
    return [value]
  key = _key(name)
  _client().key_value_set(f'{key}/{jax.process_index()}', json.dumps(value))
  deadline = time.monotonic() + timeout
  answers = []
  for process in range(jax.process_count()):
    remaining = max(1, round((deadline - time.monotonic()) * 1000))
    answers.append(json.loads(_client().blocking_key_value_get(f'{key}/{process}', remaining)))
  return answers


def _client() -> Any:
  return jax_distributed.global_state.client


def _key(name: str) -> str:
  _sequence[name] += 1
  return f'mlsd_jax/{name}/{_sequence[name]}'


def _check_flags(
  coordinator: str | None, num_processes: int | None, process_id: int | None, launch: Launch | None
) -> None:
  if launch is None:
    flags = {'--coordinator': coordinator, '--num_processes': num_processes, '--process_id': process_id}
    missing = [name for name, value in flags.items() if value is None]
    if missing:
      raise UserError(
        f'{" and ".join(missing)} missing: without Slurm, Open MPI or a TPU pod a run of several processes needs '
        '--coordinator=HOST:PORT, --num_processes=N and --process_id=0..N-1 together'
      )
  if coordinator is not None and not coordinator.rpartition(':')[2].isdigit():
    raise UserError(f'--coordinator={coordinator} has no port; write HOST:PORT, for example {coordinator}:1234')
  if coordinator is not None and not coordinator.rpartition(':')[0]:
    raise UserError(f'--coordinator={coordinator} has no host; write HOST:PORT, for example localhost{coordinator}')
  if num_processes is not None and num_processes < 1:
    raise UserError(f'--num_processes={num_processes} must be at least 1')
  if num_processes is not None and process_id is not None and not 0 <= process_id < num_processes:
    raise UserError(f'--process_id={process_id} must be from 0 to {num_processes - 1} with {num_processes} processes')


def _check_port_is_free(coordinator: str) -> None:
  """Raises UserError if process 0 cannot listen there. (jaxlib 0.12 crashes on a taken port, every other time.)"""
  family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
  with socket.socket(family) as probe:
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
      probe.bind(('', int(coordinator.rpartition(':')[2])))
    except (OSError, OverflowError) as error:
      reason = getattr(error, 'strerror', None) or error
      raise UserError(f'--coordinator={coordinator}: process 0 cannot listen on that port ({reason})') from error


def _visible(local_device_ids: list[int], environ: Mapping[str, str]) -> list[int]:
  """Device 0 where the launcher already hides all but this process's own GPU (srun --gpus-per-task)."""
  hidden = environ.get('CUDA_VISIBLE_DEVICES')
  return [0] if hidden and ',' not in hidden else local_device_ids
