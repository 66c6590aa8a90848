"""Folders that transformers and sentence-transformers wrote, with random weights: ids, vectors, scores are theirs."""

import json
import os
import subprocess
import textwrap

import numpy as np
import pytest

from mlsd_jax.encoder.encoder import load_cross_encoder, load_encoder

PEER = os.environ.get('MLSD_PEER_PYTHON')
TEXTS = [
  'The quick brown fox',
  '  two  spaces\tand\nlines ',
  '天气预报今天很好,我们去公园。',
  'ﬁne Ｃ＋＋ ½ ™ Å e\u0301 नमस्ते',
  'Привет, как дела? مرحبا',
  '東京タワー 한국어 สวัสดีครับ',
  'emoji 👍🏽 zero\u200bwidth \u00a0nbsp \u3000 ideographic \x85 \x1c',
  'a▁b ▁ <x> naïve',
  '',
  'unknown ☃☃ Ω≈ç√',
  'x' * 200,
]

MODERN = ('modernbert', 'nomic_bert', 'gte')

MAKE = textwrap.dedent("""
  import io, json, struct, sys, torch
  import numpy as np, sentencepiece, transformers
  from sentence_transformers import CrossEncoder, SentenceTransformer, models

  def fields(content):
    at = 0
    def varint():
      nonlocal at
      value = shift = 0
      while True:
        byte = content[at]; at += 1
        value |= (byte & 127) << shift; shift += 7
        if byte < 128: return value
    while at < len(content):
      key = varint()
      if key & 7 == 0: yield key >> 3, varint()
      else:
        size = varint() if key & 7 == 2 else {1: 8, 5: 4}[key & 7]
        yield key >> 3, content[at:at + size]; at += size

  texts = json.load(open('texts.json'))
  torch.manual_seed(0)
  made = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(20 * texts[:7]), model_writer=made, vocab_size=200, model_type='unigram',
    character_coverage=0.98, hard_vocab_limit=False, minloglevel=2)
  parts = list(fields(made.getvalue()))
  pieces = [dict(fields(value)) for key, value in parts if key == 1]
  pieces = [(piece[1].decode(), struct.unpack('<f', piece[2])[0]) for piece in pieces][3:]
  charsmap = dict(fields(next(value for key, value in parts if key == 3)))[2]
  vocab = [('<s>', 0.0), ('<pad>', 0.0), ('</s>', 0.0), ('<unk>', 0.0), *pieces, ('<mask>', 0.0)]
  tokenizer = transformers.XLMRobertaTokenizerFast(vocab=vocab, _spm_precompiled_charsmap=charsmap)
  shape = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, initializer_range=0.3)
  xlmr = dict(shape, vocab_size=len(vocab), max_position_embeddings=66, type_vocab_size=1, layer_norm_eps=1e-5)
  transformers.XLMRobertaModel(transformers.XLMRobertaConfig(**xlmr)).save_pretrained('base')
  tokenizer.save_pretrained('base')
  ranker = transformers.XLMRobertaForSequenceClassification(transformers.XLMRobertaConfig(**xlmr, num_labels=1))
  ranker.save_pretrained('rank-xlmr'); tokenizer.save_pretrained('rank-xlmr')
  words = sorted({word for text in texts for word in text.lower().split() if word.isascii()})
  letters = [chr(c) for c in range(33, 127)]
  open('vocab.txt', 'w').write('\\n'.join(
    dict.fromkeys(['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *letters, *('##' + c for c in letters), *words])))
  bert_words = transformers.BertTokenizerFast('vocab.txt')
  bert = transformers.BertConfig(**shape, vocab_size=len(bert_words), max_position_embeddings=64, num_labels=1)
  transformers.BertForSequenceClassification(bert).save_pretrained('rank-bert'); bert_words.save_pretrained('rank-bert')
  modules = [models.Transformer('base', max_seq_length=64), models.Pooling(32, 'cls'), models.Normalize()]
  encoder = SentenceTransformer(modules=modules, prompts={'query': 'query: ', 'document': 'passage: '})
  encoder.save('encoder')
  json.dump([tokenizer(text, add_special_tokens=False)['input_ids'] for text in texts], open('ids.json', 'w'))
  found = {'query': encoder.encode_query(texts), 'passage': encoder.encode_document(texts)}

  # Byte-level BPE as ModernBERT has it: NFC, special tokens by their text, runs of spaces as tokens of their own.
  import tokenizers
  from tokenizers import normalizers, pre_tokenizers, processors, trainers
  bytes_ = tokenizers.Tokenizer(tokenizers.models.BPE())
  bytes_.normalizer = normalizers.NFC()
  bytes_.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  roles = ['[CLS]', '[SEP]', '[PAD]', '[MASK]', '[UNK]']
  trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=roles, show_progress=False,
                                initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
  bytes_.train_from_iterator(20 * texts[:7], trainer)
  bytes_.add_tokens([tokenizers.AddedToken('  ', normalized=True)])
  bytes_.post_processor = processors.TemplateProcessing(
    single='[CLS] $A [SEP]', pair='[CLS] $A [SEP] $B [SEP]', special_tokens=[('[CLS]', 0), ('[SEP]', 1)])
  byte_level = transformers.PreTrainedTokenizerFast(
    tokenizer_object=bytes_, **{role[1:-1].lower() + '_token': role for role in roles})
  modern = dict(
    modernbert=dict(shape, num_hidden_layers=4, vocab_size=len(byte_level), local_attention=6, pad_token_id=2),
    nomic_bert=dict(shape, vocab_size=len(bert_words)),
    gte=dict(shape, vocab_size=len(vocab), hidden_dropout_prob=0.0))
  words_of = dict(modernbert=byte_level, nomic_bert=bert_words, gte=tokenizer)
  kinds = dict(modernbert='ModernBert', nomic_bert='NomicBert', gte='Gte')
  def shaken(model):  # norms and biases are not what they begin as
    with torch.no_grad():
      for tensor in model.parameters():
        tensor.add_(0.1 * torch.randn_like(tensor))
    return model
  for kind, config in modern.items():
    config = getattr(transformers, kinds[kind] + 'Config')(**config, max_position_embeddings=128)
    shaken(getattr(transformers, kinds[kind] + 'Model')(config)).save_pretrained('base-' + kind)
    words_of[kind].save_pretrained('base-' + kind)
    modules = [models.Transformer('base-' + kind, max_seq_length=128), models.Pooling(32, 'mean')]
    made = SentenceTransformer(modules=modules, prompts={'query': 'query: ', 'document': ''})
    made.save('encoder-' + kind)
    unit = dict(normalize_embeddings=True)
    found |= {'query-' + kind: made.encode_query(texts, **unit), 'passage-' + kind: made.encode_document(texts, **unit)}
    config.num_labels, config.classifier_pooling = 1, 'mean'
    ranker = shaken(getattr(transformers, kinds[kind] + 'ForSequenceClassification')(config))
    ranker.save_pretrained('rank-' + kind); words_of[kind].save_pretrained('rank-' + kind)
  ids = [byte_level(text, add_special_tokens=False)['input_ids'] for text in texts]
  json.dump(ids, open('ids-modernbert.json', 'w'))

  pairs = [(texts[0], text) for text in texts] + [(text, texts[2]) for text in texts]
  for name in ('rank-xlmr', 'rank-bert', *('rank-' + kind for kind in modern)):
    found[name] = CrossEncoder(name, max_length=64).predict(pairs, activation_fn=torch.nn.Identity())
  np.savez('found.npz', **found)
""")


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  if not PEER:
    pytest.skip('MLSD_PEER_PYTHON names no interpreter with sentence-transformers and sentencepiece')
  folder = tmp_path_factory.mktemp('peer')
  (folder / 'texts.json').write_text(json.dumps(TEXTS))
  done = subprocess.run([PEER, '-c', MAKE], cwd=folder, capture_output=True, text=True, check=False)
  assert not done.returncode, done.stderr[-3000:]
  return folder, np.load(folder / 'found.npz')


