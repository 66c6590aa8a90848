"""What goes on inside a trained GPT: where heads look, which heads copy, what each layer would say.

Names: B batch, T tokens, S keys, D model width, H heads, N layers, V vocabulary.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlsd_jax.models import attention, gpt
from mlsd_jax.models.families import functions_of


@functools.partial(jax.jit, static_argnames='config')
def residual_stream(params: Any, tokens_BT: jax.Array, config: gpt.GPTConfig) -> tuple[jax.Array, jax.Array]:
  """The residual stream before each block and behind the last, [N + 1, B, T, D], and attention weights [N, B, H, T, T].

  The blocks are those of models/gpt.py, run one by one. Blocks without attention have nothing to show here.
  """
  module = functions_of(config).bind(params, config)
  x_BTD = module.embed(tokens_BT, jnp.arange(tokens_BT.shape[1]))
  stream, maps = [x_BTD], []
  for block in module.list_blocks():
    q_BTHK, k_BSHK, _ = jnp.unstack(block.attention.qkv(block.norm_1(x_BTD)), axis=2)
    maps.append(attention.weights(q_BTHK, k_BSHK))
    x_BTD, _ = block(x_BTD)
    stream.append(x_BTD)
  return jnp.stack(stream), jnp.stack(maps)


def attention_maps(params: Any, tokens_BT: jax.Array, config: gpt.GPTConfig) -> np.ndarray:
  """Weight with which query t looks at key s, [N, B, H, T, S]; rows sum to 1."""
  return np.asarray(residual_stream(params, tokens_BT, config)[1])


def logit_lens(params: Any, tokens_BT: jax.Array, config: gpt.GPTConfig) -> np.ndarray:
  """log-probabilities [N + 1, B, T, V] of the next token, as if the model ended before block 0, 1, ..., or not at all.

  The final norm and the output embedding are put behind each state of the residual stream (nostalgebraist 2020,
  'interpreting GPT: the logit lens'). The last is the model's own prediction.
  """
  stream_NBTD, _ = residual_stream(params, tokens_BT, config)
  module = functions_of(config).bind(params, config)
  logits = [module.logits(module.final_norm(x_BTD)).astype(jnp.float32) for x_BTD in stream_NBTD]
  return np.asarray(jax.nn.log_softmax(jnp.stack(logits), axis=-1))


@dataclasses.dataclass(frozen=True)
class HeadScores:
  """How much of its attention each head gives to one place, averaged over queries, [N, H], from 0 to 1.

  Attributes:
    induction: to the token behind the earlier occurrence of the present one: the pattern A B ... A -> B.
    previous: to the token just before.
    chance_induction, chance_previous: what even attention over all visible tokens would give.
    first_loss, second_loss: nats a token of the model on a random sequence, and on its repetition: copying shows as
      the second far below the first.
  """

  induction: np.ndarray
  previous: np.ndarray
  chance_induction: float
  chance_previous: float
  first_loss: float
  second_loss: float


def head_scores(params: Any, config: gpt.GPTConfig, *, rows: int = 32, seed: int = 0) -> HeadScores:
  """Scores heads on random tokens that are then repeated (Olsson et al. 2022, arXiv:2209.11895).

  Half of the context is a random sequence without order to learn, the other half the same once more; an induction head
  there looks back by half the context, less one.
  """
  half = config.context_length // 2
  drawn_BT = np.random.default_rng(seed).integers(0, config.vocab_size, (rows, half))
  tokens_BT = jnp.asarray(np.concatenate([drawn_BT, drawn_BT], axis=1), jnp.int32)
  maps = attention_maps(params, tokens_BT, config)
  queries = np.arange(half, 2 * half)
  at = lambda back, queries: maps[:, :, :, queries, queries - back].mean(axis=(1, 3))
  token_losses = functions_of(config).token_losses
  losses_BT = np.asarray(token_losses(params, tokens_BT[:, :-1], tokens_BT[:, 1:], config))
  everywhere = np.arange(1, 2 * half)
  return HeadScores(
    induction=at(half - 1, queries),
    previous=at(1, everywhere),
    chance_induction=float(np.mean(1.0 / (queries + 1))),
    chance_previous=float(np.mean(1.0 / (everywhere + 1))),
    first_loss=float(losses_BT[:, : half - 1].mean()),
    second_loss=float(losses_BT[:, half:].mean()),
  )
