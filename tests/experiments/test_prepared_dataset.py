"""From a dataset's builder to the loss of a GPT, by the commands that a user types."""

import json
import math
import os
import pathlib
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).parents[2]

# A builder that is found by its module's name, as that of a user's own dataset is.
BUILDER = """
import tensorflow_datasets as tfds


class LittleLetters(tfds.core.GeneratorBasedBuilder):
  VERSION = tfds.core.Version('1.0.0')

  def _info(self):
    features = tfds.features.FeaturesDict({'text': tfds.features.Text(), 'town': tfds.features.Text()})
    return self.dataset_info_from_configs(features=features)

  def _split_generators(self, dl_manager):
    return {'train': self._generate_examples()}

  def _generate_examples(self):
    for i in range(300):
      yield i, {'text': f'Letter {i}. Dear reader, the sky over town {i % 7} was blue today.', 'town': str(i % 7)}
"""

PREPARE = """
import little_letters
import tensorflow_datasets

tensorflow_datasets.builder('little_letters', file_format='array_record').download_and_prepare()
"""

TRAIN = """
import sys

from experiments.gpt2 import main

code = main(sys.argv[1:])
assert 'tensorflow' not in sys.modules
raise SystemExit(code)
"""

OPTIONS = [
  *('--config.data.source=tfds:little_letters', '--config.data.tokenizer=char', '--config.data.val_fraction=0.1'),
  *('--config.train.steps=20', '--config.train.batch_size=8', '--config.train.steps_per_dispatch=10'),
  *('--config.train.eval_every=20', '--config.train.optimizer.warmup_steps=2', '--config.model.context_length=32'),
  *('--config.model.num_layers=1', '--config.model.embed_dim=32', '--config.model.num_heads=2'),
  *('--config.sample.num_samples=1', '--config.sample.max_new_tokens=8'),
]


@pytest.mark.slow
def test_a_gpt_learns_from_a_dataset_that_was_built_here(tmp_path):
  (tmp_path / 'little_letters.py').write_text(BUILDER)
  paths = {'PYTHONPATH': f'{REPOSITORY}{os.pathsep}{tmp_path}', 'TFDS_DATA_DIR': str(tmp_path / 'data')}

  def run(code, *arguments):
    command = [sys.executable, '-c', code, *arguments]
    return subprocess.run(command, cwd=tmp_path, env=os.environ | paths, capture_output=True, text=True, check=False)

  train = lambda workdir, *more: run(TRAIN, *OPTIONS, f'--workdir={tmp_path / workdir}', *more)
  refused = train('too_early')
  assert refused.returncode == 2
  assert "tensorflow-datasets knows no 'little_letters'" in refused.stderr

  prepared = run(PREPARE)
  assert prepared.returncode == 0, prepared.stderr
  refused = train('wrong_feature', '--config.data.text_key=body')
  assert refused.returncode == 2
  assert "no feature 'body' (it has 'text', 'town')" in refused.stderr

  trained = train('run')
  assert trained.returncode == 0, trained.stderr
  assert 'little_letters: ' in trained.stdout
  num_ids = len(set('Letter 0123456789. Dear reader, the sky over town was blue today.')) + 1  # and an end of document
  assert f' {num_ids} ids' in trained.stdout
  result = json.loads((tmp_path / 'run' / 'result.json').read_text())
  assert result['val_loss'] < math.log(num_ids)  # a uniform guess
