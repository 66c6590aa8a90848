"""Small finished runs of every system, to be served: what they answer is of no use, and known."""

import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence

import jax

from mlsd_jax import sealed
from mlsd_jax.encoder.training import fresh_encoder
from mlsd_jax.language_model import pretrained
from mlsd_jax.models import bert, gpt
from mlsd_jax.recsys import saved_state
from mlsd_jax.tokenizers import ByteTokenizer
from mlsd_jax.tokenizers.wordpiece import WordPieceTokenizer
from mlsd_jax.training.checkpoint import Checkpoints
from tests.experiments import tiny_runs

NAME = 'quickstart'
SYSTEMS = ('gpt2', 'mingpt', 'tokenizer', 'retrieval', 'recsys', 'makemore')
GPT = gpt.GPTConfig(ByteTokenizer.vocab_size, 128, num_layers=2, num_heads=2, embed_dim=32)
_SUBJECTS = (
  'copy a folder',
  'unpack archives',
  'send mail',
  'parse dates',
  'sort a list',
  'read numbers',
  'draw lines',
)
_COMMANDS = {
  'mingpt': ["--config.parts=('ladder',)", *tiny_runs.MINGPT],
  'retrieval': [*tiny_runs.INDEX, *tiny_runs.SMALL],
  'recsys': [tiny_runs.SYNTHETIC, *tiny_runs.SHOP, *tiny_runs.FUNNEL, *tiny_runs.TINY],
  'makemore': [*tiny_runs.NAMES, *tiny_runs.LADDER],
}


def make(folder: pathlib.Path, systems: Sequence[str] = SYSTEMS) -> pathlib.Path:
  """FOLDER/runs with a run of each system that has none there; the folder of runs."""
  runs = folder / 'runs'
  runs.mkdir(parents=True, exist_ok=True)
  _write_data(folder)
  for system in systems:
    workdir = runs / system / NAME
    if (workdir / 'result.json').exists() or (workdir / 'state').exists() or (workdir / 'tokenizer.json').exists():
      continue
    print(f'making a small run of {system}', flush=True)
    if system == 'gpt2':
      ByteTokenizer().save(workdir / 'tokenizer.json')
      write_gpt2(workdir, 0)
    elif system == 'tokenizer':
      ByteTokenizer().save(workdir / 'tokenizer.json')
    else:
      root = pathlib.Path(__file__).resolve().parents[1]
      command = [sys.executable, '-m', f'experiments.{system}', f'--workdir={workdir.resolve()}', *_COMMANDS[system]]
      given = {
        'configs/': f'{root}/configs/',
        'rivers.txt': str((folder / 'rivers.txt').resolve()),
        'name=small': f'name={(folder / "small").resolve()}',
      }
      here = [next((each.replace(*pair) for pair in given.items() if pair[0] in each), each) for each in command]
      done = subprocess.run(
        here, cwd=folder, env=os.environ | {'PYTHONPATH': str(root)}, capture_output=True, text=True, check=False
      )
      if done.returncode:
        raise SystemExit(f'{" ".join(here)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}')
  return runs


def gpt2_params(version: int):
  """Weights of chance, large ones: what is written depends on what was read."""
  return jax.tree.map(lambda leaf: 8 * leaf, jax.jit(gpt.init, static_argnums=1)(jax.random.key(version), GPT))


def write_gpt2(workdir: pathlib.Path, version: int) -> None:
  """Another version of a run: its weights, then the file that is written last."""
  with Checkpoints(workdir / 'checkpoints', metadata=pretrained.metadata(GPT)) as checkpoints:
    checkpoints.save(version, {'params': gpt2_params(version)})
  sealed.write_json(workdir / 'result.json', {'version': version})


def write_state(workdir: pathlib.Path) -> str:
  """The recommender's state once more, as another version."""
  return saved_state.save(saved_state.load(workdir / 'state'), workdir / 'state', {'data': 'again'})


def _write_data(folder: pathlib.Path) -> None:
  """What the runs are trained on."""
  if (folder / 'small').exists():
    return
  lines = [f'{i} green bottles hanging on the wall, and if {i % 7} should fall.' for i in range(300)]
  (folder / 'song.txt').write_text('\n'.join(lines))
  syllables = ('ma', 'lo', 'ri', 'ten')
  (folder / 'rivers.txt').write_text('\n'.join(a + b + c for a in syllables for b in syllables for c in syllables))
  (folder / 'docs').mkdir(exist_ok=True)
  for number, subject in enumerate(_SUBJECTS):
    text = f'How to {subject} is what this page says, in a few words and with some examples of it. '
    parts = [f'\n## Part {i} on how to {subject}\n\n{text * 2} This is part {i}.\n' for i in range(5)]
    (folder / 'docs' / f'page{number}.md').write_text(f'# How to {subject}\n' + ''.join(parts))
  pieces = WordPieceTokenizer.train([path.read_text() for path in sorted((folder / 'docs').iterdir())], 200)
  shape = dict(context_length=64, num_layers=1, num_heads=1, embed_dim=8, mlp_dim=8)
  fresh_encoder('small', bert.BertConfig(vocab_size=pieces.vocab_size, **shape), pieces).save(folder / 'small')
