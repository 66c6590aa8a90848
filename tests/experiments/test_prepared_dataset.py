"""From a dataset's builder to the loss of a GPT."""

import json
import math
import subprocess
import sys

import pytest

from experiments import gpt2
from mlsd_jax.training import devices

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

BUILD = """
import little_letters
import tensorflow_datasets

tensorflow_datasets.builder('little_letters', file_format='array_record').download_and_prepare()
"""

OPTIONS = [
  *('--config.data.source=tfds:little_letters', '--config.data.tokenizer=char', '--config.data.val_fraction=0.1'),
  *('--config.train.steps=20', '--config.train.batch_size=8', '--config.train.steps_per_dispatch=10'),
  *('--config.train.eval_every=20', '--config.train.optimizer.warmup_steps=2', '--config.model.context_length=32'),
  *('--config.model.num_layers=1', '--config.model.embed_dim=32', '--config.model.num_heads=2'),
  *('--config.sample.num_samples=1', '--config.sample.max_new_tokens=8'),
]


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')  # tensorflow-datasets has its own
def test_a_gpt_learns_from_a_dataset_that_was_built_here(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(devices, 'configure_backend', lambda **_: None)  # the test process has its devices already
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path / 'data'))
  (tmp_path / 'little_letters.py').write_text(BUILDER)

  def train(workdir, *more):
    code = gpt2.main([*OPTIONS, f'--workdir={tmp_path / workdir}', *more])
    return code, *capsys.readouterr()

  code, _, err = train('too_early')
  assert code == 2
  assert "tensorflow-datasets knows no 'little_letters'" in err

  built = subprocess.run([sys.executable, '-c', BUILD], cwd=tmp_path, capture_output=True, text=True, check=False)
  assert built.returncode == 0, built.stderr
  code, _, err = train('wrong_feature', '--config.data.text_key=body')
  assert code == 2
  assert "no feature 'body' (it has 'text', 'town')" in err

  code, out, err = train('run')
  assert code == 0, err
  num_ids = len(set('Letter 0123456789. Dear reader, the sky over town was blue today.'))
  assert f' {num_ids} ids' in out
  result = json.loads((tmp_path / 'run' / 'result.json').read_text())
  assert result['val_loss'] < math.log(num_ids)  # a uniform guess
  assert 'tensorflow' not in sys.modules
