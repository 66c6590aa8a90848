"""What a system will take, before anything is bought: parameters, operations, memory, time, dollars; what bounds it.

python -m experiments.estimate --system=gpt2 --config=configs/gpt2/gpt2_124m.py --hardware=8xh100
python -m experiments.estimate --system=gpt2 --config=configs/gpt2/gpt2_xl.py --hardware=64xh100 --qps=20
python -m experiments.estimate --system=retrieval --documents=30M --qps=500 --p99='200 ms' --hardware=8xl4
python -m experiments.estimate --system=recsys --config=configs/recsys/hm.py --users=10M --items=100k
python -m experiments.estimate --system=algorithms --contestants=100k
python -m experiments.estimate --system=gpt2 --config=configs/gpt2/shakespeare_char_cpu.py --hardware=here
python -m experiments.estimate --mode=quiz

It reads the config files that runs use, with --config.key=value as there, and flags for the load.
"""

import sys
from collections.abc import Sequence

from absl import flags

from experiments import command_line, contract, estimate_pages
from experiments.estimate_quiz import KEYS, QuizConfig, quiz
from experiments.estimate_settings import check_range, read_number, read_settings
from experiments.estimate_systems import SYSTEMS
from mlsd_jax.errors import UserError
from mlsd_jax.estimates import hardware, here, table

DEFAULT = 'gpt2'
_OF_HARDWARE = ('hardware', 'dollars_per_hour')


def estimate(run: contract.Run) -> None:
  """Prints every quantity of --system on --hardware with its formula, what bounds it, and whether it fits."""
  system = SYSTEMS[run.name]
  values = read_settings(system, run.flags)
  machine = _hardware(run)
  groups = system.groups(run, values, machine)
  if run.name == 'gpt2' and run.flags['hardware'] == hardware.HERE:
    from experiments.estimate_here import calibrate

    groups.append(calibrate(run, values, machine))
  found = table.lines(groups)
  where = f' on {machine}' if system.uses_hardware else ''
  run.print('\n'.join((f'{run.name} ({run.workdir.name}){where}', '', *found)))
  misfit = system.misfit(run, values, machine)
  if misfit:
    raise UserError(misfit)


def _hardware(run: contract.Run) -> hardware.Hardware:
  """--hardware from the table, or this machine, measured."""
  count, name = hardware.split(run.flags['hardware'])
  price = run.flags['dollars_per_hour']
  if name != hardware.HERE:
    dollars = read_number('dollars_per_hour', price, 'dollars')
    check_range('dollars_per_hour', price, dollars)
    return hardware.find(run.flags['hardware'], dollars)
  if price:
    raise UserError('--dollars_per_hour has no effect with --hardware=here, which costs nothing more')
  return hardware.Hardware(here.measure(), count)


def define_flags(values: flags.FlagValues, argv: Sequence[str] = ()) -> None:
  """The flags of the system that the command line names, and those of all.

  Raises:
    UserError: no such system, or a flag of another one.
  """
  name = command_line.take(list(argv), 'system')[0] or DEFAULT
  if name not in SYSTEMS:
    raise UserError(f'--system={name!r} is unknown; there are {", ".join(SYSTEMS)}')
  flags.DEFINE_enum('system', DEFAULT, list(SYSTEMS), 'what is estimated', flag_values=values)
  flags.DEFINE_string(
    'hardware', '1xh100', f"number and device: {', '.join(hardware.DEVICES)}; or 'here', measured", flag_values=values
  )
  flags.DEFINE_string('dollars_per_hour', '', 'of one device (default: the listed price)', flag_values=values)
  for flag, setting in SYSTEMS[name].settings.items():
    flags.DEFINE_string(flag, setting.default, setting.help, flag_values=values)
  for argument in argv:
    flag = argument.lstrip('-').partition('=')[0]
    if argument.startswith('-') and flag in _OF_HARDWARE and not SYSTEMS[name].uses_hardware:
      raise UserError(_without_hardware(flag, name))
    others = [other for other, system in SYSTEMS.items() if flag in system.settings]
    if argument.startswith('-') and others and flag not in SYSTEMS[name].settings:
      raise UserError(f'--{flag} has no effect with --system={name}; it is read by --system={" and ".join(others)}')


def _without_hardware(flag: str, name: str) -> str:
  users = ' and '.join(f'--system={other}' for other, system in SYSTEMS.items() if system.uses_hardware)
  compiled = f', and by python -m experiments.{name} --mode=compile' if flag in SYSTEMS[name].compiles_with else ''
  return f'--{flag} has no effect with --system={name}; it is read by {users}{compiled}'


def pages(run: contract.Run) -> None:
  """Rewrites the figures of docs/design by the commands that its pages name; `--pages` is short for it."""
  changed = estimate_pages.rewrite(main)
  run.print(f'{estimate_pages.DESIGN}: ' + (f'rewrote {", ".join(changed)}' if changed else 'all pages are up to date'))


MODES = {
  'estimate': contract.Mode(estimate),
  'quiz': contract.Mode(quiz, KEYS),
  'pages': contract.Mode(pages),
}


SECTIONS = {'': QuizConfig}


def _is_of_no_system(arguments: list[str]) -> bool:
  """Whether the command line is of the quiz or of the pages, whose config is of configs/estimate."""
  mode, spec = (command_line.take_all(arguments, name)[0][-1:] for name in ('mode', 'config'))
  return mode in (['quiz'], ['pages']) or (not mode and bool(spec) and 'configs/estimate/' in spec[0])


def main(argv: Sequence[str] | None = None) -> int:
  arguments = ['--mode=pages' if each == '--pages' else each for each in (sys.argv[1:] if argv is None else argv)]
  if _is_of_no_system(arguments):
    names = ('quiz', 'pages', 'estimate')
    return contract.launch(
      'estimate',
      {name: MODES[name] for name in names},
      'quickstart',
      uses_jax=lambda run: False,
      sections=SECTIONS,
      argv=arguments,
    )
  name = command_line.take_all(arguments, 'system')[0]
  chosen = name[-1] if name and name[-1] in SYSTEMS else DEFAULT
  system = SYSTEMS[chosen]
  own = ('system', *(_OF_HARDWARE if system.uses_hardware else ()), *system.settings)
  mode = contract.Mode(MODES['estimate'].function, system.reads, flags=own)
  return contract.launch(
    chosen,
    MODES | {'estimate': mode},
    system.default,
    program=f'estimate --system={chosen}',
    define_flags=lambda values: define_flags(values, arguments),
    uses_jax=lambda run: run.flags['hardware'] == hardware.HERE,
    sections=system.sections(),
    argv=arguments,
  )


if __name__ == '__main__':
  sys.exit(main())
