"""Options under which each experiment runs to its end in seconds; the fixture `folder` has the data they name."""


def config(**values):
  """Options of a section or of the whole: config('train', steps=2)."""
  return [f'--config.{key.replace("__", ".")}={value}' for key, value in values.items()]


TRAINER = config(
  train__steps=2, train__batch_size=8, train__log_every=1, train__eval_every=2, train__checkpoint_every=2,
  train__steps_per_dispatch=1, train__optimizer__warmup_steps=0,
)  # fmt: skip
GPT = config(
  data__source='song.txt', data__tokenizer='char', data__split='contiguous',
  model__context_length=16, model__num_layers=1, model__num_heads=1, model__embed_dim=8,
)  # fmt: skip
SAMPLE = config(sample__max_new_tokens=2, sample__num_samples=1)
RUNG = '--config.rungs.one_head.model.'
MINGPT = [
  *config(data__source='song.txt', max_steps=2, climb="('one_head',)", train__eval_every=2),
  *(*SAMPLE, f'{RUNG}context_length=8', f'{RUNG}embed_dim=8'),
]
PROBLEM = dict(model__num_layers=1, model__num_heads=1, model__embed_dim=8, train__batch_size=8)
ADDER = config(max_steps=2, adder__test_digits='(1,)', adder__test_sums=4) + config(
  **{f'adder__{name}': value for name, value in PROBLEM.items()}
)
SORT = config(max_steps=2, sort__test_examples=4) + config(
  **{f'sort__{name}': value for name, value in PROBLEM.items()}
)
SEQ2SEQ = config(max_steps=2, seq2seq__test_examples=4, seq2seq__model__feedforward_dim=8) + config(
  **{f'seq2seq__{name}': value for name, value in PROBLEM.items()}
)
NAMES = config(data__source='rivers.txt')
LADDER = config(ladder="('bigram',)", sample__number=3, sample__shown=1, train__steps=2, train__steps_per_dispatch=1)
MOONS = config(datasets="('moons',)", moons__steps=2, moons__points=6, moons__hidden='(2,)', gif_frames=1)
OF_SONG = config(data__source='song.txt', data__workers=1)
COMPARED = [f'--config.language_model.{name}={value}' for name, value in dict(
  tokenizers="('bytes',)", teraflops=1e-6, context_length=16, num_layers=1, num_heads=1, embed_dim=8, batch_size=8,
  split='contiguous',
).items()]  # fmt: skip
SMALL = config(encoder__name='small', encoder__max_length=64)
INDEX = config(data__source='docs', chunk__max_tokens=60, chunk__min_tokens=10, chunk__overlap=0)
PAIRS = config(pairs__min_words=5, pairs__too_near=9.0, pairs__negatives=1, train__accumulation=1)
SHOP = config(
  data__synthetic__num_users=200, data__synthetic__num_items=150, data__synthetic__weeks=12, data__synthetic__tastes=6
)
FUNNEL = config(funnel__weeks=1)
TINY = config(
  funnel__keep=20, funnel__group=8, tower__model__embed_dim=8, tower__model__history_length=4,
  tower__model__sequence_length=2, tower__factors=4, tower__refresh=1, tower__refresh_steps=1, serve__requests=1,
) + [
  argument.replace('config.', f'config.{stage}.')
  for stage in ('tower', 'ranker')
  for argument in TRAINER
  if 'eval_every' not in argument
]  # fmt: skip
SYNTHETIC = '--config=configs/recsys/synthetic.py'
