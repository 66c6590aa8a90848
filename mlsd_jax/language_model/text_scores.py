"""How good a language model is: loss on held-out text, and choosing or guessing how a text goes on.

Names: B rows, T tokens, V vocabulary.
"""

import dataclasses
import functools
import math
import os
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlsd_jax import reading, tokenizers
from mlsd_jax.errors import UserError
from mlsd_jax.generation.decoders import bucket
from mlsd_jax.models.families import DecoderConfig, functions_of
from mlsd_jax.training.task import EvalData

type Progress = Callable[[int, int], None]  # (done, of how many)


@dataclasses.dataclass(frozen=True)
class TextScore:
  """Attributes: loss: nats a token. num_tokens: targets scored. bits_per_byte: None if the bytes are not known."""

  loss: float
  perplexity: float
  num_tokens: int
  bits_per_byte: float | None


@dataclasses.dataclass(frozen=True)
class ChoiceScore:
  """Attributes: accuracy: by total log-probability of an ending. accuracy_normalised: by that per UTF-8 byte."""

  accuracy: float
  accuracy_normalised: float
  num_examples: int


@dataclasses.dataclass(frozen=True)
class LastWordScore:
  """Attributes: accuracy: share of last words that greedy decoding gives. perplexity: exp of the mean nats a word."""

  accuracy: float
  perplexity: float
  num_examples: int


def score_text(
  params: Any,
  config: DecoderConfig,
  data: EvalData,
  *,
  num_bytes: int | None = None,
  progress: Progress | None = None,
) -> TextScore:
  """Loss, perplexity and bits per byte over all of `data`.

  How much context a target has is the data's: EvalBatches(dataset, batch_size, length, stride) scores every token but
  the first once, beyond the first window with at least length - stride tokens before it. stride = length is fastest;
  a shorter stride gives the lower loss that a reader with that much context has.

  Args:
    data: batches {'tokens': int [B, T + 1], 'weights': [B, T]}, which sums nats over targets of weight 1.
    num_bytes: UTF-8 bytes of the targets (EvalBatches.target_bytes): bits per byte is nats / ln 2 / bytes, which
      compares models over different tokenizers.

  Raises:
    UserError: the data hold no target, or the loss is no finite number.
  """
  params = jax.tree.map(jnp.asarray, params)  # once, not at each batch
  nats = tokens = 0.0
  for number, batch in enumerate(data.batches(slice(None)), start=1):
    weights = batch.get('weights')
    batch_nats, weight = _nats(params, batch['tokens'], 1.0 if weights is None else weights, config)
    nats, tokens = nats + float(batch_nats), tokens + float(weight)
    if progress is not None:
      progress(number, len(data))
  if not tokens:
    raise UserError('there is nothing to evaluate: the data hold no target')
  loss = nats / tokens
  _require_finite(loss, 'the loss on the text')
  bits_per_byte = None if num_bytes is None else nats / math.log(2) / num_bytes
  return TextScore(loss, perplexity(loss), round(tokens), bits_per_byte)


def _require_finite(loss: float, what: str) -> None:
  if not math.isfinite(loss):
    raise UserError(f'{what} is {loss}: the parameters hold numbers that are not finite, or overflow')


def perplexity(loss: float) -> float:
  """exp(loss), infinite where that overflows."""
  return math.exp(loss) if loss < 700 else math.inf


def hellaswag(
  params: Any,
  config: DecoderConfig,
  tokenizer: tokenizers.Tokenizer,
  path: str | os.PathLike[str],
  *,
  limit: int | None = None,
  progress: Progress | None = None,
) -> ChoiceScore:
  """Chooses among endings by their probability behind a context (HellaSwag, Zellers et al. 2019, arXiv:1905.07830).

  Args:
    path: JSONL; each row has 'ctx' (text), 'endings' (texts) and 'label' (the right one, from 0). An ending is scored
      behind the context and one space. Contexts that do not fit lose their beginning.
    limit: the first so many rows only.

  Raises:
    UserError: the file is missing or a row is not as above; names the line.
  """
  rows = list(_rows(path, _parse_choice, limit))
  pairs = [(context, f' {ending}') for context, endings, _ in rows for ending in endings]
  scores = score_pairs(params, config, tokenizer, pairs, progress=progress)
  return _count_right(rows, scores, lambda ending: len(f' {ending}'.encode()))


