"""Which tokenizer serves a language model best: bits a byte of small GPTs at equal compute."""

import math
import pathlib
from collections.abc import Mapping
from typing import Any

from mlsd_jax.data.tokens import EvalBatches, TokenBatches
from mlsd_jax.language_model.task import gpt_task
from mlsd_jax.language_model.text import open_prepared
from mlsd_jax.language_model.text_preparation import prepare_text
from mlsd_jax.models import gpt
from mlsd_jax.training.config import TrainConfig
from mlsd_jax.training.loop import fit
from mlsd_jax.training.optimizers import OptimizerConfig


def steps_for(config: gpt.GPTConfig, tokens_per_step: int, teraflops: float) -> int:
  """Training steps that cost so many 10^12 operations."""
  return max(round(1e12 * teraflops / (gpt.flops_per_token(config, config.context_length) * tokens_per_step)), 10)


def train_on(
  tokenizer: str, source: str, settings: Mapping[str, Any], workdir: pathlib.Path, *, text_key: str = 'text'
) -> dict[str, float | int | str]:
  """Trains a GPT on `source` cut by `tokenizer`; a run that was stopped goes on.

  The model is the same but for its vocabulary, so one with a large vocabulary makes fewer steps, over more text each.

  Args:
    tokenizer: as data.vocabulary.tokenizer_for takes it.
    settings: teraflops, batch_size, learning_rate, split and val_fraction, and the sizes of gpt.GPTConfig.
    text_key: where in the documents of `source` the text is; as data.sources.open_source takes it.

  Returns:
    tokenizer, vocab_size, num_params, steps, text_megabytes (seen in training), val_loss (nats a token), bits_per_byte.
  """
  data = {'source': source, 'text_key': text_key, 'tokenizer': tokenizer, 'folder': '', 'workers': 0}
  text = open_prepared(prepare_text(data | {name: settings[name] for name in ('split', 'val_fraction')}))
  sizes = {name: settings[name] for name in ('context_length', 'num_layers', 'num_heads', 'embed_dim')}
  config = gpt.GPTConfig(vocab_size=text.tokenizer.vocab_size, **sizes)
  batch_size, length = settings['batch_size'], config.context_length
  steps = steps_for(config, batch_size * length, settings['teraflops'])
  rate = settings['learning_rate']
  optimizer = OptimizerConfig(
    learning_rate=rate, final_learning_rate=rate / 10, warmup_steps=min(100, steps // 10), beta2=0.99
  )
  train = TrainConfig(
    steps=steps, batch_size=batch_size, steps_per_dispatch=10, optimizer=optimizer, log_every=100, checkpoint_every=500
  )
  task = gpt_task(config, batch_size=batch_size, length=length)
  val = EvalBatches(text.val, batch_size, length)
  result = fit(task, TokenBatches(text.train, batch_size, length, seed=0), val, train, workdir)
  loss = result.metrics.get('loss', math.nan)
  return {
    'tokenizer': text.tokenizer.name,
    'vocab_size': text.tokenizer.vocab_size,
    'num_params': gpt.num_params(result.params),
    'steps': result.step,
    'text_megabytes': result.step * batch_size * length * text.train.text_bytes / len(text.train) / 1e6,
    'val_loss': loss,
    'bits_per_byte': loss * val.num_targets / math.log(2) / val.target_bytes,
  }
