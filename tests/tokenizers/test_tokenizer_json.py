"""tokenizer.json both ways: Hugging Face's ids equal to ours."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import ByteLevelBPETokenizer, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from mlsd_jax import tokenizers
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import exchange, tokenizer_json
from mlsd_jax.tokenizers.patterns import PATTERNS

TEXT = "It's 1999 — naïve café:  two  spaces,\n\n\ttabs and 日本語 😀 the the the then there.\n   "
TEXTS = (TEXT, TEXT[::-1], ' ', '', '\r\n\0', "WE'LL say 12345678 DON'T\r\n\r\n  x")


def trained(pattern='gpt2'):
  return tokenizers.BPETokenizer.train([TEXT * 3], 300, pattern=pattern)


def gpt2():
  try:
    return tokenizers.load('gpt2')
  except UserError as error:
    pytest.skip(str(error))


@pytest.mark.parametrize(
  'make',
  [tokenizers.ByteTokenizer, gpt2, *(lambda pattern=pattern: trained(pattern) for pattern in PATTERNS)],
  ids=['bytes', 'gpt2', *(f'trained-{pattern}' for pattern in PATTERNS)],
)
def test_hugging_face_reads_the_same_ids_and_so_do_we(tmp_path, make):
  tokenizer = make()
  assert tokenizer_json.save(tokenizer, tmp_path, 64)
  theirs = Tokenizer.from_file(str(tmp_path / 'tokenizer.json'))
  back = tokenizer_json.load(tmp_path)
  for text in TEXTS:
    ids = tokenizer.encode(text).tolist()
    assert theirs.encode(text).ids == ids
    assert theirs.decode(ids) == text
    assert back.encode(text).tolist() == ids
  assert theirs.encode('<|endoftext|>').ids == [tokenizer.end_of_text]
  assert theirs.get_vocab_size() == tokenizer.vocab_size == back.vocab_size


_SUFFIXES = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r' ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+'
_FLAGS = dict.fromkeys(('single_word', 'lstrip', 'rstrip', 'normalized'), False)


def todays(kind):
  """The JSON of a tokenizer as Llama 3, Qwen 2.5 and 3 or SmolLM2 have theirs, of a small vocabulary."""
  theirs = Tokenizer(models.BPE())
  byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=kind == 'smollm2')
  if kind == 'smollm2':
    first = pre_tokenizers.Digits(individual_digits=True)
  else:
    pattern = Regex(_SUFFIXES + (r'\p{N}{1,3}|' if kind == 'llama3' else r'\p{N}|') + _REST)
    first = pre_tokenizers.Split(pattern, 'isolated')
  theirs.pre_tokenizer = pre_tokenizers.Sequence([first, byte_level])
  theirs.decoder = decoders.ByteLevel()
  order = sorted(pre_tokenizers.ByteLevel.alphabet())
  theirs.train_from_iterator([TEXT * 3], trainers.BpeTrainer(vocab_size=330, initial_alphabet=order))
  content = json.loads(theirs.to_str())
  vocab = content['model']['vocab']
  if kind == 'llama3':  # every way to cut a token as a merge, by the token's id; and two tokens that no merge makes
    merges = [[token[:i], token[i:]] for token in vocab for i in range(1, len(token))]
    merges = [pair for pair in merges if set(pair) <= vocab.keys()]
    content['model']['merges'] = sorted(merges, key=lambda pair: vocab[''.join(pair)])
    vocab |= {'zqzq': len(vocab), 'Ä': len(vocab) + 1} if 'Ä' not in vocab else {'zqzq': len(vocab)}
    content['model']['ignore_merges'] = True
  size = len(vocab)
  words = {
    'llama3': ['<|begin_of_text|>', '<|eot_id|>'],
    'qwen': ['<|im_start|>', '<think>'],
    'smollm2': ['<|im_end|>'],
  }
  content['added_tokens'] = [
    {'id': size + i, 'content': word, 'special': word != '<think>', **_FLAGS} for i, word in enumerate(words[kind])
  ]
  if kind == 'qwen':
    content['normalizer'] = {'type': 'NFC'}
  if kind == 'llama3':
    content['post_processor'] = {
      'type': 'TemplateProcessing',
      'single': [{'SpecialToken': {'id': '<|begin_of_text|>', 'type_id': 0}}, {'Sequence': {'id': 'A', 'type_id': 0}}],
      'pair': [{'Sequence': {'id': 'A', 'type_id': 0}}, {'Sequence': {'id': 'B', 'type_id': 0}}],
      'special_tokens': {
        '<|begin_of_text|>': {'id': '<|begin_of_text|>', 'ids': [size], 'tokens': ['<|begin_of_text|>']}
      },
    }
  return content


@pytest.mark.parametrize('kind', ['llama3', 'qwen', 'smollm2'])
def test_todays_tokenizers_give_hugging_faces_ids_and_are_written_as_such(tmp_path, kind):
  theirs = Tokenizer.from_str(json.dumps(todays(kind)))
  (tmp_path / 'one').mkdir()
  theirs.save(str(tmp_path / 'one' / 'tokenizer.json'))
  ours = tokenizer_json.load(tmp_path / 'one')
  (tmp_path / 'two').mkdir()
  tokenizer_json.save(ours, tmp_path / 'two')
  exported = Tokenizer.from_file(str(tmp_path / 'two' / 'tokenizer.json'))
  stored = tokenizers.load(ours.save(tmp_path / 'stored.json'))
  assert stored.fingerprint == ours.fingerprint

  @given(st.text(st.sampled_from(TEXT + "zqZ\u0301e\u0301 'S12³½\r\n\t"), max_size=30))
  def check(text):
    ids = ours.encode(text).tolist()
    assert ids == ours.encode_readably(text) == stored.encode(text).tolist()
    for other in (theirs, exported):
      assert other.encode(text, add_special_tokens=False).ids == ids
    assert theirs.decode(ids) == ours.decode(ids)

  check()
  for text in (*TEXTS, 'zqzq zqzq', 'a <think>b</think> c', '12345 6'):
    assert ours.encode(text).tolist() == theirs.encode(text, add_special_tokens=False).ids
  begin = [] if ours.begin_of_text is None else [ours.begin_of_text]
  assert (kind == 'llama3') == bool(begin)
  for other in (theirs, exported):
    assert other.encode(TEXT).ids == begin + ours.encode(TEXT).tolist()
  special = ''.join(f'{text} x' for text in ours.special_tokens)
  assert ours.encode(special, 'all').tolist() == theirs.encode(special, add_special_tokens=False).ids


def test_one_that_hugging_face_trained_is_read(tmp_path):
  theirs = Tokenizer(models.BPE())
  theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  theirs.decoder = decoders.ByteLevel()
  order = sorted(pre_tokenizers.ByteLevel.alphabet())
  theirs.train_from_iterator([TEXT * 3], trainers.BpeTrainer(vocab_size=320, initial_alphabet=order))
  theirs.save(str(tmp_path / 'tokenizer.json'))
  ours = tokenizer_json.load(tmp_path)
  for text in TEXTS:
    assert ours.encode(text).tolist() == theirs.encode(text).ids


def test_merges_are_those_that_were_learned():
  bpe = trained()
  assert len(bpe.merges) > 30
  assert exchange.recover_merges(bpe.ranks) == bpe.merges


def test_bytes_are_spelled_by_256_different_letters():
  letters = tokenizer_json.byte_letters()
  assert sorted(letters) == list(range(256))
  assert len(set(letters.values())) == 256
  assert [letters[byte] for byte in b'a \n'] == ['a', 'Ġ', 'Ċ']  # as in GPT-2's published vocabulary


def test_characters_cannot_be_expressed(tmp_path):
  assert not tokenizer_json.save(tokenizers.CharacterTokenizer('abc'), tmp_path, 8)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda c: c['model'].update(type='WordPiece'), 'model WordPiece'),
    (lambda c: c.update(normalizer={'type': 'NFKC'}), 'NFKC'),
    (lambda c: c.update(pre_tokenizer={'type': 'Whitespace'}), r"cannot read pre-tokenizers \['Whitespace'\]"),
    (lambda c: c['model']['merges'].append(['x', 'nowhere']), "the merge 'x nowhere' has 'nowhere', which has no id"),
    (lambda c: c['model']['vocab'].update(zzz=max(c['model']['vocab'].values())), "and 'zzz' both have the id"),
    (lambda c: c['model']['vocab'].update(a=999), '256 bytes'),
    (lambda c: c.pop('model'), 'no whole tokenizer.json'),
  ],
)
def test_what_is_no_byte_level_bpe_is_refused(tmp_path, change, message):
  tokenizer_json.save(trained(), tmp_path)
  content = json.loads((tmp_path / 'tokenizer.json').read_text())
  change(content)
  (tmp_path / 'tokenizer.json').write_text(json.dumps(content))
  with pytest.raises(UserError, match=message):
    tokenizer_json.load(tmp_path)


FRONT = ['<s>', '<pad>', '</s>', '<unk>']
SPELLED = st.text(max_size=60).filter(lambda text: not any(token in text for token in [*FRONT, '<|endoftext|>']))


def published(folder, special=FRONT, *, order='merges'):
  """A vocab.json and merges.txt as Hugging Face writes them, ids in the order of merging or in any; their reader."""
  theirs = ByteLevelBPETokenizer()
  theirs.train_from_iterator([TEXT * 3], vocab_size=330, special_tokens=special, show_progress=False)
  theirs.save_model(str(folder))
  vocab = json.loads((folder / 'vocab.json').read_text())
  if order == 'shuffled':
    places = sorted(vocab, key=lambda token: token[::-1])
    vocab = {token: number for number, token in enumerate(places)}
  elif order == 'end':
    vocab['<|endoftext|>'] = len(vocab)
  (folder / 'vocab.json').write_text(json.dumps(vocab))
  return ByteLevelBPETokenizer(str(folder / 'vocab.json'), str(folder / 'merges.txt'))


@pytest.mark.parametrize(('special', 'order'), [(FRONT, 'merges'), (FRONT, 'shuffled'), ([], 'end'), ([], 'merges')])
def test_vocab_and_merges_give_their_ids(tmp_path, special, order):
  theirs = published(tmp_path, special, order=order)
  ours = tokenizer_json.load(tmp_path)
  again = tokenizers.load(ours.save(tmp_path / 'ours.json'))
  back = published_again(ours, tmp_path / 'back')
  assert again.fingerprint == ours.fingerprint
  assert ours.vocab_size == theirs.get_vocab_size()

  @given(SPELLED)
  def check(text):
    ids = ours.encode(text).tolist()
    assert ids == theirs.encode(text).ids == again.encode(text).tolist() == ours.encode_readably(text)
    assert ids == back.encode(text).ids
    assert ours.decode(ids) == text

  check()
  for number in range(ours.vocab_size):
    token = ours.tokens[number]
    if token.isascii() and theirs.id_to_token(number) not in special:
      assert theirs.decode([number]).encode() == token
  broken = TEXT.encode() + b'\xff'
  assert ours.encode_bytes(broken).tolist() == ours.encode_bytes_readably(broken)


def published_again(tokenizer, folder):
  folder.mkdir()
  assert tokenizer_json.save(tokenizer, folder)
  return Tokenizer.from_file(str(folder / 'tokenizer.json'))


def test_special_tokens_in_front_of_a_tokenizer_json(tmp_path):
  theirs = Tokenizer(models.BPE())
  theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  theirs.decoder = decoders.ByteLevel()
  alphabet = pre_tokenizers.ByteLevel.alphabet()
  theirs.train_from_iterator(
    [TEXT * 3], trainers.BpeTrainer(vocab_size=320, special_tokens=FRONT, initial_alphabet=alphabet)
  )
  theirs.save(str(tmp_path / 'tokenizer.json'))
  ours = tokenizer_json.load(tmp_path)
  assert ours.special_tokens == {token: number for number, token in enumerate(FRONT)}
  for text in TEXTS:
    assert ours.encode(text).tolist() == theirs.encode(text).ids


@pytest.mark.parametrize(
  ('file', 'content'),
  [
    ('special_tokens_map.json', {'eos_token': '</s>'}),
    ('special_tokens_map.json', {'eos_token': {'content': '</s>', 'lstrip': False}}),
    ('tokenizer_config.json', {'eos_token': '</s>', 'added_tokens_decoder': {'2': {'content': '</s>'}}}),
  ],
)
@pytest.mark.parametrize('form', ['vocab.json', 'tokenizer.json'])
def test_what_ends_a_text_is_what_their_files_say(tmp_path, file, content, form):
  published(tmp_path)
  if form == 'tokenizer.json':
    tokenizer_json.save(tokenizer_json.load(tmp_path), tmp_path)
    (tmp_path / 'vocab.json').unlink()
    (tmp_path / 'tokenizer_config.json').unlink()
  assert tokenizer_json.load(tmp_path).end_of_text is None
  (tmp_path / file).write_text(json.dumps(content))
  found = tokenizer_json.load(tmp_path)
  assert found.end_of_text == 2
  assert tokenizers.load(found.save(tmp_path / 'ours.json')).end_of_text == 2
  assert found.fingerprint != found.ended_by(0).fingerprint


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda f: (f / 'merges.txt').unlink(), r'half of a tokenizer: merges\.txt is not beside it'),
    (lambda f: (f / 'merges.txt').write_text('#version: 0.2\na b c\n'), "the merge 'a b c' is not of two tokens"),
    (lambda f: (f / 'merges.txt').write_text('q nowhere\n'), "the merge 'q nowhere' has 'nowhere', which has no id"),
    (lambda f: (f / 'merges.txt').write_bytes(b'\xff'), 'is not UTF-8'),
    (lambda f: (f / 'vocab.json').write_text('{"a": 0}'), '255 of the 256 bytes have no id'),
    (lambda f: (f / 'vocab.json').write_text('[]'), 'vocab.json'),
    (lambda f: (f / 'tokenizer_config.json').write_text('{"add_prefix_space": true}'), 'add_prefix_space=True'),
    (
      lambda f: (f / 'added_tokens.json').write_text('{"the": 300}'),
      "the special token 'the' is a token of texts, too",
    ),
    (lambda f: (f / 'special_tokens_map.json').write_text('[]'), 'holds no JSON object'),
  ],
)
def test_a_vocabulary_that_is_none_is_refused(tmp_path, change, message):
  published(tmp_path)
  change(tmp_path)
  with pytest.raises(UserError, match=message) as caught:
    tokenizer_json.load(tmp_path)
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda c: c['model'].update(dropout=0.1), 'dropout=0.1'),
    (lambda c: c.update(normalizer={'type': 'Lowercase'}), 'normalizer'),
    (lambda c: c['model'].update(end_of_word_suffix='</w>'), 'end_of_word_suffix'),
    (lambda c: c['pre_tokenizer'].update(add_prefix_space=True), 'add_prefix_space=True'),
    (
      lambda c: c.update(
        pre_tokenizer={
          'type': 'Sequence',
          'pretokenizers': [
            {'type': 'Split', 'pattern': {'Regex': ' '}, 'behavior': 'Removed', 'invert': False},
            {'type': 'ByteLevel', 'add_prefix_space': False, 'use_regex': False},
          ],
        }
      ),
      'behavior=Removed, invert=False of its Split',
    ),
  ],
)
def test_what_would_give_other_ids_is_refused(tmp_path, change, message):
  tokenizer_json.save(trained(), tmp_path)
  content = json.loads((tmp_path / 'tokenizer.json').read_text())
  change(content)
  (tmp_path / 'tokenizer.json').write_text(json.dumps(content))
  with pytest.raises(UserError, match=message):
    tokenizer_json.load(tmp_path)


@pytest.mark.parametrize('special', [True, False])
@pytest.mark.parametrize('normalizer', [None, 'NFC'])
def test_what_added_tokens_ask_of_the_text_around_them_is_theirs(tmp_path, special, normalizer):
  """White space that is part of them, whole words alone, looked for before or behind the normaliser."""
  content = todays('qwen') | {'normalizer': normalizer and {'type': normalizer}, 'added_tokens': []}
  asks = {
    '<left>': ['lstrip'], '<right>': ['rstrip'], 'both': ['lstrip', 'rstrip', 'single_word'], 'word': ['single_word'],
    '<e': ['normalized'], '  ': ['normalized', 'rstrip'],
  }  # fmt: skip
  size = len(content['model']['vocab'])
  for number, (text, names) in enumerate(asks.items()):
    flags = _FLAGS | dict.fromkeys(names, True)
    content['added_tokens'].append({'id': size + number, 'content': text, 'special': special, **flags})
  theirs = Tokenizer.from_str(json.dumps(content))
  (tmp_path / 'tokenizer.json').write_text(json.dumps(content))
  ours = tokenizer_json.load(tmp_path)
  stored = tokenizers.load(ours.save(tmp_path / 'stored.json'))
  exported = published_again(ours, tmp_path / 'back')
  assert stored.fingerprint == ours.fingerprint
  some = [*asks, 'a', '_', ' ', '\n', '\x1c', '\u3000', 'e', '\u0301', '1', '²', '.', '\u200d']

  @given(st.lists(st.sampled_from(some), max_size=8).map(''.join))
  def check(text):
    ids = theirs.encode(text, add_special_tokens=False).ids
    assert ids == exported.encode(text, add_special_tokens=False).ids
    for each in (ours, stored):
      assert ids == each.encode(text, 'all').tolist() == each.encode_readably(text, asks)
    assert special or ids == ours.encode(text).tolist()

  check()


def test_added_words_of_files_without_a_tokenizer_json_are_theirs(tmp_path):
  published(tmp_path)
  mask = {'content': '<mask>', 'lstrip': True, 'normalized': False, 'rstrip': False, 'single_word': False}
  (tmp_path / 'added_tokens.json').write_text('{"<mask>": 330}')
  (tmp_path / 'special_tokens_map.json').write_text(json.dumps({'mask_token': mask}))
  ours = tokenizer_json.load(tmp_path)
  the = ours.encode('the').tolist()
  assert ours.encode('the \n<mask>the', 'all').tolist() == [*the, 330, *the]


@pytest.mark.parametrize(
  ('change', 'line'),
  [
    ({'truncation': {'max_length': 4, 'stride': 0}}, 'truncation={"max_length": 4, "stride": 0}: left out here'),
    ({'padding': {'strategy': {'Fixed': 9}}}, 'padding={"strategy": {"Fixed": 9}}: left out here'),
    (
      {'post_processor': {'type': 'RobertaProcessing', 'sep': ['</s>', 1], 'cls': ['<s>', 0]}},
      'put behind every text (RobertaProcessing): left out here',
    ),
  ],
)
def test_what_is_done_to_whole_texts_is_told(tmp_path, caplog, change, line):
  tokenizer_json.save(trained(), tmp_path)
  plain = tokenizer_json.load(tmp_path)
  assert not caplog.messages
  content = json.loads((tmp_path / 'tokenizer.json').read_text()) | change
  (tmp_path / 'tokenizer.json').write_text(json.dumps(content))
  assert tokenizer_json.load(tmp_path).encode(TEXT).tolist() == plain.encode(TEXT).tolist()
  assert len(caplog.messages) == 1
  assert line in caplog.messages[0]