def test_ids_are_hugging_faces(made):
  folder, _ = made
  tokenizer = load_encoder(folder / 'encoder').model.tokenizer
  theirs = json.loads((folder / 'ids.json').read_text())
  assert [tokenizer.first_ids(text, None) for text in TEXTS] == theirs
  assert any(tokenizer.special_tokens['[UNK]'] in ids for ids in theirs)


def test_byte_level_ids_are_hugging_faces(made):
  folder, _ = made
  tokenizer = load_encoder(folder / 'encoder-modernbert').model.tokenizer
  theirs = json.loads((folder / 'ids-modernbert.json').read_text())
  assert [tokenizer.first_ids(text, None) for text in TEXTS] == theirs


@pytest.mark.parametrize('kind', ['query', 'passage'])
@pytest.mark.parametrize('name', ['', *(f'-{each}' for each in MODERN)])
def test_vectors_are_sentence_transformers(made, tmp_path, kind, name):
  folder, found = made
  encoder = load_encoder(f'hf:{folder / f"encoder{name}"}')
  np.testing.assert_allclose(encoder.encode(TEXTS, kind), found[kind + name], atol=1e-4)
  saved = load_encoder(encoder.save(tmp_path / 'saved'))
  np.testing.assert_array_equal(saved.encode(TEXTS, kind), encoder.encode(TEXTS, kind))


@pytest.mark.parametrize('name', ['rank-xlmr', 'rank-bert', *(f'rank-{each}' for each in MODERN)])
def test_scores_of_pairs_are_sentence_transformers(made, tmp_path, name):
  folder, found = made
  ranker = load_cross_encoder(f'hf:{folder / name}', max_length=64)
  pairs = [(TEXTS[0], text) for text in TEXTS] + [(text, TEXTS[2]) for text in TEXTS]
  np.testing.assert_allclose(ranker.score_pairs(pairs), found[name], atol=1e-4)
  saved = load_cross_encoder(ranker.save(tmp_path / 'saved'))
  np.testing.assert_array_equal(saved.score_pairs(pairs), ranker.score_pairs(pairs))
