"""What the machine is: compiler flags chosen before the backend starts, the compile cache, peak speeds for MFU."""

import os
import pathlib

import jax


def cache_folder() -> pathlib.Path:
  """$MLSD_CACHE_DIR, else ~/.cache/mlsd_jax."""
  return pathlib.Path(os.environ.get('MLSD_CACHE_DIR') or pathlib.Path.home() / '.cache' / 'mlsd_jax')


def configure_backend() -> None:
  """Sets the compile cache. To be called before JAX touches a device."""
  jax.config.update('jax_compilation_cache_dir', str(cache_folder() / 'jax'))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
  jax.config.update('jax_persistent_cache_min_entry_size_bytes', -1)


def peak_flops(device: jax.Device) -> float | None:
  """Peak dense bfloat16 FLOP/s of a device, or None where it is not known."""
  del device
  return None
