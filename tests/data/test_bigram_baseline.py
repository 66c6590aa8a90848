import collections
import itertools
import math
import pathlib

import numpy as np
import pytest

from mlsd_jax.data import bigram_baseline
from mlsd_jax.data.bigram_baseline import bigram_val_loss
from mlsd_jax.data.prepare import prepare
from mlsd_jax.data.sources import open_source
from mlsd_jax.data.tokens import TokenDataset
from mlsd_jax.tokenizers import CharacterTokenizer


def dataset(tokens: list[int], vocab_size: int, folder: pathlib.Path) -> TokenDataset:
  text = ''.join(chr(97 + token) for token in tokens)
  (folder / f'{text}.txt').write_text(text)
  tokenizer = CharacterTokenizer(''.join(chr(97 + i) for i in range(vocab_size)))
  prepared = prepare(open_source(str(folder / f'{text}.txt')), tokenizer, folder / text, val_fraction=0)
  return TokenDataset.open(prepared, 'train')


def reference(train: list[int], val: list[int], vocab_size: int) -> float:
  pairs = collections.Counter(itertools.pairwise(train))
  once = sum(count == 1 for count in pairs.values())
  twice = sum(count == 2 for count in pairs.values())
  discount = once / (once + 2 * twice) if once else 0.5
  nats = []
  for given, scored in itertools.pairwise(val):
    continuation = (sum(b == scored for _, b in pairs) + 1) / (len(pairs) + vocab_size)
    total = sum(count for (a, _), count in pairs.items() if a == given)
    followers = sum(a == given for a, _ in pairs)
    if total == 0:
      probability = continuation
    else:
      probability = max(pairs[given, scored] - discount, 0) / total + discount * followers / total * continuation
    nats.append(-math.log(probability))
  return sum(nats) / len(nats)


@pytest.mark.parametrize('seed', range(4))
def test_it_is_interpolated_kneser_ney(seed: int, tmp_path, monkeypatch):
  monkeypatch.setattr(bigram_baseline, '_CHUNK', 7)
  rng = np.random.default_rng(seed)
  train = rng.integers(0, 5, 60).tolist()
  val = rng.integers(0, 7, 30).tolist()  # with tokens that were never seen
  found = bigram_val_loss(dataset(train, 7, tmp_path), dataset(val, 7, tmp_path))
  assert found == pytest.approx(reference(train, val, 7), rel=1e-9)


@pytest.mark.parametrize('given', [0, 6])
def test_probabilities_sum_to_one_after_seen_and_unseen_tokens(given: int, tmp_path):
  train = dataset([0, 1, 0, 2, 0, 1, 3, 0, 0, 4, 5, 0], 7, tmp_path)
  total = sum(math.exp(-bigram_val_loss(train, dataset([given, scored], 7, tmp_path))) for scored in range(7))
  assert total == pytest.approx(1)


def test_only_so_many_tokens_are_counted(tmp_path):
  train, shorter = dataset([0, 1, 2, 1, 0, 2, 2, 2], 3, tmp_path), dataset([0, 1, 2, 1], 3, tmp_path)
  val = dataset([0, 2, 1, 0], 3, tmp_path)
  assert bigram_val_loss(train, val, max_train_tokens=4) == bigram_val_loss(shorter, val) != bigram_val_loss(train, val)


def test_it_beats_adding_one_on_words_and_equals_it_on_characters(real_data, tmp_path):
  source = open_source('tinyshakespeare')
  tokenizer = CharacterTokenizer.train(document.text for document in source.documents())
  folder = prepare(source, tokenizer, tmp_path, split='contiguous')
  train, val = (TokenDataset.open(folder, split) for split in ('train', 'val'))
  tokens = train.read(0, len(train)).astype(np.int64)
  counts = np.bincount(tokens[:-1] * 65 + tokens[1:], minlength=65 * 65).reshape(65, 65) + 1
  probabilities = counts / counts.sum(1, keepdims=True)
  scored = val.read(0, len(val))
  adding_one = -np.log(probabilities[scored[:-1], scored[1:]]).mean()
  assert bigram_val_loss(train, val) == pytest.approx(adding_one, abs=0.01)
