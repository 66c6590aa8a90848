"""What gpt2 trains on: text, or conversations (config.data.format), each as the batches and scores of a run."""

import functools
import hashlib
import math
from typing import Any

import jax

from experiments import contract
from mlsd_jax.data.batches import padded, shuffled
from mlsd_jax.data.bigram_baseline import bigram_val_loss
from mlsd_jax.data.tokens import EvalBatches, TokenBatches, TokenDataset
from mlsd_jax.errors import UserError
from mlsd_jax.language_model import chat_template, conversations, pretrained, text_scores
from mlsd_jax.language_model.chat_template import ChatTemplate
from mlsd_jax.language_model.task import gpt_task
from mlsd_jax.language_model.text import Text, open_prepared
from mlsd_jax.language_model.text_preparation import prepare_text
from mlsd_jax.models.families import DecoderConfig
from mlsd_jax.tokenizers import Tokenizer
from mlsd_jax.training import sharding
from mlsd_jax.training.config import TrainConfig
from mlsd_jax.training.evaluation import evaluate
from mlsd_jax.training.step import make_eval_step
from mlsd_jax.training.task import EvalData, TrainData

CONVERSATIONS = 'conversations'
# Of the data section, what says how a text is read.
OF_TEXT = ('text_key', 'split', 'folder', 'workers')


class TextMaterial:
  """A prepared text; its fingerprint is the workdir's tokenizer."""

  fingerprints: dict[str, str] | None = None

  def __init__(self, config: Any, tokenizer: Tokenizer | None):
    self.text: Text = open_prepared(prepare_text(config.data, tokenizer))
    self.tokenizer = self.text.tokenizer

  def describe(self) -> str:
    text = self.text
    return (
      f'{text.source}: {len(text.train):,} training and {len(text.val):,} validation tokens '
      f'({text.tokenizer.name}, {text.tokenizer.vocab_size:,} ids)'
    )

  def batches(self, settings: TrainConfig, length: int) -> tuple[TrainData, EvalData]:
    train_data = TokenBatches(self.text.train, settings.batch_size, length, settings.seed)
    return train_data, EvalBatches(self.text.val, settings.batch_size, length)

  @functools.cached_property
  def baselines(self) -> dict[str, float]:
    bigram = bigram_val_loss(self.text.train, self.text.val, self.tokenizer.vocab_size)
    return {'uniform guess': math.log(self.tokenizer.vocab_size), 'bigram model': bigram}

  def scores(self, loss: float) -> dict[str, Any]:
    return {
      'bigram_val_loss': self.baselines['bigram model'],
      'perplexity': finite(text_scores.perplexity(loss)),
      'bits_per_byte': _bits_per_byte(loss, self.text.val),
    }


class ConversationMaterial:
  """A file of conversations; the loss is a token's of the assistant's."""

  def __init__(self, config: Any, template: ChatTemplate, tokenizer: Tokenizer, length: int):
    self.path, self.tokenizer, self.template = config.data.source, tokenizer, template
    self.found = conversations.read(self.path, template, tokenizer, length, config.data.val_fraction)
    of_template = hashlib.sha256(template.source.encode()).hexdigest()
    self.fingerprints = {'conversations': self.found.fingerprint, 'template': of_template}

  def describe(self) -> str:
    found = self.found
    counted, held = int(found.train['weights'].sum()), found.train['documents'].size
    return (
      f'{self.path}: {found.num_train:,} training and {len(found.val_messages):,} validation conversations, packed '
      f'into {len(found.train["tokens"]):,} and {len(found.val["tokens"]):,} rows; {counted:,} of {held:,} tokens are '
      f"the assistant's ({self.tokenizer.name}, {self.tokenizer.vocab_size:,} ids)"
    )

  def batches(self, settings: TrainConfig, length: int) -> tuple[TrainData, EvalData]:
    del length  # as they were packed
    return (
      shuffled(self.found.train, settings.batch_size, settings.seed),
      padded(self.found.val, settings.batch_size),
    )

  @property
  def baselines(self) -> dict[str, float]:
    return {'uniform guess': math.log(self.tokenizer.vocab_size)}

  def loss(self, params: Any, model: DecoderConfig, batch_size: int) -> float:
    """Nats a token of the assistant's in the validation conversations."""
    task = gpt_task(model, batch_size=batch_size, length=model.context_length)
    mesh = sharding.make_mesh({}, jax.devices()[:1])
    return evaluate(make_eval_step(task, mesh), params, padded(self.found.val, batch_size), batch_size, mesh)['loss']

  def scores(self, loss: float) -> dict[str, Any]:
    return {
      'perplexity': finite(text_scores.perplexity(loss)),
      'conversations': self.found.num_train,
    }


def is_of_conversations(config: Any) -> bool:
  return config.data.format == CONVERSATIONS


def find_template(config: Any) -> ChatTemplate:
  """config.chat.template, or that of the model that a run starts from.

  Raises:
    UserError: there is none, or no model to start from.
  """
  if not config.init_from:
    raise UserError('conversations are taught to a model that was trained: name it with --init_from')
  if config.chat.template:
    return chat_template.named(config.chat.template)
  found = pretrained.chat_template_of(config.init_from)
  if found is None:
    raise UserError(
      f'{config.init_from} has no chat template: name one with --config.chat.template=FILE, or take ChatML with '
      '--config.chat.template=chatml'
    )
  return found


def kept_template(run: contract.Run) -> ChatTemplate:
  """The template of a run that was taught conversations."""
  found = chat_template.load_of_run(run.workdir)
  if found is None:
    raise UserError(f'{run.workdir} has no {chat_template.FILE}: it was not taught conversations')
  return found


def finite(value: float) -> float | None:
  """null in the JSON for a perplexity that overflows."""
  return value if math.isfinite(value) else None


def _bits_per_byte(loss: float, split: TokenDataset) -> float:
  """Nats a token -> bits a byte of text, comparable between tokenizers."""
  return loss * (len(split) - 1) / math.log(2) / split.target_bytes
