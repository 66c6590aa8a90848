"""MinHash estimates Jaccard similarity, and groups are those of near texts only."""

import random

import numpy as np

from mlsd_jax.retrieval.near_duplicates import groups, signatures


def words(rng, number):
  return [''.join(rng.choices('abcdefghij', k=5)) for _ in range(number)]


def jaccard(a, b, run=5):
  shingles = [{tuple(text.split()[i : i + run]) for i in range(len(text.split()) - run + 1)} for text in (a, b)]
  return len(shingles[0] & shingles[1]) / len(shingles[0] | shingles[1])


def test_signatures_estimate_jaccard():
  rng = random.Random(0)
  base = words(rng, 300)
  for changes in (0, 3, 10, 40, 300):
    other = list(base)
    for place in rng.sample(range(300), changes):
      other[place] = words(rng, 1)[0]
    a, b = ' '.join(base), ' '.join(other)
    found = (np.equal(*signatures([a, b], hashes=512))).mean()
    assert abs(found - jaccard(a, b)) < 0.09  # four standard deviations of 512 draws


def test_editions_of_a_page_are_one_group_and_others_are_not():
  rng = random.Random(1)
  texts = []
  for _ in range(20):
    base = words(rng, 200)
    texts += [' '.join(base), ' '.join([*base[:100], 'changed', *base[101:]]), ' '.join(words(rng, 200))]
  found = groups(signatures(texts), threshold=0.8)
  for i in range(0, 60, 3):
    assert found[i] == found[i + 1] == i
    assert found[i + 2] == i + 2


def test_short_and_empty_texts():
  found = groups(signatures(['', 'one two', 'one two', 'two one', '']))
  assert found.tolist() == [0, 1, 1, 3, 0]
  assert groups(signatures([])).tolist() == []
