"""The merge loop against plain recounting, which is minbpe's algorithm."""

import collections
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax.data.sources import open_source
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers.merges import TIES, learn_merges
from mlsd_jax.tokenizers.patterns import PATTERNS

# A small alphabet makes repeated and overlapping pairs, where merging can go wrong.
PIECES = st.lists(
  st.binary(min_size=1, max_size=9) | st.text('ab', min_size=1, max_size=12).map(str.encode), min_size=1, max_size=20
)


def recounted_merges(pieces: dict[bytes, int], num_merges: int, ties: str) -> list[tuple[int, int]]:
  """Counts all pairs anew before each merge; a dict keeps the order of first occurrence, and max takes the first."""
  words = [(list(piece), count) for piece, count in pieces.items()]
  merges: list[tuple[int, int]] = []
  while len(merges) < num_merges:
    counts: dict[tuple[int, int], int] = {}
    for word, count in words:
      for pair in itertools.pairwise(word):
        counts[pair] = counts.get(pair, 0) + count
    if max(counts.values(), default=0) < 2:
      break
    smallest = lambda pair, counts=counts: (-counts[pair], pair)
    merges.append(max(counts, key=counts.__getitem__) if ties == 'first' else min(counts, key=smallest))
    words = [(merged(word, merges[-1], 255 + len(merges)), count) for word, count in words]
  return merges


def merged(word: list[int], pair: tuple[int, int], token: int) -> list[int]:
  new: list[int] = []
  i = 0
  while i < len(word):
    whole = tuple(word[i : i + 2]) == pair
    new.append(token if whole else word[i])
    i += 2 if whole else 1
  return new


@pytest.mark.parametrize('ties', TIES)
@given(pieces=PIECES, num_merges=st.integers(0, 40))
def test_merges_are_those_of_recounting_everything(ties, pieces, num_merges):
  counted = collections.Counter(pieces)
  assert learn_merges(counted, num_merges, ties=ties) == recounted_merges(counted, num_merges, ties)


@pytest.mark.parametrize('ties', TIES)
def test_a_text_that_is_not_cut_merges_alike(ties):
  text = b'the cat sat on the mat; the rat sat on the cat; aaaaaaa aaaa ' * 7
  assert learn_merges({text: 1}, 60, ties=ties) == recounted_merges({text: 1}, 60, ties)


def test_ties():
  pieces = {b'cd': 2, b'ab': 2, b'xy': 3}
  assert learn_merges(pieces, 3) == [(120, 121), (99, 100), (97, 98)]
  assert learn_merges(pieces, 3, ties='smallest') == [(120, 121), (97, 98), (99, 100)]


def test_a_merge_tells_how_many_tokens_it_saves():
  saved = []
  learn_merges({b'aaaa': 3, b'baa': 2, b'ab': 1}, 2, on_merge=lambda pair, tokens: saved.append((pair, tokens)))
  assert saved == [((97, 97), 3 * 2 + 2), ((256, 256), 3)]


def test_nothing_to_merge():
  assert learn_merges({}, 5) == []
  assert learn_merges({b'': 4, b'a': 4, b'bc': 1}, 5) == []


@pytest.mark.slow
@pytest.mark.parametrize('pattern', ['gpt2', 'gpt4', 'none'])
@pytest.mark.parametrize('name', ['python_docs', 'tinyshakespeare', 'novels'])
def test_merges_of_real_texts_are_those_of_recounting(name, pattern):
  try:
    text = next(document.text for document in open_source(name).documents() if len(document.text) > 20_000)[:40_000]
  except UserError as error:
    pytest.skip(str(error))
  pieces = {piece.encode(): count for piece, count in collections.Counter(PATTERNS[pattern].split(text)).items()}
  assert learn_merges(pieces, 250) == recounted_merges(pieces, 250, 'first')
