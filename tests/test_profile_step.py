"""The profile of a step: shares add up to the time, and operations are found in the program by their names."""

import importlib
import pathlib
import sys

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax.compilation.hlo import Module

BENCHMARKS = pathlib.Path(__file__).resolve().parent.parent / 'benchmarks'


@pytest.fixture(scope='module')
def parts():
  """benchmarks/timeline.py and benchmarks/step_classes.py."""
  before = list(sys.path)
  sys.path.insert(0, str(BENCHMARKS))
  modules = importlib.import_module('timeline'), importlib.import_module('step_classes')
  sys.path[:] = before
  return modules


TIMES = st.integers(0, 10**9)


@given(st.lists(st.tuples(st.sampled_from('abc'), TIMES, TIMES), min_size=1, max_size=12))
def test_shares_add_up_to_the_time(parts, drawn):
  timeline = parts[0]
  spans = [timeline.Span(name, min(times), max(times)) for name, *times in drawn]
  shares = timeline.share_out(spans)
  whole = max(span.end for span in spans) - min(span.begin for span in spans)
  assert sum(shares.values()) == pytest.approx(whole / 1e9, abs=1e-12)
  assert all(
    seconds <= sum(span.end - span.begin for span in spans if span.name == name) / 1e9 + 1e-12
    for name, seconds in shares.items()
    if name != timeline.NOTHING
  )


def test_what_runs_side_by_side_shares_the_time(parts):
  timeline = parts[0]
  spans = [timeline.Span('a', 0, 4e9), timeline.Span('b', 2e9, 4e9), timeline.Span('c', 5e9, 6e9)]
  loop = timeline.Span('loop', 0, 6e9)
  assert timeline.share_out([*spans, loop], skip=['loop']) == {'a': 3.0, 'b': 1.0, timeline.NOTHING: 1.0, 'c': 1.0}


def test_a_traced_program_is_told_by_operation(parts, tmp_path):
  timeline, classes = parts

  class LayerNorm:
    def __call__(self, x):
      return x - x.mean(-1, keepdims=True)

  @jax.jit
  def call(x, w):
    return jax.lax.fori_loop(0, 3, lambda i, x: LayerNorm()(jnp.tanh(x @ w.T)), x)

  x, w = jnp.ones((96, 64)), jnp.ones((64, 64))
  compiled = call.lower(x, w).compile()
  jax.block_until_ready(compiled(x, w))
  with jax.profiler.trace(str(tmp_path)):
    jax.block_until_ready(compiled(x, w))
  spans = timeline.read_spans(tmp_path)
  module = Module(compiled.as_text())
  runs = {run.instruction.name: run for run in module.runs()}
  assert spans
  assert {span.name for span in spans} <= set(runs)
  ran = {name: run for name, run in runs.items() if name in {span.name for span in spans}}
  products = {name: classes.find_product(module, run) for name, run in ran.items()}
  (product,) = [product for product in products.values() if product]
  assert (product.batch, product.rows, product.inner, product.columns) == (1, 96, 64, 64)
  assert product.flops == 2 * 96 * 64 * 64
  times = timeline.times_run(spans)
  assert [times[name] for name, found in products.items() if found] == [3]
  assert 'norms' in {classes.name_class(module, run) for run in ran.values()}
