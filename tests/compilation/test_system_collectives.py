"""What devices send each other in the steps of the encoder and of the recommender, counted from compiled programs."""

import dataclasses
import importlib

import jax
import pytest

from mlsd_jax.compilation import compile_program, count, open_hardware, train_program
from mlsd_jax.encoder.tasks import BERT_RULES
from mlsd_jax.encoder.training import (
  ContrastiveConfig,
  CrossEncoderConfig,
  batch_shapes,
  heads_of,
  make_task,
)
from mlsd_jax.models import bert
from mlsd_jax.recsys import settings, sized_programs
from mlsd_jax.training import sharding
from mlsd_jax.training.config import TrainConfig

BATCH, PASSAGES = 16, 2
BERT = bert.BertConfig(vocab_size=1024, context_length=128, num_layers=2, num_heads=4, embed_dim=64, mlp_dim=256)
KINDS = {
  'contrastive': lambda train: ContrastiveConfig(train, query_length=16, passage_length=32),
  'cross_encoder': lambda train: CrossEncoderConfig(train, length=32),
}
ITEMS = 400_000
LARGE = BERT.embed_dim**2 * 4  # bytes: of matrices, not of biases and norms


def compiled(program):
  report = compile_program(program, open_hardware('8xcpu'))
  assert not report.failure, report.failure
  return report


def sent(report, kind, axis):
  """Bytes of all exchanges of a kind over an axis."""
  return sum(each.bytes * each.times for each in report.collectives if each.kind == kind and each.axes == (axis,))


def held(params, rules, mesh, axis):
  """Bytes of the parameters that a device has once they are gathered over `axis`: whole but for the other axes."""
  mesh = sharding.make_mesh(mesh)
  ways = lambda spec: [mesh.shape[name] for name in spec if isinstance(name, str) and name != axis]
  total = 0
  for leaf, spec in zip(
    jax.tree.leaves(params), jax.tree.leaves(sharding.tree_specs(params, rules, mesh)), strict=True
  ):
    if axis in spec:
      total += leaf.size * leaf.dtype.itemsize // (ways(spec) or [1])[0]
  return total


@pytest.mark.parametrize('kind', ['contrastive', 'cross_encoder'])
def test_the_encoder_gathers_over_fsdp_and_sends_activations_over_tensor(kind):
  mesh = {'data': 1, 'fsdp': 4, 'tensor': 2}
  train = TrainConfig(steps=10, batch_size=BATCH, step='jit' if kind == 'contrastive' else 'shard_map', mesh=mesh)
  config = KINDS[kind](train)
  model = dataclasses.replace(BERT, heads=heads_of(config, BERT))
  task = make_task(model, 'mean', config, PASSAGES)
  report = compiled(train_program(task, train, batch_shapes(config, PASSAGES)))
  params = jax.eval_shape(task.init, jax.random.key(0))
  gathered = held(params, BERT_RULES, mesh, 'fsdp')
  assert not any(each.in_loop for each in report.collectives if each.bytes >= LARGE)
  tokens = BATCH // 4 * (16 + PASSAGES * 32)  # of a device, at most
  # In the global view the compiler gathers once what is looked up of the texts, and the vectors of the whole batch.
  places = 16 + 1 + PASSAGES * (32 + 1) if kind == 'contrastive' else 0
  activations = BATCH * places * BERT.embed_dim * 4
  assert 0.99 * gathered < sent(report, 'all-gather', 'fsdp') < 1.01 * gathered + activations
  assert sent(report, 'all-gather', 'tensor') < 2 * LARGE
  largest = max((each for each in report.collectives if 'tensor' in each.axes), key=lambda each: each.bytes)
  assert largest.bytes <= max(tokens * BERT.embed_dim * 4, 2 * LARGE), largest


def recommender_programs(items, mesh, step='jit'):
  config = importlib.import_module('configs.recsys.hm').get_config()
  for part, size in ((config.tower, 64), (config.ranker, 16)):
    part.train.update(batch_size=size, steps_per_dispatch=1, step=step)
    part.train.mesh.update(mesh)
    part.model.rows_multiple = 128
  config.tower.factors = 16
  recommender = settings.read_recommender(config)
  found = sized_programs.list_programs(recommender, sized_programs.Sizes(items, 2 * items))
  return {program.name: program for program in found}


@pytest.mark.parametrize(('name', 'step'), [('train towers', 'jit'), ('train ranker', 'shard_map'), ('ranking', 'jit')])
def test_the_recommender_sends_rows_of_a_batch_and_never_a_table(name, step):
  """Tables and their optimiser state lie by rows over all eight devices; no exchange grows with them."""
  report = compiled(recommender_programs(ITEMS, {'data': 1, 'fsdp': 4, 'tensor': 2}, step)[name])
  width = 128 if name == 'train towers' else 16
  table = ITEMS * width * 4
  assert report.arguments < 3 * table * 1.5 / 8 + 2**24
  assert sum(each.bytes * each.times for each in report.collectives) < table
  assert count(report.collectives)
