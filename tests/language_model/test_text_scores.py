"""Scores against what can be computed one sequence at a time, and JSONL rows that are not as they should be."""

import functools
import json
import math
import os
import random
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlsd_jax import tokenizers
from mlsd_jax.data.batches import BatchList
from mlsd_jax.errors import UserError
from mlsd_jax.language_model import modern_folder, text_scores
from mlsd_jax.models import gpt, modern_gpt

BYTES = tokenizers.ByteTokenizer()
CONFIG = gpt.GPTConfig(vocab_size=BYTES.vocab_size, context_length=64, num_layers=1, num_heads=2, embed_dim=16)
apply = jax.jit(gpt.apply, static_argnums=2)


@functools.cache
def params():
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(lambda: gpt.init(jax.random.key(0), CONFIG))
  return jax.tree.map(lambda leaf: jnp.asarray(0.3 * rng.normal(size=leaf.shape), jnp.float32), shapes)


def nats_of(tokens):
  """Nats of every token but the first, and whether it was the most probable."""
  padded = np.zeros((1, 64), np.int32)
  padded[0, : len(tokens) - 1] = tokens[:-1]
  logits = np.asarray(apply(params(), padded, CONFIG))[0, : len(tokens) - 1].astype(np.float64)
  log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  return -log_probs[np.arange(len(tokens) - 1), tokens[1:]], logits.argmax(-1) == tokens[1:]


def listed(*batches):
  return BatchList(len(batches), lambda number, rows: {name: array[rows] for name, array in batches[number].items()})


def test_text_scores_weigh_targets_and_convert():
  rng = np.random.default_rng(0)
  tokens = rng.integers(0, 256, (2, 2, 21)).astype(np.int32)
  weights = (rng.random((2, 2, 20)) < 0.6).astype(np.float32)
  data = listed(*({'tokens': t, 'weights': w} for t, w in zip(tokens, weights, strict=True)))
  calls = []
  score = text_scores.score_text(
    params(), CONFIG, data, num_bytes=70, progress=lambda done, total: calls.append((done, total))
  )
  nats = np.array([[nats_of(row)[0] for row in batch] for batch in tokens])
  loss = (nats * weights).sum() / weights.sum()
  assert score.loss == pytest.approx(loss, rel=1e-5)
  assert score.perplexity == pytest.approx(math.exp(loss), rel=1e-4)
  assert score.bits_per_byte == pytest.approx(loss * weights.sum() / math.log(2) / 70, rel=1e-5)
  assert score.num_tokens == weights.sum()
  assert calls == [(1, 2), (2, 2)]


def test_text_without_weights_counts_every_target():
  tokens = np.random.default_rng(0).integers(0, 256, (2, 21)).astype(np.int32)
  score = text_scores.score_text(params(), CONFIG, listed({'tokens': tokens}))
  assert score.loss == pytest.approx(np.mean([nats_of(row)[0] for row in tokens]), rel=1e-5)
  assert score.bits_per_byte is None


def test_nothing_to_score_is_said():
  empty = {'tokens': np.zeros((1, 5), np.int32), 'weights': np.zeros((1, 4), np.float32)}
  with pytest.raises(UserError, match='no target'):
    text_scores.score_text(params(), CONFIG, listed(empty))


