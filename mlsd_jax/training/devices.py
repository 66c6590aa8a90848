"""What the machine is: settings chosen before the backend starts, the compile cache, peak speeds for MFU."""

import os
import re
import warnings

import jax

from mlsd_jax.folders import cache_folder
from mlsd_jax.training import compiler_flags

# Dense bfloat16 (V100 and T4: float16) FLOP/s from the makers' data sheets, without sparsity. The first name found in
# device_kind counts, so longer names come first.
PEAK_FLOPS = {
  'H100 PCIe': 756e12,
  'H100 NVL': 835e12,
  'H100': 989e12,
  'H200': 989e12,
  'GH200': 989e12,
  'A100': 312e12,
  'V100': 125e12,
  'L4': 121e12,
  'T4': 65e12,
  'RTX 4090': 165e12,
  'TPU v6': 918e12,
  'TPU v5p': 459e12,
  'TPU v5 lite': 197e12,
  'TPU v5e': 197e12,
  'TPU v5': 459e12,
  'TPU v4 lite': 138e12,
  'TPU v4': 275e12,
}

_THREADS = 4  # of a simulated device


def configure_backend(*, bfloat16: bool = False) -> None:
  """Compiler flags and compile cache. To be called before JAX touches a device.

  Args:
    bfloat16: whether the program computes in it, which on a CPU needs oneDNN. Programs with oneDNN calls cannot be
      kept in the compile cache (jaxlib 0.12), so float32 ones do without.

  Flags that XLA_FLAGS and LIBTPU_INIT_ARGS already name are left as the user set them (compiler_flags.py).
  """
  compiler_flags.set_flags(bfloat16=bfloat16)
  if bfloat16:
    warnings.filterwarnings('ignore', 'Error writing persistent compilation cache entry', UserWarning)
  simulated = int(os.environ.get('JAX_NUM_CPU_DEVICES') or 1)
  if simulated > 1:
    # XLA has as many threads as devices, and in a collective each waits for the others: two collectives that do not
    # hang on each other could block all of them. It takes the number of threads from NPROC.
    os.environ.setdefault('NPROC', str(_THREADS * simulated))
  jax.config.update('jax_compilation_cache_dir', str(cache_folder() / 'jax'))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
  jax.config.update('jax_persistent_cache_min_entry_size_bytes', -1)


def peak_flops(device: jax.Device) -> float | None:
  """Peak dense bfloat16 FLOP/s of a device, or None where it is not known (a CPU, say)."""
  # Whole words only: an L40S is no L4.
  named = (peak for name, peak in PEAK_FLOPS.items() if re.search(rf'\b{name}\b', device.device_kind))
  return next(named, None)
