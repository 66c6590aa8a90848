import json
import socket

import jax
import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.training import distributed
from mlsd_jax.training.distributed import Launch, launched_by

SLURM = {
  'SLURM_JOB_ID': '17',
  'SLURM_STEP_NODELIST': 'node[01-02]',
  'SLURM_NTASKS': '16',
  'SLURM_STEP_NUM_TASKS': '16',
  'SLURM_STEP_NUM_NODES': '2',
  'SLURM_PROCID': '11',
  'SLURM_LOCALID': '3',
  'SLURM_GPUS_ON_NODE': '8',
}
OPEN_MPI = {'OMPI_COMM_WORLD_SIZE': '4', 'OMPI_COMM_WORLD_RANK': '2', 'OMPI_COMM_WORLD_LOCAL_RANK': '0'}


@pytest.mark.parametrize(
  ('environ', 'expected'),
  [
    ({}, None),
    (SLURM, Launch('Slurm', 16, 11, [3])),
    # One task a node takes all its GPUs; jax alone would take the first.
    (SLURM | {'SLURM_STEP_NUM_TASKS': '2', 'SLURM_PROCID': '1', 'SLURM_LOCALID': '0'},
     Launch('Slurm', 2, 1, list(range(8)))),
    (SLURM | {'CUDA_VISIBLE_DEVICES': '3'}, Launch('Slurm', 16, 11, [0])),
    (SLURM | {'CUDA_VISIBLE_DEVICES': '0,1,2,3,4,5,6,7'}, Launch('Slurm', 16, 11, [3])),
    # An interactive shell, and the batch script itself, are one process whatever the allocation holds.
    (SLURM | {'SLURM_STEP_NUM_TASKS': '1', 'SLURM_PROCID': '0'}, None),
    ({name: value for name, value in SLURM.items() if 'STEP' not in name}, None),
    (OPEN_MPI, Launch('Open MPI', 4, 2, [0])),
    (OPEN_MPI | {'OMPI_COMM_WORLD_SIZE': '1'}, None),
    ({'TPU_WORKER_HOSTNAMES': 'a,b', 'TPU_WORKER_ID': '1'}, None),  # no TPU in this machine
  ],
)  # fmt: skip
def test_launchers_are_recognised_by_their_environment(environ, expected):
  assert launched_by(environ) == expected


@pytest.mark.parametrize(
  ('environ', 'several'),
  [
    ({'TPU_WORKER_HOSTNAMES': 'a,b', 'TPU_WORKER_ID': '1'}, True),
    ({'TPU_WORKER_HOSTNAMES': 'localhost', 'TPU_WORKER_ID': '0'}, False),
    ({'TPU_WORKER_HOSTNAMES': 'a', 'MEGASCALE_NUM_SLICES': '2'}, True),
    ({'TPU_PROCESS_ADDRESSES_PATH': '/etc/tpu'}, True),
    ({}, True),  # a TPU VM outside GKE: the machine's metadata knows
    ({'TPU_SKIP_MDS_QUERY': '1'}, False),
    ({'TPU_WORKER_HOSTNAMES': 'a,b', 'JAX_PLATFORMS': 'cpu'}, False),
  ],
)
def test_tpu_pods_are_recognised(environ, several):
  assert (launched_by(environ, on_tpu_vm=True) is not None) == several


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    (('localhost:1234', None, None), '--num_processes and --process_id missing'),
    ((None, 2, 0), '--coordinator missing'),
    (('localhost:1234', 2, None), '--process_id missing'),
    (('localhost', 2, 0), 'has no port'),
    ((':1234', 2, 0), 'has no host'),
    (('localhost:1234', 2, 2), '--process_id=2 must be from 0 to 1'),
    (('localhost:1234', 2, -1), '--process_id=-1 must be from 0 to 1'),
    (('localhost:1234', 0, 0), '--num_processes=0 must be at least 1'),
  ],
)
def test_wrong_flags_are_one_line(flags, message, monkeypatch):
  for name in [*SLURM, *OPEN_MPI]:
    monkeypatch.delenv(name, raising=False)
  with pytest.raises(UserError, match=message) as caught:
    distributed.initialize(*flags)
  assert '\n' not in str(caught.value)


def test_a_plain_process_needs_nothing():
  distributed.initialize()
  distributed.initialize('localhost:1', 1, 0)
  assert not jax.distributed.is_initialized()
  assert distributed.is_main()
  distributed.barrier('alone')
  assert distributed.broadcast_json('alone', {'x': 1}) == {'x': 1}
  assert distributed.gather_json('alone', 3) == [3]


AGREE = """
import json
import jax
answers = [distributed.broadcast_json('name', {'from': index, 'round': i}) for i in range(3)]
gathered = [distributed.gather_json('all', [int(index), i]) for i in range(2)]
distributed.barrier('end')
distributed.initialize('localhost:1', 2, 0)  # once is enough
print(json.dumps([jax.process_count(), len(jax.devices()), distributed.is_main(), answers, gathered]))
"""


def test_two_processes_agree(run_processes):
  outputs = [json.loads(output) for output in run_processes(AGREE)]
  for index, (processes, devices, main, answers, gathered) in enumerate(outputs):
    assert (processes, devices, main) == (2, 8, index == 0)
    assert answers == [{'from': '0', 'round': i} for i in range(3)]
    assert gathered == [[[0, i], [1, i]] for i in range(2)]


def test_a_taken_port_is_one_line():
  with socket.socket(socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET) as taken:
    taken.bind(('', 0))
    taken.listen()
    with pytest.raises(UserError, match=r'process 0 cannot listen on that port \(Address already in use\)'):
      distributed.initialize(f'localhost:{taken.getsockname()[1]}', 2, 0)
  with pytest.raises(UserError, match='process 0 cannot listen on that port'):
    distributed.initialize('localhost:99999', 2, 0)