def test_pairs_of_any_length_score_as_alone():
  """Batches, buckets and padding change nothing; what is too long loses its beginning."""
  pairs = [('a b c', ' d'), ('x' * 100, ' yz'), ('', 'h'), ('k' * 20, ' long ending of some words'), ('q', 'w' * 64)]
  scores = text_scores.score_pairs(params(), CONFIG, BYTES, pairs, tokens_per_batch=64)
  for (context, continuation), (nats, hits) in zip(pairs, scores, strict=True):
    given = BYTES.encode(context) if context else np.array([BYTES.end_of_text])
    tokens = np.concatenate([given, BYTES.encode(continuation)])[-65:]
    expected_nats, expected_hits = nats_of(tokens)
    scored = len(continuation)
    np.testing.assert_allclose(nats, expected_nats[-scored:], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(hits, expected_hits[-scored:])


def write(path, rows):
  path.write_text(''.join(json.dumps(row) + '\n' for row in rows), encoding='utf-8')
  return path


def total_nats(context, continuation):
  return nats_of(np.concatenate([BYTES.encode(context), BYTES.encode(continuation)]))[0][
    -len(continuation.encode()) :
  ].sum()


def test_hellaswag_chooses_the_likeliest_ending(tmp_path):
  rng = np.random.default_rng(0)
  word = lambda: ''.join(rng.choice(list('abcdefgh'), rng.integers(1, 9)))
  rows, right, right_normalised = [], 0, 0
  for number in range(12):
    context, endings = f'{word()} {word()}', [word() for _ in range(4)]
    label = number % 4
    rows.append({'ctx': context, 'endings': endings, 'label': label if number % 2 else str(label), 'ind': number})
    nats = [total_nats(context, f' {ending}') for ending in endings]
    right += int(np.argmin(nats)) == label
    right_normalised += int(np.argmin([n / (1 + len(e)) for n, e in zip(nats, endings, strict=True)])) == label
  assert right != right_normalised
  path = write(tmp_path / 'rows.jsonl', rows)
  score = text_scores.hellaswag(params(), CONFIG, BYTES, path)
  assert score == text_scores.ChoiceScore(right / 12, right_normalised / 12, 12)
  assert text_scores.hellaswag(params(), CONFIG, BYTES, path, limit=5).num_examples == 5


def test_lambada_wants_every_token_of_the_last_word(tmp_path):
  contexts = ['one two', 'red green', 'a b c']
  rows, hits, nats = [], [], []
  for context in contexts:
    for word in ('x', 'ab'):
      rows.append({'text': f'{context}  {word} \n'})
      tokens = np.concatenate([BYTES.encode(context), BYTES.encode(f' {word}')])
      each, hit = nats_of(tokens)
      nats.append(each[-len(word) - 1 :].sum())
      hits.append(hit[-len(word) - 1 :].all())
  score = text_scores.lambada(params(), CONFIG, BYTES, write(tmp_path / 'rows.jsonl', rows))
  assert score.num_examples == 6
  assert score.accuracy == pytest.approx(np.mean(hits))
  assert score.perplexity == pytest.approx(math.exp(np.mean(nats)), rel=1e-4)


def test_hits_are_what_greedy_decoding_gives():
  """A model whose blocks add nothing repeats its last token."""
  zeros = jax.tree.map(np.zeros_like, params())
  table = 10 * np.eye(CONFIG.vocab_size, 16, dtype=np.float32)  # ids 0 to 15 are apart, the others are zero
  norm = {'scale': np.full(16, 5.0, np.float32), 'bias': np.zeros(16, np.float32)}
  repeating = {**zeros, 'token_embedding': table, 'final_norm': norm}
  pairs = [('a\x05', '\x05\x05'), ('a\x05', '\x05\x04'), ('a\x05', 'b')]
  hits = [hits.tolist() for _, hits in text_scores.score_pairs(repeating, CONFIG, BYTES, pairs)]
  assert hits == [[True, True], [True, False], [False]]


@pytest.mark.parametrize(
  ('line', 'message'),
  [
    (b'{"ctx": "a"', 'line 2: not JSON'),
    (b'\xff\xfe', 'line 2: not UTF-8'),
    (b'[1]', "line 2: needs an object with a text 'ctx'"),
    (b'{"ctx": 3, "endings": ["a", "b"], "label": 0}', "line 2: needs an object with a text 'ctx'"),
    (b'{"ctx": "a", "endings": ["b"], "label": 0}', "line 2: needs 'endings'"),
    (b'{"ctx": "a", "endings": ["b", ""], "label": 0}', "line 2: needs 'endings'"),
    (b'{"ctx": "a", "endings": ["b", "c"], "label": 2}', "line 2: needs 'label', a number from 0 to 1, not 2"),
    (b'{"ctx": "a", "endings": ["b", "c"]}', "line 2: needs 'label'"),
    (b'{"ctx": "a", "endings": ["b", "c"], "label": true}', "line 2: needs 'label'"),
  ],
)
def test_bad_rows_are_named_by_line(tmp_path, line, message):
  path = tmp_path / 'rows.jsonl'
  path.write_bytes(b'{"ctx": "a", "endings": ["b", "c"], "label": 0}\n' + line + b'\n')
  with pytest.raises(UserError, match=message):
    text_scores.hellaswag(params(), CONFIG, BYTES, path)


def test_missing_and_empty_files_are_named(tmp_path):
  with pytest.raises(UserError, match='no such file'):
    text_scores.lambada(params(), CONFIG, BYTES, tmp_path / 'none.jsonl')
  (tmp_path / 'empty.jsonl').write_text('\n\n')
  with pytest.raises(UserError, match='no examples'):
    text_scores.lambada(params(), CONFIG, BYTES, tmp_path / 'empty.jsonl')


def test_what_cannot_be_scored_is_refused():
  with pytest.raises(UserError, match='has 65 tokens; 1 to 64'):
    text_scores.score_pairs(params(), CONFIG, BYTES, [('a', 'b' * 65)])
  small = gpt.GPTConfig(vocab_size=10, context_length=8, num_layers=1, num_heads=1, embed_dim=8)
  with pytest.raises(UserError, match='ids, but the model only 10'):
    text_scores.score_pairs(params(), small, BYTES, [('a', 'b')])


@pytest.mark.parametrize('bad', [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_an_error(bad, tmp_path):
  broken = params() | {'final_norm': jax.tree.map(lambda leaf: leaf * bad, params()['final_norm'])}
  tokens = np.arange(21, dtype=np.int32)[None]
  with pytest.raises(UserError, match=r'the loss on the text is (nan|inf): the parameters'):
    text_scores.score_text(broken, CONFIG, listed({'tokens': tokens}))
  choice, passage = tmp_path / 'choice.jsonl', tmp_path / 'passage.jsonl'
  choice.write_text(json.dumps({'ctx': 'a', 'endings': ['b', 'c'], 'label': 0}))
  passage.write_text(json.dumps({'text': 'one two three'}))
  for score, path in ((text_scores.hellaswag, choice), (text_scores.lambada, passage)):
    with pytest.raises(UserError, match=r'the loss of the continuation .* is (nan|inf)'):
      score(broken, CONFIG, BYTES, path)


def test_multiple_choice_takes_the_most_probable_answer_in_all_and_a_character(tmp_path):
  rng = np.random.default_rng(5)
  text = lambda length: ''.join(rng.choice(list('abc é'), length)) + 'x'
  rows = [
    {'context': text(9) + ' ' * (i % 2), 'choices': [text(n) for n in (2, 9, 5)], 'label': i % 3} for i in range(12)
  ]
  (tmp_path / 'rows.jsonl').write_text('\n'.join(map(json.dumps, rows)))
  nats = lambda row, choice: nats_of(BYTES.encode(f'{row["context"]} {choice}'))[0][
    len(BYTES.encode(row['context'].rstrip())) - 1 :
  ].sum()
  plain = [int(np.argmin([nats(row, choice) for choice in row['choices']])) for row in rows]
  shared = [int(np.argmin([nats(row, choice) / len(choice) for choice in row['choices']])) for row in rows]
  assert plain != shared
  found = text_scores.multiple_choice(params(), CONFIG, BYTES, tmp_path / 'rows.jsonl')
  right = lambda chosen: np.mean([one == row['label'] for one, row in zip(chosen, rows, strict=True)])
  assert (found.accuracy, found.accuracy_normalised) == (right(plain), right(shared))
  (tmp_path / 'rows.jsonl').write_text('{"context": "a", "choices": ["b"], "label": 0}')
  with pytest.raises(UserError, match=r"line 1: needs 'choices', a list of two or more"):
    text_scores.multiple_choice(params(), CONFIG, BYTES, tmp_path / 'rows.jsonl')


LM_EVAL = """
import json, pathlib, sys
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager
folder, file, out = sys.argv[1:]
pathlib.Path(out, 'made.yaml').write_text(f'''
task: made
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{context}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: label
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
''')
found = simple_evaluate(model='hf', model_args=f'pretrained={folder},dtype=float32', tasks=['made'], device='cpu',
                        task_manager=TaskManager(include_path=out), batch_size=4, bootstrap_iters=0)
print(json.dumps({k: v for k, v in found['results']['made'].items() if isinstance(v, float)}))
"""


@pytest.mark.skipif(
  'MLSD_PEER_PYTHON' not in os.environ, reason='MLSD_PEER_PYTHON names no interpreter with torch and lm_eval'
)
def test_multiple_choice_has_the_figures_of_lm_evaluation_harness(tmp_path):
  """A random model on 60 questions, with contexts that end in spaces, that are empty or that do not fit."""
  rng = random.Random(0)
  words = ['the', 'cat', 'naïve', 'ran', 'far—away', '12', 'and', 'so', 'on.', "it's"]
  text = lambda most: ' '.join(rng.choices(words, k=rng.randint(1, most)))
  rows = [
    {
      'context': text(90 if i % 9 == 0 else 12) + ' ' * (i % 4 == 0),
      'choices': [text(5) for _ in range(4)],
      'label': i % 4,
    }
    for i in range(60)
  ]
  file = tmp_path / 'rows.jsonl'
  file.write_text('\n'.join(map(json.dumps, rows)))
  tokenizer = tokenizers.BPETokenizer.train([' '.join(words) * 9], 300)
  config = modern_gpt.ModernGPTConfig(
    vocab_size=tokenizer.vocab_size, context_length=64, num_layers=1, num_heads=2, embed_dim=32, init_stddev=0.4,
    embedding_stddev=0.4,
  )  # fmt: skip
  params = modern_gpt.init(jax.random.key(0), config)
  folder = modern_folder.save_modern(params, config, tmp_path / 'model', tokenizer)
  command = [os.environ['MLSD_PEER_PYTHON'], '-c', LM_EVAL, folder, file, tmp_path]
  run = subprocess.run(command, capture_output=True, text=True, env=os.environ | {'HF_HUB_OFFLINE': '1'})
  assert run.returncode == 0, run.stderr
  theirs = json.loads(run.stdout.splitlines()[-1])
  ours = text_scores.multiple_choice(params, config, tokenizer, file)
  assert 0.1 < ours.accuracy < 0.6
  assert ours.accuracy != ours.accuracy_normalised
  assert ours.accuracy == pytest.approx(theirs['acc,none'])
  assert ours.accuracy_normalised == pytest.approx(theirs['acc_norm,none'])
