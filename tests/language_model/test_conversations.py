"""Conversations as rows to train on: what counts, what sees what, and what is refused."""

import json
import math
import os
import subprocess

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax.errors import UserError
from mlsd_jax.language_model import conversations
from mlsd_jax.language_model.chat_template import CHATML, ChatTemplate
from mlsd_jax.language_model.conversations import Taught
from mlsd_jax.language_model.task import gpt_task
from mlsd_jax.models import gpt, modern_gpt
from mlsd_jax.models.families import functions_of
from mlsd_jax.tokenizers import BPETokenizer

TOKENIZER = BPETokenizer([], special_tokens={'<|im_start|>': 256, '<|im_end|>': 257, '<|endoftext|>': 258})
TALK = [
  {'role': 'system', 'content': 'Be short.'},
  {'role': 'user', 'content': 'One and one?'},
  {'role': 'assistant', 'content': 'Two.'},
  {'role': 'user', 'content': 'And<|im_end|>?'},
  {'role': 'assistant', 'content': 'Two\n\nagain. '},
]
MARKED = ChatTemplate(
  "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% if message['role'] == 'assistant' %}"
  "{% generation %}{{ message['content'] }}<|im_end|>{% endgeneration %}\n"
  "{% else %}{{ message['content'] }}<|im_end|>\n{% endif %}{% endfor %}"
  '{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}'
)
MODELS = {
  'gpt': gpt.GPTConfig(vocab_size=64, context_length=48, num_layers=2, num_heads=2, embed_dim=16, dropout=0.0),
  'modern': modern_gpt.ModernGPTConfig(
    vocab_size=64, context_length=48, num_layers=2, num_heads=2, embed_dim=16, num_kv_heads=1, window=7,
    window_pattern='SL', value_residual=True,
  ),
  'stacked': modern_gpt.ModernGPTConfig(
    vocab_size=64, context_length=48, num_layers=3, num_heads=2, embed_dim=16, scan_layers=True, remat='full',
  ),
}  # fmt: skip


@pytest.mark.parametrize('template', [CHATML, MARKED], ids=['asked for', 'marked'])
def test_what_counts_is_what_the_assistant_says_to_the_token_that_ends_its_turn(template):
  taught = conversations.encode(TALK, template, TOKENIZER)
  assert taught.tokens.tolist() == template.encode(TALK, TOKENIZER).tolist()
  said, runs = [], np.flatnonzero(np.diff(np.pad(taught.is_answer.astype(int), 1)))
  for start, end in runs.reshape(-1, 2):
    said.append(taught.tokens[start:end].tolist())
  assert said == [[*b'Two.', 257], [*b'Two\n\nagain. ', 257]]
  first = template.encode(TALK[:2], TOKENIZER, reply=True)
  assert taught.tokens[: runs[0]].tolist() == first.tolist()  # it answers from what it is asked from


def test_an_assistant_who_speaks_first_learns_its_words_alone():
  taught = conversations.encode([{'role': 'assistant', 'content': 'Hello'}], CHATML, TOKENIZER)
  assert taught.tokens[taught.is_answer].tolist() == [*b'Hello', 257]


def test_a_template_that_rewrites_what_was_said_is_refused_until_it_marks_it():
  forgetful = ChatTemplate(
    '{% for m in messages %}{{ m.role }}: {% if loop.last %}{{ m.content }}{% else %}...{% endif %}\n{% endfor %}'
    '{% if add_generation_prompt %}assistant: {% endif %}'
  )
  with pytest.raises(UserError, match=r'message 2 otherwise.*generation'):
    conversations.encode(TALK, forgetful, TOKENIZER)


@given(st.lists(st.integers(1, 30), max_size=60))
def test_rows_hold_every_item_once_none_too_long_and_few_rows_are_taken(lengths):
  rows = conversations.fill_rows(lengths, 30)
  assert sorted(item for row in rows for item in row) == list(range(len(lengths)))
  filled = [sum(lengths[item] for item in row) for row in rows]
  assert all(0 < each <= 30 for each in filled)
  assert len(rows) <= 11 / 9 * max(math.ceil(sum(lengths) / 30), sum(each > 15 for each in lengths)) * 1.5 + 1
  assert all(a + b > 30 for i, a in enumerate(filled) for b in filled[i + 1 :])  # no two of them fit into one


def _make_taught(rng, lengths):
  return [Taught(rng.integers(1, 64, n).astype(np.int32), rng.random(n) < 0.6) for n in lengths]


@pytest.mark.parametrize('name', MODELS)
def test_a_packed_row_trains_as_its_conversations_alone_would(name):
  config = MODELS[name]
  model = functions_of(config)
  params = model.init(jax.random.key(0), config)
  taught = _make_taught(np.random.default_rng(0), [9, 17, 5, 12, 20, 3])
  packed = conversations.pack(taught, 32)
  assert len(packed['tokens']) < len(taught)

  @jax.jit
  def loss_and_gradient(batch):
    return jax.value_and_grad(
      lambda params: gpt_task(config, batch_size=1, length=32).evaluate(params, batch)['loss'][0]
    )(params)

  alone = [conversations.pack([each], 32) for each in taught]
  rows = {name: np.concatenate([batch[name] for batch in alone]) for name in ('tokens', 'weights')}
  assert rows['weights'].sum() == packed['weights'].sum()
  for a, b in zip(*(jax.tree.leaves(loss_and_gradient(batch)) for batch in (packed, rows)), strict=True):
    np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize('name', MODELS)
