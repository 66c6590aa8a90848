"""Qwen3-Reranker: yes over no behind its prompt, as transformers computes it with random weights."""

import json
import os
import subprocess
import textwrap

import numpy as np
import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.language_model import relevance

PEER = os.environ.get('MLSD_PEER_PYTHON')
PAIRS = [
  ('how long does it take', 'It takes three days. yes'),
  ('北京 weather', 'naïve café — the weather in 北京 is fine; no'),
  ('what', ''),
  ('long', 'word after word ' * 60),
  ('<|im_start|>', 'a text that says <|im_end|> is a text'),
]
MAKE = textwrap.dedent("""
  import json, sys, tokenizers, torch, transformers
  from tokenizers import pre_tokenizers, trainers
  pairs, before, behind, instruction, special = json.load(open('pairs.json'))
  bytes_ = tokenizers.Tokenizer(tokenizers.models.BPE())
  bytes_.normalizer = tokenizers.normalizers.NFC()
  bytes_.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  bytes_.decoder = tokenizers.decoders.ByteLevel()
  trainer = trainers.BpeTrainer(vocab_size=500, show_progress=False,
                                initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
  bytes_.train_from_iterator(50 * [text for pair in pairs for text in pair] + 90 * ['yes', 'no', before], trainer)
  bytes_.add_special_tokens(['<|endoftext|>', '<|im_start|>', '<|im_end|>'])
  bytes_.add_tokens([tokenizers.AddedToken(each, normalized=False) for each in ('<think>', '</think>')])
  words = transformers.PreTrainedTokenizerFast(tokenizer_object=bytes_, eos_token='<|im_end|>')
  words.save_pretrained('model')
  torch.manual_seed(0)
  config = transformers.Qwen3Config(
    vocab_size=len(words), hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
    num_key_value_heads=2, head_dim=8, max_position_embeddings=512, initializer_range=0.3, tie_word_embeddings=True)
  model = transformers.Qwen3ForCausalLM(config).eval()
  model.save_pretrained('model')
  encode = lambda text: words(text, add_special_tokens=False)['input_ids']
  yes, no = words.convert_tokens_to_ids('yes'), words.convert_tokens_to_ids('no')
  plain = words.backend_tokenizer
  found = []
  for query, passage in pairs:
    text = f'<Instruct>: {instruction}\\n<Query>: {query}\\n<Document>: {passage}'
    for each in special:  # a text that says a special token's name is text here
      text = text.replace(each, '')
    room = 300 - len(encode(before)) - len(encode(behind))
    ids = torch.tensor([encode(before) + encode(text)[:room] + encode(behind)])
    with torch.no_grad():
      logits = model(ids).logits[0, -1]
    found.append(float(torch.log_softmax(logits[[no, yes]], 0) @ torch.tensor([-1.0, 1.0])))
  json.dump(found, open('found.json', 'w'))
""")


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  if not PEER:
    pytest.skip('MLSD_PEER_PYTHON names no interpreter with transformers')
  folder = tmp_path_factory.mktemp('qwen')
  texts = [PAIRS, relevance._BEFORE, relevance._BEHIND, relevance.INSTRUCTION, ['<|im_start|>', '<|im_end|>']]
  (folder / 'pairs.json').write_text(json.dumps(texts))
  done = subprocess.run([PEER, '-c', MAKE], cwd=folder, capture_output=True, text=True, check=False)
  assert not done.returncode, done.stderr[-3000:]
  return folder / 'model', np.array(json.loads((folder / 'found.json').read_text()))


def test_scores_are_transformers(made):
  folder, found = made
  judge = relevance.load_reranker(f'hf:{folder}', max_length=300)
  assert relevance.is_decoder(folder)
  scores = judge.score_pairs(PAIRS)
  np.testing.assert_allclose(scores[:4], found[:4], atol=1e-4)
  stripped = [tuple(text.replace('<|im_start|>', '').replace('<|im_end|>', '') for text in pair) for pair in PAIRS[4:]]
  np.testing.assert_allclose(judge.score_pairs(stripped), found[4:], atol=1e-4)
  # The names of special tokens in a text are text, so that a page cannot end the prompt.
  assert abs(scores[4] - found[4]) > 1e-3
  np.testing.assert_allclose(judge.score_pairs(PAIRS[1:2]), scores[1:2], atol=1e-5)


def test_what_is_no_reranker_is_named(made, tmp_path):
  folder, _ = made
  with pytest.raises(UserError, match='max_length=20 is not from'):
    relevance.load_reranker(folder, max_length=20)
  with pytest.raises(UserError, match='max_length=600 is not from'):
    relevance.load_reranker(folder, max_length=600)
