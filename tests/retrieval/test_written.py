"""Written answers: sentences that cite what says them stay, others go."""

import jax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax.language_model import chat_template, modern_folder, pretrained
from mlsd_jax.models import modern_gpt
from mlsd_jax.retrieval.answers import Citation, prompt
from mlsd_jax.retrieval.written import cited_by, is_held, write_answer
from mlsd_jax.tokenizers import BPETokenizer

QUERY = 'How do I copy a folder?'
SOURCES = [
  'shutil.copytree recursively copies an entire directory tree to a destination. It was added in version 2.3.',
  'Use tarfile to unpack compressed archives.',
]
GOOD = 'shutil.copytree copies the entire directory tree [1].'


@pytest.mark.parametrize(
  ('sentence', 'held'),
  [
    (GOOD, True),
    ('shutil.copytree copies the entire directory tree. [1]', True),
    ('shutil.copytree copies an entire directory tree, and tarfile unpacks archives [1][2].', True),
    ('shutil.copytree copies an entire directory tree, and tarfile unpacks archives [1, 2].', True),
    ('shutil.copytree copies the entire directory tree.', False),  # cites nothing
    ('shutil.copytree copies the entire directory tree [2].', False),  # the other source does not say it
    ('shutil.copytree copies the entire directory tree [3].', False),  # there is none
    ('Elephants never forget their friends [1].', False),
    ('shutil.copytree was added in version 2.3 [1].', True),
    ('shutil.copytree was added in version 3.2 [1].', False),  # a number of its own
    ('To copy a folder, use copytree [2].', False),
    ('[1]', False),
  ],
)
def test_a_sentence_stays_if_what_it_cites_says_it(sentence, held):
  assert is_held(sentence, QUERY, SOURCES) is held


def test_citations_are_read_one_by_one_or_together():
  assert cited_by('a [1] b [2, 10][3]') == [1, 2, 10, 3]


TEXTS = [
  f'{GOOD} Elephants never forget [2]. Use tarfile to unpack archives. [2] And so on',
  'Use tarfile to unpack archives. [2][1]\nshutil.copytree recursively copies a tree. [1]',
  GOOD,
  '',
  '[1] [2]',
]


@pytest.mark.parametrize('text', TEXTS)
@given(st.lists(st.integers(1, 12), max_size=40))
def test_streamed_in_any_pieces_the_same_sentences_stay(text, sizes):
  def write(prompt, on_text=None):
    if on_text is not None:
      rest = text
      for size in sizes:
        on_text(rest[:size])
        rest = rest[size:]
      on_text(rest)
    return text

  heard = []
  whole = write_answer(write, 'prompt', QUERY, SOURCES)
  streamed = write_answer(write, 'prompt', QUERY, SOURCES, heard.append)
  assert streamed == whole
  assert ' '.join(heard) == whole.text


def test_what_stays_and_what_goes():
  found = write_answer(lambda prompt: TEXTS[0], 'prompt', QUERY, SOURCES)
  assert found.text == f'{GOOD} Use tarfile to unpack archives. [2]'
  assert found.dropped == ('Elephants never forget [2].', 'And so on')


def test_a_sentence_is_told_before_the_next_one_is_whole():
  heard = []

  def write(prompt, on_text):
    on_text(GOOD)
    assert heard == []  # a citation may follow
    on_text(' And')
    assert heard == [GOOD]
    return ''

  write_answer(write, 'prompt', QUERY, SOURCES, heard.append)


def test_an_instruct_model_of_random_weights_is_asked_in_its_template_and_nothing_of_it_stays(tmp_path):
  config = modern_gpt.ModernGPTConfig(
    vocab_size=259, context_length=512, num_layers=1, num_heads=2, embed_dim=16, tied_head=True, init_stddev=0.5
  )
  tokenizer = BPETokenizer([], special_tokens={'<|im_start|>': 256, '<|im_end|>': 257, '<|endoftext|>': 258})
  params = jax.jit(modern_gpt.init, static_argnums=1)(jax.random.key(0), config)
  modern_folder.save_modern(params, config, tmp_path / 'instruct', tokenizer)
  (tmp_path / 'instruct' / 'chat_template.jinja').write_text(chat_template.CHATML.source)
  writer = pretrained.writer(f'hf:{tmp_path}/instruct', max_new_tokens=12)
  assert writer.template is not None
  asked = prompt(QUERY, [Citation('p', 'Copying', 0, 9, text, 1.0) for text in SOURCES])
  pieces, heard = [], []
  whole = writer(asked, on_text=pieces.append)
  assert whole == ''.join(pieces) == writer(asked)
  found = write_answer(writer, asked, QUERY, SOURCES, heard.append)
  assert (found.text, heard) == ('', [])
  assert ' '.join(whole.split()) == ' '.join(found.dropped)
