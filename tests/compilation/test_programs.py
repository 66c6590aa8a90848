"""What is read out of compiled programs is what was written into them."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from mlsd_jax.compilation import compile_program, count, describe, find_collectives, open_hardware
from mlsd_jax.compilation.flops import count_flops
from mlsd_jax.compilation.hlo import Module, parse_shapes
from mlsd_jax.compilation.program import Program
from mlsd_jax.errors import UserError
from mlsd_jax.training import sharding

ROWS, WIDTH, ROUNDS = 32, 256, 5


def lower(mesh):
  """Five rounds of a product whose rows lie over data and fsdp, summed over tensor and then over all."""

  def device(x, w):
    def round_(x, _):
      return jnp.tanh(jax.lax.psum(x @ w, 'tensor')), None

    x = jax.lax.scan(round_, x, length=ROUNDS)[0]
    return jax.lax.psum(x.sum(), ('data', 'fsdp')) + jax.lax.all_gather(w, 'fsdp').sum()

  run = jax.shard_map(
    device, mesh=mesh, in_specs=(P(('data', 'fsdp'), None), P(None, None)), out_specs=P(), check_vma=False
  )
  place = lambda shape, spec: jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(mesh, spec))
  return jax.jit(run).lower(place((ROWS, WIDTH), P(('data', 'fsdp'))), place((WIDTH, WIDTH), P()))


@pytest.fixture(scope='module')
def report():
  return compile_program(Program('rounds', {'data': 2, 'fsdp': 2, 'tensor': 2}, lower), open_hardware('8xcpu'))


def test_flops_count_the_rounds_of_a_loop(report):
  assert report.flops == ROUNDS * 2 * ROWS / 4 * WIDTH * WIDTH


def test_collectives_have_their_axes_bytes_and_rounds(report):
  found = {(each.kind, each.axes): each for each in report.collectives}
  assert count(report.collectives)['all-reduce', ('tensor',)] == 1
  in_loop = found['all-reduce', ('tensor',)]
  assert (in_loop.times, in_loop.in_loop, in_loop.bytes) == (ROUNDS, True, ROWS // 4 * WIDTH * 4)
  gather = found['all-gather', ('fsdp',)]
  assert (gather.times, gather.in_loop, gather.bytes) == (1, False, 2 * WIDTH * WIDTH * 4)
  assert ('all-reduce', ('data', 'fsdp')) in found


def test_bytes_and_the_peak_of_temporaries(report):
  assert report.fits
  assert report.arguments == (ROWS // 4 * WIDTH + WIDTH * WIDTH) * 4
  assert 0.5 * report.temporaries < report.peak < 1.5 * report.temporaries
  text = describe(report)
  assert 'mesh data=2 x fsdp=2 x tensor=2' in text
  assert '5 x all-reduce' in text


@pytest.mark.parametrize(
  ('name', 'says'),
  [
    ('9xh100', '9 is not a multiple of the 8 GPUs of a host'),
    ('8xq9', 'names no machine; known are'),
    ('v5e', 'a TPU is named with its topology, such as v5e:4x4'),
    ('h100:2x2', 'h100 is a GPU, of which there is a number, such as 8xh100; a topology, such as v5e:4x4, is of a TPU'),
    ('99999999999999999999xh100', 'programs are compiled for at most 65,536 devices'),
    ('v5e:99999x99999', 'programs are compiled for at most 65,536 devices'),
    ('9' * 5000 + 'xcpu', 'programs are compiled for at most 65,536 devices'),
    ('0xh100', 'names no machine; known are'),
    ('v9:2x2', 'names no machine; known are'),
    ('16xcpu', 'JAX_NUM_CPU_DEVICES=16'),
  ],
)
def test_a_machine_that_is_none_is_refused_in_one_line(name, says):
  with pytest.raises(UserError, match=says):
    open_hardware(name)


@pytest.mark.parametrize(
  ('name', 'chips'), [('v4:2x2x1', 4), ('v5e:2x4', 8), ('v5e:4x8', 32), ('v5p:2x2x2', 8), ('v6e:4x4', 16)]
)
def test_each_chip_of_a_tpu_slice_is_a_device_of_any_mesh(name, chips):
  pytest.importorskip('libtpu', reason="the TPU's compiler is not installed; uv run --with 'jax[tpu]' brings it")
  devices = open_hardware(name).devices
  assert len(devices) == chips
  for shape in ({'fsdp': -1}, {'fsdp': -1, 'tensor': 2}, {'data': 2, 'fsdp': -1}):
    assert {*sharding.make_mesh(shape, devices).devices.flat} == {*devices}


def test_a_compiler_that_is_not_installed_is_named(monkeypatch):
  for name, module, command in (('8xh100', 'jax_plugins.xla_cuda13', 'cuda13'), ('v5e:2x2', 'libtpu', 'tpu')):
    monkeypatch.setitem(__import__('sys').modules, module, None)
    with pytest.raises(UserError, match=rf"uv run --with 'jax\[{command}\]' python -m experiments.gpt2"):
      open_hardware(name, 'python -m experiments.gpt2')


def test_tiles_pad_and_fast_memory_costs_nothing():
  [plain] = parse_shapes('bf16[3,5]{1,0}')
  [tiled] = parse_shapes('bf16[3,5]{1,0:T(8,128)(2,1)}')
  [fast] = parse_shapes('f32[8,128]{1,0:T(8,128)S(1)}')
  assert (plain.bytes, tiled.bytes, tiled.plain_bytes, fast.bytes) == (30, 8 * 128 * 2, 30, 0)
  assert [shape.dims for shape in parse_shapes('(f32[2]{0}, (s32[], pred[4,1]{1,0}))')] == [(2,), (), (4, 1)]


def test_products_that_a_tpu_writes_as_convolutions():
  """Of [8, 32, 64] x [8, 64, 16]: the batch is a spatial dimension of which each output meets one place."""
  text = """HloModule x