def multiple_choice(
  params: Any,
  config: DecoderConfig,
  tokenizer: tokenizers.Tokenizer,
  path: str | os.PathLike[str],
  *,
  limit: int | None = None,
  progress: Progress | None = None,
) -> ChoiceScore:
  """Chooses among answers by their probability behind a context, with the figures of lm-evaluation-harness.

  A choice is scored behind the context and one space, the two encoded as one text; `accuracy` is its acc, and
  `accuracy_normalised` its acc_norm, which divides by characters (`hellaswag` divides by bytes).

  Args:
    path: JSONL; each row has 'context' (text), 'choices' (texts) and 'label' (the right one, from 0). HellaSwag, ARC,
      PIQA, BoolQ and MMLU are such rows once their prompt is written out. Contexts that do not fit lose their start.
    limit: the first so many rows only.

  Raises:
    UserError: the file is missing or a row is not as above; names the line.
  """
  rows = list(_rows(path, functools.partial(_parse_choice, context='context', choices='choices'), limit))
  pairs = [(context, f' {choice}') for context, choices, _ in rows for choice in choices]
  scores = score_pairs(params, config, tokenizer, pairs, together=True, progress=progress)
  return _count_right(rows, scores, len)


def _count_right(
  rows: Sequence[tuple[str, list[str], int]],
  scores: Sequence[tuple[np.ndarray, np.ndarray]],
  length_of: Callable[[str], int],
) -> ChoiceScore:
  """How often the right choice has the fewest nats of its row, and the fewest for its length."""
  nats = iter([float(nats.sum()) for nats, _ in scores])
  right = right_normalised = 0
  for _, choices, label in rows:
    of_choice = [next(nats) for _ in choices]
    by_length = [nat / length_of(choice) for nat, choice in zip(of_choice, choices, strict=True)]
    right += int(np.argmin(of_choice)) == label
    right_normalised += int(np.argmin(by_length)) == label
  return ChoiceScore(right / len(rows), right_normalised / len(rows), len(rows))


def lambada(
  params: Any,
  config: DecoderConfig,
  tokenizer: tokenizers.Tokenizer,
  path: str | os.PathLike[str],
  *,
  limit: int | None = None,
  progress: Progress | None = None,
) -> LastWordScore:
  """Guesses the last word of a passage (LAMBADA, Paperno et al. 2016, arXiv:1606.06031).

  Args:
    path: JSONL; each row has 'text', whose last word (behind its last white space) is scored with one space before it.
    limit: the first so many rows only.

  Raises:
    UserError: the file is missing or a row is not as above; names the line.
  """
  rows = list(_rows(path, _parse_passage, limit))
  scores = list(score_pairs(params, config, tokenizer, rows, progress=progress))
  mean_nats = float(np.mean([nats.sum() for nats, _ in scores]))
  return LastWordScore(float(np.mean([hits.all() for _, hits in scores])), perplexity(mean_nats), len(rows))


