"""The tokenizer of an encoder's folder: vocab.txt or tokenizer.json. What would give other ids than ours is refused."""

import pathlib
from typing import Any

from mlsd_jax import files
from mlsd_jax.encoder.length_batches import EncoderTokenizer
from mlsd_jax.encoder.modules import read_optional
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import wordpiece
from mlsd_jax.tokenizers.bpe import BPETokenizer
from mlsd_jax.tokenizers.sentencepiece import SentencePieceTokenizer
from mlsd_jax.tokenizers.wordpiece import WordPieceTokenizer

VOCABULARY, TOKENIZER, SETTINGS = 'vocab.txt', 'tokenizer.json', 'tokenizer_config.json'
FILES = (VOCABULARY, TOKENIZER, SETTINGS)
_ROLES = ('[CLS]', '[SEP]', '[PAD]', '[MASK]', '[UNK]')
# What BERT's own tokenizer has, by Hugging Face's names in tokenizer.json; None is what a file says that says nothing.
_BERT: dict[str, dict[str, tuple[Any, ...]]] = {
  'normalizer': {
    'type': ('BertNormalizer', None),
    'clean_text': (True, None),
    'handle_chinese_chars': (True, None),
  },
  'pre_tokenizer': {'type': ('BertPreTokenizer', None)},
  'model': {
    'type': ('WordPiece', None),
    'unk_token': (wordpiece.UNKNOWN, None),
    'continuing_subword_prefix': (wordpiece.PREFIX, None),
    'max_input_chars_per_word': (wordpiece.LONGEST_WORD, None),
  },
}


def read(folder: pathlib.Path, model_type: str) -> EncoderTokenizer:
  """WordPiece where `model_type` is bert, XLM-R's pieces where it is xlm-roberta; else those or byte-level BPE.

  A text is cut at the model's own length from the left, and padding counts for nothing, whatever length tokenizer.json
  has for both: that is what sentence-transformers does. Special tokens are cut out of no text.

  Raises:
    UserError: no such file, a damaged one, or one that asks for what is not known here, by its name.
  """
  settings, content = read_optional(folder / SETTINGS), read_optional(folder / TOKENIZER)
  kind = (content.get('model') or {}).get('type')
  _check_edges(folder, settings, content)
  if kind == 'BPE' and model_type not in ('bert', 'xlm-roberta'):
    return _byte_level(folder / TOKENIZER, content)
  if model_type == 'xlm-roberta' or (kind == 'Unigram' and model_type != 'bert'):
    if not content:
      raise UserError(
        f'{folder} has no {TOKENIZER}, which transformers writes: AutoTokenizer.from_pretrained(X).save_pretrained(X)'
      )
    return SentencePieceTokenizer.from_file(folder / TOKENIZER)
  if not content and not (folder / VOCABULARY).exists():
    raise UserError(f'{folder} has neither {VOCABULARY} nor {TOKENIZER}')
  normalizer = content.get('normalizer') or {}
  lowercase = bool(normalizer.get('lowercase', settings.get('do_lower_case', True)))
  for path, part, key, allowed in (
    *(
      (folder / TOKENIZER, content.get(name) or {}, key, values)
      for name, keys in _BERT.items()
      for key, values in keys.items()
    ),
    (folder / TOKENIZER, normalizer, 'strip_accents', (lowercase, None)),
    (folder / SETTINGS, settings, 'strip_accents', (lowercase, None)),
    (folder / SETTINGS, settings, 'tokenize_chinese_chars', (True, None)),
  ):
    if (value := part.get(key)) not in allowed:
      raise UserError(f'{path} says {key}={value!r}; of a WordPiece tokenizer only {allowed[0]!r} is read')
  if (folder / VOCABULARY).exists():
    return WordPieceTokenizer.from_file(folder / VOCABULARY, lowercase=lowercase)
  vocabulary = (content.get('model') or {}).get('vocab')
  if not isinstance(vocabulary, dict):
    raise UserError(f'{folder / TOKENIZER} is no WordPiece tokenizer')
  if sorted(vocabulary.values()) != list(range(len(vocabulary))):
    raise UserError(f'{folder / TOKENIZER}: the ids of its vocabulary are not 0 to {len(vocabulary) - 1}')
  return WordPieceTokenizer(sorted(vocabulary, key=vocabulary.__getitem__), lowercase=lowercase)