ENTRY %main (a: bf16[8,32,64], b: bf16[8,64,16]) -> bf16[8,32,16] {
  %a = bf16[8,32,64]{2,1,0} parameter(0)
  %b = bf16[8,64,16]{2,1,0} parameter(1), frontend_attributes={kernel_metadata={
"note":"{}"
}}
  %c = bf16[64,64]{1,0} parameter(2)
  %d = bf16[64,64]{1,0} convolution(%c, %c), dim_labels=bf_io->bf
  ROOT %e = bf16[8,32,16]{2,1,0} convolution(%a, %b), window={size=8 stride=7 lhs_dilate=8}, dim_labels=0bf_0io->0bf
}
"""
  assert count_flops(Module(text)) == (2.0 * (64**3 + 8 * 32 * 64 * 16), {})


def test_a_failure_to_compile_is_an_answer():
  def fails(mesh):
    raise NotImplementedError('Mosaic kernels cannot be\nautomatically partitioned')

  report = compile_program(Program('x', {'data': 8}, fails), open_hardware('8xcpu'))
  assert not report.fits
  assert report.failure == 'NotImplementedError: Mosaic kernels cannot be automatically partitioned'


def test_sources_are_lines_of_the_library():
  text = jax.jit(jax.grad(lambda x: jnp.tanh(x).sum())).lower(jnp.ones((64, 64))).compile().as_text()
  module = Module(text)
  found = {module.source(run.instruction, 'tests/') for run in module.runs()}
  assert any(source.startswith('compilation/test_programs.py') for source in found), found


def test_an_exchange_overlaps_where_products_run_before_its_end():
  text = """HloModule x

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %c = f32[] add(%a, %b)
}

%product (p: f32[64,64]) -> f32[64,64] {
  %p = f32[64,64]{1,0} parameter(0)
  ROOT %d = f32[64,64]{1,0} dot(%p, %p), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

ENTRY %main (x: f32[64,64], y: f32[64,64]) -> f32[64,64] {
  %x = f32[64,64]{1,0} parameter(0)
  %y = f32[64,64]{1,0} parameter(1)
  %first = f32[64,64]{1,0} all-reduce-start(%x), replica_groups=[1,8]<=[8], to_apply=%add
  %fusion = f32[64,64]{1,0} fusion(%y), kind=kOutput, calls=%product
  %first_end = f32[64,64]{1,0} all-reduce-done(%first)
  %second = f32[64,64]{1,0} all-reduce-start(%fusion), replica_groups=[1,8]<=[8], to_apply=%add
  %sum = f32[64,64]{1,0} add(%first_end, %y)
  %second_end = f32[64,64]{1,0} all-reduce-done(%second)
  ROOT %last = f32[64,64]{1,0} add(%second_end, %sum)
}
"""
  mesh = sharding.make_mesh({'data': 8})
  assert [(each.bytes, each.overlaps) for each in find_collectives(Module(text), mesh)] == [
    (16384, True),
    (16384, False),
  ]
