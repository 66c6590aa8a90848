"""experiments.estimate: what is printed for each system, and that what cannot be is one line."""

import subprocess
import sys

import pytest

from experiments import estimate
from experiments.estimate_systems import SYSTEMS


@pytest.fixture
def say(tmp_path, monkeypatch, capsys):
  """(exit code, standard output, standard error) of a command line."""
  monkeypatch.chdir(tmp_path)

  def run(*arguments):
    code = estimate.main([*arguments])
    out, err = capsys.readouterr()
    return code, out, err

  return run


@pytest.mark.parametrize('system', SYSTEMS)
def test_every_system_has_an_estimate_that_leaves_nothing_behind(say, system, tmp_path):
  code, out, err = say(f'--system={system}')
  assert (code, err) == (0, '')
  assert out.startswith(f'{system} (quickstart)')
  assert '->' in out
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
  'variant',
  [
    *('gpt2/gpt2_124m', 'gpt2/modern_cpu', 'encoder/quickstart', 'retrieval/quickstart', 'recsys/quickstart'),
    *('makemore/quickstart', 'mingpt/quickstart', 'mingpt/seq2seq'),
  ],
)
def test_what_is_counted_from_a_config_alone_takes_no_jax(variant):
  flags = (f'--system={variant.partition("/")[0]}', f'--config=configs/{variant}.py')
  code = 'import sys; from experiments import estimate; estimate.main(sys.argv[1:]); sys.exit("jax" in sys.modules)'
  subprocess.run([sys.executable, '-c', code, *flags], check=True, stdout=subprocess.DEVNULL)


def test_the_124m_on_eight_h100(say):
  code, out, _ = say('--system=gpt2', '--config=configs/gpt2/gpt2_124m.py', '--hardware=8xh100')
  assert code == 0
  for said in ('124,475,904', 'it fits', 'compute bounds it', '36.9 kB', 'data=8 x fsdp=1 x tensor=1'):
    assert said in out


def test_what_does_not_fit_is_said_with_what_would(say):
  xl = ('--system=gpt2', '--config=configs/gpt2/gpt2_xl.py', '--hardware=8xa100')
  xl = (*xl, '--config.model.remat=none')
  code, out, err = say(*xl, '--config.train.accumulation=1')
  assert code == 2
  assert 'in all' in out
  assert err.startswith('error: it does not fit: ')
  assert err.count('\n') == 1
  fits = err.partition('would make it fit: ')[2].split(' or ')[0].split()
  assert any('accumulation' in flag for flag in fits)
  code, out, err = say(*xl, *fits)
  assert (code, err) == (0, '')
  assert 'it fits' in out


