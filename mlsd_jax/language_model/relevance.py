"""A decoder as a judge of pairs: how much more likely it is to say yes than no (Qwen3-Reranker, arXiv:2506.05176).

judge = load_reranker('Qwen/Qwen3-Reranker-0.6B')
scores = judge.score_pairs([('what does it cost', 'It costs 3 euros.'), ...])
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlsd_jax.encoder.length_batches import Shapes, padded
from mlsd_jax.errors import UserError
from mlsd_jax.language_model import modern_folder, pretrained
from mlsd_jax.models import modern_gpt
from mlsd_jax.models.modern_gpt import ModernGPTConfig
from mlsd_jax.tokenizers.bpe import BPETokenizer

# Word by word what the model was trained to read.
_BEFORE = (
  '<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. '
  'Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
_BEHIND = '<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n'
INSTRUCTION = 'Given a web search query, retrieve relevant passages that answer the query'
_BATCH_TOKENS = 1024
_DTYPES = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16}


@dataclasses.dataclass(frozen=True, eq=False)
class DecoderReranker:
  """(query, passage) to relevance; see `load_reranker`.

  Attributes:
    name: of its folder.
    params: of models/modern_gpt.py.
    instruction: what a passage is to be relevant for, in a sentence.
    max_length: tokens of the whole prompt; what the pair has beyond it is cut at its end.
  """

  name: str
  params: Any
  config: ModernGPTConfig
  tokenizer: BPETokenizer
  instruction: str = INSTRUCTION
  max_length: int = 1024

  def __post_init__(self):
    frame = len(self._frame[0]) + len(self._frame[1])
    if not frame < self.max_length <= self.config.context_length:
      raise UserError(f'max_length={self.max_length} is not from {frame + 1} to {self.config.context_length}')

  @functools.cached_property
  def _frame(self) -> tuple[list[int], list[int]]:
    encode = lambda text: self.tokenizer.encode(text, allowed_special='all').tolist()
    return encode(_BEFORE), encode(_BEHIND)

  @functools.cached_property
  def _answers(self) -> np.ndarray:
    ids = [self.tokenizer.encode(word).tolist() for word in ('yes', 'no')]
    if any(len(each) != 1 for each in ids):
      raise UserError(f'{self.name} has no single token for yes and for no: it is no reranker of this kind')
    return np.concatenate(ids)

  def score_pairs(
    self, pairs: Sequence[tuple[str, str]], *, progress: Callable[[int], None] | None = None
  ) -> np.ndarray:
    """log p(yes) - log p(no) as the next token [N] float32 of each (query, passage), in the order of `pairs`."""
    before, behind = self._frame
    room = self.max_length - len(before) - len(behind)
    texts = [f'<Instruct>: {self.instruction}\n<Query>: {query}\n<Document>: {passage}' for query, passage in pairs]
    ids = [[*before, *self.tokenizer.first_ids(text, room), *behind] for text in texts]
    scores = np.zeros(len(ids), np.float32)
    for chosen, rows, length in Shapes(self.max_length, _BATCH_TOKENS).plan(np.array([len(each) for each in ids])):
      tokens, lengths = padded([ids[i] for i in chosen], rows, length)
      found = _yes_over_no(self.params, tokens, lengths, self._answers, self.config)
      scores[chosen] = np.asarray(found)[: len(chosen)]
      if progress is not None:
        progress(len(chosen))
    return scores


def load_reranker(
  folder_or_name: str | os.PathLike[str], *, dtype: str = 'float32', instruction: str = INSTRUCTION, max_length: int = 0
) -> DecoderReranker:
  """A reranker from the folder of a decoder, or by its name on the hub.

  Args:
    max_length: 0: 1024, or the model's context where that is shorter.

  Raises:
    UserError: see pretrained.load; or a model or tokenizer of another kind.
  """
  name = str(folder_or_name).removeprefix('hf:')
  params, config, tokenizer = pretrained.load(f'hf:{name}')
  if not isinstance(config, ModernGPTConfig) or not isinstance(tokenizer, BPETokenizer):
    raise UserError(f'{name} is no decoder of today with a byte-level BPE, as Qwen3-Reranker is')
  if dtype not in _DTYPES:
    raise UserError(f'dtype={dtype!r} is not one of {", ".join(_DTYPES)}')
  params = jax.tree.map(lambda leaf: jnp.asarray(leaf, _DTYPES[dtype]), params)
  length = max_length or min(1024, config.context_length)
  return DecoderReranker(pathlib.PurePath(name).name, params, config, tokenizer, instruction, length)


def is_decoder(folder: pathlib.Path) -> bool:
  """Whether a folder holds such a decoder, and no encoder."""
  return modern_folder.is_modern(folder)


@functools.partial(jax.jit, static_argnums=4)
def _yes_over_no(params, tokens_BT, lengths_B, answers_2, config):
  module = modern_gpt.bind(params, config)
  # What stands behind a prompt is padding, which no token before it sees.
  last_BD = jnp.take_along_axis(module.hidden(tokens_BT), lengths_B[:, None, None] - 1, axis=1)[:, 0]
  logits_B2 = jnp.einsum('BD,AD->BA', last_BD, module.output_table[answers_2]).astype(jnp.float32)
  return logits_B2[:, 0] - logits_B2[:, 1]
