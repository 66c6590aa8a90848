import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import CharacterTokenizer


def test_the_vocabulary_is_the_sorted_distinct_characters():
  tokenizer = CharacterTokenizer.train(['hello', ' world'])
  assert tokenizer.characters == ' dehlorw'
  assert tokenizer.encode('lo').tolist() == [4, 5]


@pytest.mark.parametrize('character', ['b', 'é', '🙂', '\U0010ffff', '\x00'])
def test_an_unseen_character_is_named_with_its_position(character: str):
  with pytest.raises(UserError) as error:
    CharacterTokenizer('ac').encode('aca' + character + 'a')
  assert repr(character) in str(error.value)
  assert f'U+{ord(character):04X}' in str(error.value)
  assert 'position 3' in str(error.value)


@pytest.mark.parametrize('characters', ['', 'ba', 'aa'])
def test_a_vocabulary_must_be_sorted_and_distinct(characters: str):
  with pytest.raises(UserError, match='sorted'):
    CharacterTokenizer(characters)