@pytest.mark.parametrize(
  ('arguments', 'said'),
  [
    (('--hardware=8xh1000',), "--hardware='8xh1000' is unknown; it is a number and a device"),
    (('--hardware=v9:4x4',), "--hardware='v9:4x4' is unknown; it is a number and a device"),
    (('--hardware=0xh100',), 'at least one device'),
    (('--hardware=v5e:0x4',), 'at least one device'),
    (('--hardware=2xhere',), 'one machine is here'),
    (('--system=gpt3',), "--system='gpt3' is unknown; there are gpt2"),
    (('--qps=5 GB',), "--qps: '5 GB' is a size; a rate, such as 500 QPS or 20/s is asked for"),
    (('--mfu=1.4',), '--mfu=1.4 is more than the whole'),
    (('--mfu=0',), 'must be above 0'),
    (('--mfu=1e-300',), '--mfu=1e-300 is below 0.1%'),
    (
      ('--system=algorithms', '--contestants=1e300'),
      '--contestants=1e300 is out of range; estimates are',
    ),
    (('--dollars_per_hour=1e300',), '--dollars_per_hour=1e300 is out of range'),
    (('--new_tokens=0.5',), '--new_tokens=0.5 must be at least 1'),
    (('--dollars_per_hour=5 ms',), 'is a time; an amount of money'),
    (('--documents=3M',), '--documents has no effect with --system=gpt2; it is read by --system=retrieval'),
    (('--config.train.mesh.fsdp=3', '--hardware=8xh100'), 'fsdp=3 x tensor=1 does not fit 8 devices'),
    (('--hardware=7xh100',), '--config.train.batch_size 16 is not divisible by 1 accumulation steps x 7 ways'),
    (('--config.train.optimizer.beta2=0.9',), 'has no effect in --mode=estimate'),
    (('--config.model.embed_dim=130',), 'embed_dim 130 is not divisible by num_heads 4'),
    (('--config.data.tokenizer=char',), '--vocab_size=N does'),
    (('--prompt_tokens=100', '--new_tokens=100'), '200 tokens, more than the 128 of --config.model.context_length'),
    (('--batch=1e9',), 'of cache,'),
    (('--serve_dtype=float8',), "--serve_dtype='float8' is not one of float32, bfloat16, int8"),
    (('--system=recsys', '--hardware=h100'), 'and by python -m experiments.recsys --mode=compile'),
    (
      ('--system=tokenizer', '--hardware', 'h100'),
      '--hardware has no effect with --system=tokenizer; it is read by --s',
    ),
    (('--system=recsys', '--dollars_per_hour=3'), '--dollars_per_hour has no effect with --system=recsys; it is read'),
    (('--hardware=99999999999999999999xh100',), 'estimates are made for at most 1,000,000 devices'),
    (('--hardware=h100:2x2',), 'only TPUs have a topology'),
    (('--system=recsys', '--config.data.source=table'), '--users=N --items=N do'),
    (('--system=recsys', '--config.tower.model.embed_dim=-4'), 'tower.model.embed_dim must be at least 1, got -4'),
    (('--system=recsys', '--config.tower.factors=-3'), 'tower.factors must be at least 0, got -3'),
    (('--system=recsys', '--config.funnel.per_source.tower=-5'), 'per_source.tower must be at least 0, got -5'),
    (('--system=recsys', '--config.ranker.model.interaction=no'), "interaction='no' is not one of dot, cross"),
    (('--system=recsys', '--daily_users=1M'), 'are more than the 2,469 users that there are'),
    (('--system=algorithms', '--case_seconds=3 s'), 'is more than --config.limits.time=2 s'),
    (('--system=retrieval', '--config.encoder.name=nobody/nothing'), 'is no folder, and its name tells no size'),
  ],
)
def test_what_cannot_be_is_one_line(say, arguments, said):
  code, out, err = say(*arguments)
  assert (code, out) == (2, '')
  assert err.count('\n') == 1
  assert said in err


_NUMBERS = [
  *(
    (system, name) for system in SYSTEMS for name, each in SYSTEMS[system].settings.items() if each.dimension != 'dtype'
  ),
  ('gpt2', 'dollars_per_hour'),
]


@pytest.mark.parametrize(('text', 'wrong'), [('-5', 'is below 0'), ('many', 'is no number')])
@pytest.mark.parametrize(('system', 'flag'), _NUMBERS)
def test_what_is_no_number_names_its_flag_and_what_is_asked_for(say, system, flag, text, wrong):
  code, out, err = say(f'--system={system}', f'--{flag}={text}')
  assert (code, out) == (2, '')
  assert err.startswith(f"error: --{flag}: '{text}' {wrong}; a")
  assert err.endswith(' is asked for\n')
  assert err.count('\n') == 1


def test_help_lists_the_flags_of_the_system(say):
  code, out, _ = say('--system=retrieval', '--help')
  assert code == 0
  assert out.startswith('python -m experiments.estimate --system=retrieval')
  assert '--documents' in out
  assert '--new_tokens' not in out


def test_a_run_in_a_workdir_brings_its_config(say, tmp_path):
  from mlsd_jax import sealed
  from configs.gpt2 import quickstart  # isort: skip

  config = quickstart.get_config()
  config.model.num_layers = 2
  sealed.write_json(tmp_path / 'mine' / 'config.json', config.to_dict())
  code, out, _ = say('--system=gpt2', f'--workdir={tmp_path / "mine"}')
  assert code == 0
  assert out.startswith('gpt2 (mine)')
  assert '544,256' in out