def score_pairs(
  params: Any,
  config: DecoderConfig,
  tokenizer: tokenizers.Tokenizer,
  pairs: Sequence[tuple[str, str]],
  *,
  together: bool = False,
  tokens_per_batch: int = 2048,
  progress: Progress | None = None,
) -> list[tuple[np.ndarray, np.ndarray]]:
  """Scores continuations of contexts.

  Args:
    pairs: (context, continuation), encoded apart, or `together` as one text, of which the continuation is what is
      behind the tokens of the context; spaces that end a context are then of the continuation. An empty context
      becomes end_of_text. What does not fit the model is dropped from the beginning.
    tokens_per_batch: rows of like length share a batch of about so many tokens, whose logits are all held at once.

  Returns:
    For each pair and each token of its continuation: nats (float32), and whether greedy decoding chooses it (bool).

  Raises:
    UserError: a continuation that is empty or does not fit at all, a tokenizer of more ids than the model has, or a
      loss that is no finite number.
  """
  if tokenizer.vocab_size > config.vocab_size:
    raise UserError(
      f'tokenizer {tokenizer.name} has {tokenizer.vocab_size} ids, but the model only {config.vocab_size}'
    )
  params = jax.tree.map(jnp.asarray, params)
  rows = [_tokens(tokenizer, *pair, config.context_length, together) for pair in pairs]
  order = sorted(range(len(rows)), key=lambda row: len(rows[row][0]))
  scores: dict[int, tuple[np.ndarray, np.ndarray]] = {}
  while len(scores) < len(order):
    rest = order[len(scores) :]
    length = min(bucket(len(rows[rest[0]][0]) - 1), config.context_length)
    fitting = [row for row in rest if len(rows[row][0]) - 1 <= length]
    batch_size = max(1, tokens_per_batch // length)
    chosen = fitting[:batch_size]
    tokens_BT = np.zeros((batch_size, length + 1), np.int32)
    for i, row in enumerate(chosen):
      tokens_BT[i, : len(rows[row][0])] = rows[row][0]
    nats_BT, hits_BT = map(np.asarray, _nats_and_hits(params, tokens_BT, config))
    for i, row in enumerate(chosen):
      tokens, scored = rows[row]
      scores[row] = (
        nats_BT[i, len(tokens) - 1 - scored : len(tokens) - 1],
        hits_BT[i, len(tokens) - 1 - scored : len(tokens) - 1],
      )
      _require_finite(float(scores[row][0].sum()), f'the loss of the continuation {pairs[row][1][:40]!r}')
    if progress is not None:
      progress(len(scores), len(order))
  return [scores[row] for row in range(len(rows))]


@functools.partial(jax.jit, static_argnames='config')
def _nats(params, tokens_BT, weights_BT, config):
  nats_BT = functions_of(config).token_losses(params, tokens_BT[:, :-1], tokens_BT[:, 1:], config)
  weights_BT = jnp.broadcast_to(jnp.asarray(weights_BT, jnp.float32), nats_BT.shape)
  return (nats_BT * weights_BT).sum(), weights_BT.sum()


@functools.partial(jax.jit, static_argnames='config')
def _nats_and_hits(params, tokens_BT, config):
  logits_BTV = functions_of(config).apply(params, tokens_BT[:, :-1], config).astype(jnp.float32)
  target_BT1 = jnp.take_along_axis(logits_BTV, tokens_BT[:, 1:, None], axis=-1)
  nats_BT = jax.nn.logsumexp(logits_BTV, axis=-1) - target_BT1[..., 0]
  return nats_BT, jnp.argmax(logits_BTV, axis=-1) == tokens_BT[:, 1:]


def _tokens(
  tokenizer: tokenizers.Tokenizer, context: str, continuation: str, most: int, together: bool
) -> tuple[np.ndarray, int]:
  """Context and continuation as ids, at most `most` + 1 of them, and how many at the end are the continuation."""
  if together and context:
    kept = context.rstrip()
    given = tokenizer.encode(kept)
    scored = tokenizer.encode(context + continuation)[len(given) :]
  else:
    given, scored = tokenizer.encode(context), tokenizer.encode(continuation)
  if not given.size:
    given = np.array([tokenizer.end_of_text or 0], np.int32)
  if not 0 < scored.size <= most:
    raise UserError(f'the continuation {continuation[:40]!r} has {scored.size} tokens; 1 to {most} can be scored')
  return np.concatenate([given, scored])[-(most + 1) :], scored.size


def _rows[Row](path: str | os.PathLike[str], parse: Callable[[Any], Row], limit: int | None) -> Iterable[Row]:
  path = pathlib.Path(path)
  rows: list[Row] = []
  for number, row in reading.strict(reading.json_lines(path, unique=True)):
    if limit is not None and len(rows) >= limit:
      break
    try:
      rows.append(parse(row))
    except (UserError, ValueError, KeyError, TypeError) as error:
      raise UserError(f'{path}, line {number}: {error}') from error
  if not rows:
    raise UserError(f'{path} holds no examples')
  return rows


def _text(row: Any, key: str) -> str:
  if not isinstance(row, dict) or not isinstance(row.get(key), str):
    raise UserError(f'needs an object with a text {key!r}')
  return row[key]


def _parse_choice(row: Any, context: str = 'ctx', choices: str = 'endings') -> tuple[str, list[str], int]:
  given, endings, label = _text(row, context), row.get(choices), row.get('label')
  if not isinstance(endings, list) or len(endings) < 2 or not all(isinstance(e, str) and e for e in endings):
    raise UserError(f'needs {choices!r}, a list of two or more texts')
  if isinstance(label, bool) or str(label) not in map(str, range(len(endings))):
    raise UserError(f"needs 'label', a number from 0 to {len(endings) - 1}, not {label!r}")
  return given, endings, int(label)


def _parse_passage(row: Any) -> tuple[str, str]:
  parts = _text(row, 'text').rstrip().rsplit(maxsplit=1)
  if len(parts) < 2:
    raise UserError("needs a 'text' of two words or more")
  return parts[0], f' {parts[1]}'