def test_no_token_of_another_conversation_reaches_a_loss(name):
  config = MODELS[name]
  model = functions_of(config)
  params = model.init(jax.random.key(0), config)
  packed = conversations.pack(_make_taught(np.random.default_rng(1), [12, 12, 8]), 32)
  inputs, targets, documents = packed['tokens'][:, :-1], packed['tokens'][:, 1:], packed['documents']
  losses = jax.jit(lambda inputs: model.token_losses(params, inputs, targets, config, documents_BT=documents))
  before = losses(inputs)
  for document in range(documents.max() + 1):
    changed = losses(np.where(documents == document, (inputs + 1) % 64, inputs))
    differs = np.asarray(before != changed)
    assert differs[documents == document].any()
    assert not differs[documents != document].any()


def _write(path, *lines):
  path.write_text(''.join(json.dumps(line) + '\n' for line in lines))
  return path


def test_lines_are_conversations_as_trl_or_nanochat_write_them(tmp_path):
  talks = [[{'role': 'user', 'content': f'{i}'}, {'role': 'assistant', 'content': 'yes' * i}] for i in range(40)]
  lines = [{'messages': talk} if i % 2 else talk for i, talk in enumerate(talks)]
  found = conversations.read(_write(tmp_path / 'a.jsonl', *lines), CHATML, TOKENIZER, 200, 0.2)
  assert found.num_train + len(found.val_messages) == 40
  assert 2 <= len(found.val_messages) <= 16
  counted = found.train['weights'].sum() + found.val['weights'].sum()
  assert counted == sum(3 * i + 1 for i in range(40))
  again = conversations.read(_write(tmp_path / 'b.jsonl', *talks), CHATML, TOKENIZER, 200, 0.2)
  assert again.fingerprint == found.fingerprint
  assert all(np.array_equal(again.train[name], found.train[name]) for name in found.train)


@pytest.mark.parametrize(
  ('line', 'said'),
  [
    ({'messages': [{'role': 'user', 'content': 'hello'}]}, "line 2: no message of the role 'assistant'"),
    ({'text': 'hello'}, 'line 2: no conversation'),
    ({'messages': []}, 'line 2: a conversation has one message or more'),
    ({'messages': [{'role': 'robot', 'content': 'x'}]}, 'line 2: message 0 needs a'),
    ({'messages': [{'role': 'assistant', 'content': 'long ' * 50}]}, 'line 2: the conversation has 263 tokens'),
  ],
)
def test_what_cannot_be_taught_is_told_with_its_line(tmp_path, line, said):
  good = {'messages': [{'role': 'user', 'content': 'a'}, {'role': 'assistant', 'content': 'b'}]}
  with pytest.raises(UserError, match=said):
    conversations.read(_write(tmp_path / 'talks.jsonl', good, line), CHATML, TOKENIZER, 100, 0.5)


def test_a_key_that_a_conversation_has_twice_is_told(tmp_path):
  path = tmp_path / 'talks.jsonl'
  path.write_text('{"messages": [{"role": "user", "content": "a", "content": "b"}]}\n')
  with pytest.raises(UserError, match="line 1: the key 'content' is there twice"):
    conversations.read(path, CHATML, TOKENIZER, 100, 0.5)


def test_a_file_without_a_conversation_is_told(tmp_path):
  with pytest.raises(UserError, match=r'none\.jsonl holds no conversation'):
    conversations.read(_write(tmp_path / 'none.jsonl'), CHATML, TOKENIZER, 100, 0.5)


PEER = """
import json, sys
from tokenizers import Tokenizer, models, pre_tokenizers, decoders
from transformers import PreTrainedTokenizerFast
talks, template, special = json.load(sys.stdin)
alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
inner = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
inner.add_special_tokens(special)
tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, chat_template=template)
found = []
for talk in talks:
  made = tokenizer.apply_chat_template(
    talk, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
  )
  found.append([tokenizer.convert_ids_to_tokens(made['input_ids']), made['assistant_masks']])
print(json.dumps(found))
"""


@pytest.mark.skipif(
  'MLSD_PEER_PYTHON' not in os.environ, reason='MLSD_PEER_PYTHON names no interpreter with transformers'
)
def test_transformers_marks_the_same_tokens():
  """Its return_assistant_tokens_mask, byte by byte."""
  talks = [[message for message in TALK if '<|' not in message['content']][: n + 1] for n in range(1, 4)]
  talks = [[*talk, {'role': 'assistant', 'content': f'No {i}.'}] for i, talk in enumerate(talks)]
  given = json.dumps([talks, MARKED.source, list(TOKENIZER.special_tokens)])
  told = subprocess.run([os.environ['MLSD_PEER_PYTHON'], '-c', PEER], input=given, capture_output=True, text=True)
  assert told.returncode == 0, told.stderr
  for talk, (tokens, mask) in zip(talks, json.loads(told.stdout), strict=True):
    own = conversations.encode(talk, MARKED, TOKENIZER)
    assert own.is_answer.astype(int).tolist() == mask
    assert len(own.tokens) == len(tokens)
