"""The keys of what is computed in parts: `executor` says where, `cluster` with how many workers and what for each."""

import dataclasses
from typing import Any

from mlsd_jax.executor import ExecutorConfig


def executor_section() -> dict[str, Any]:
  """`executor` and `cluster` with their defaults, of which experiments.sections.read_executor makes one."""
  values = dataclasses.asdict(ExecutorConfig())
  return {'executor': values.pop('kind'), 'cluster': values}