def write(tokenizer: EncoderTokenizer, folder: pathlib.Path, max_length: int) -> None:
  """Writes what `read` and transformers read."""
  settings: dict[str, Any] = {'model_max_length': max_length}
  if isinstance(tokenizer, SentencePieceTokenizer):
    files.write_json(folder / TOKENIZER, tokenizer.state()['content'])
    settings |= {'tokenizer_class': 'XLMRobertaTokenizer'}
  elif isinstance(tokenizer, BPETokenizer):
    from mlsd_jax.tokenizers import tokenizer_json  # which most encoders have no need of

    tokenizer_json.save(tokenizer, folder, max_length)
    content = read_optional(folder / TOKENIZER)
    content['post_processor'] = _frame(tokenizer)
    files.write_json(folder / TOKENIZER, content)
    settings |= {'tokenizer_class': 'PreTrainedTokenizerFast'}
    settings |= {f'{role[1:-1].lower()}_token': role for role in _ROLES if role in tokenizer.special_tokens}
  else:
    (folder / VOCABULARY).write_text('\n'.join(tokenizer.vocabulary) + '\n', encoding='utf-8')
    settings |= {'tokenizer_class': 'BertTokenizer', 'do_lower_case': tokenizer.lowercase}
  files.write_json(folder / SETTINGS, settings)


def _check_edges(folder: pathlib.Path, settings: dict[str, Any], content: dict[str, Any]) -> None:
  """Raises UserError where long texts lose their beginning, or words beside the vocabulary are cut out of texts."""
  truncation = content.get('truncation') or {}
  if 'left' in (str(settings.get('truncation_side')).lower(), str(truncation.get('direction')).lower()):
    raise UserError(f'{folder} cuts long texts at their beginning (truncation_side=left); here they lose their end')
  added = next((token for token in content.get('added_tokens') or [] if not token.get('special', True)), None)
  if added is not None and (content.get('model') or {}).get('type') != 'BPE':
    raise UserError(f'{folder / TOKENIZER} adds the word {added.get("content")!r} to the vocabulary: not read here')


def _byte_level(path: pathlib.Path, content: dict[str, Any]) -> BPETokenizer:
  """Raises UserError unless a text stands between [CLS] and [SEP], and [SEP] between the texts of a pair."""
  from mlsd_jax.tokenizers import tokenizer_json

  tokenizer = tokenizer_json.load(path, framed=True)
  missing = [role for role in _ROLES[:2] if role not in tokenizer.special_tokens]
  if missing:
    raise UserError(f'{path} has no token {missing[0]}')
  processor = content.get('post_processor') or {}
  steps = processor.get('processors', [processor])
  forms: dict[str, Any] = next((step for step in steps if step.get('type') == 'TemplateProcessing'), {})
  marks = lambda form: [part['SpecialToken']['id'] if 'SpecialToken' in part else '$' for part in forms.get(form) or []]
  if marks('single') != ['[CLS]', '$', '[SEP]'] or marks('pair') != ['[CLS]', '$', '[SEP]', '$', '[SEP]']:
    raise UserError(f'{path}: its post_processor {processor.get("type")} is not [CLS] A [SEP] B [SEP]')
  return tokenizer


def _frame(tokenizer: BPETokenizer) -> dict[str, Any]:
  mark = lambda role: {'SpecialToken': {'id': role, 'type_id': 0}}
  text = lambda letter: {'Sequence': {'id': letter, 'type_id': 0}}
  single = [mark('[CLS]'), text('A'), mark('[SEP]')]
  return {
    'type': 'TemplateProcessing',
    'single': single,
    'pair': [*single, text('B'), mark('[SEP]')],
    'special_tokens': {
      role: {'id': role, 'ids': [tokenizer.special_tokens[role]], 'tokens': [role]} for role in ('[CLS]', '[SEP]')
    },
  }
