"""Which keys of a config a piece of code reads."""

import contextlib
import dataclasses

import pytest
from ml_collections import ConfigDict

from experiments import config_files, contract, modes


class _Section(dict):
  """A section as a dictionary that notes the leaves that are taken out of it."""

  def __init__(self, values, prefix, noted):
    super().__init__(values)
    self.prefix, self.noted = prefix, noted

  def _note(self, key):
    if key in self and not isinstance(super().__getitem__(key), _Section):
      self.noted.add(self.prefix + key)

  def __getitem__(self, key):
    self._note(key)
    return super().__getitem__(key)

  def get(self, key, default=None):
    self._note(key)
    return super().get(key, default)

  def pop(self, key, *default):
    self._note(key)
    return super().pop(key, *default)

  def keys(self):
    return list(super().__iter__())

  def __iter__(self):
    return iter(self.keys())  # without which dict(section) and {**section} would not come here

  def items(self):
    return [(key, self[key]) for key in self.keys()]

  def values(self):
    return [self[key] for key in self.keys()]

  def __or__(self, other):
    return dict(self.items()) | dict(other)

  def __ror__(self, other):
    return dict(other) | dict(self.items())


def _nested(values, prefix, noted):
  inner = {key: _nested(value, f'{prefix}{key}.', noted) if isinstance(value, dict) else value
           for key, value in values.items()}  # fmt: skip
  return _Section(inner, prefix, noted)


def _sections(config, prefix=''):
  yield id(config), prefix
  for key, value in config.items():
    if isinstance(value, ConfigDict):
      yield from _sections(value, f'{prefix}{key}.')


@contextlib.contextmanager
def noting(config):
  """Yields the set to which every leaf of `config` is added as it is read."""
  noted, prefixes = set(), dict(_sections(config))
  take, as_dict = ConfigDict.__getitem__, ConfigDict.to_dict

  def take_noted(self, key):
    value = take(self, key)
    if id(self) in prefixes and not isinstance(value, ConfigDict):
      noted.add(prefixes[id(self)] + key)
    return value

  def to_dict(self, *args, **kwargs):
    with pytest.MonkeyPatch.context() as plain:  # it calls itself for sections, and reads none for anybody
      plain.setattr(ConfigDict, 'to_dict', as_dict)
      plain.setattr(ConfigDict, '__getitem__', take)
      values = as_dict(self, *args, **kwargs)
    return _nested(values, prefixes[id(self)], noted) if id(self) in prefixes else values

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(ConfigDict, '__getitem__', take_noted)
    patch.setattr(ConfigDict, 'to_dict', to_dict)
    yield noted


@dataclasses.dataclass
class Call:
  """One mode that was run: what it read, what it declares, and what of that the rest of the config leaves idle."""

  mode: str
  read: set[str]
  declared: set[str]
  idle: set[str]


@contextlib.contextmanager
def calls_of(experiment):
  """Yields a list to which every mode of `experiment` that is run to its end adds a `Call`."""
  made: list[Call] = []
  launched, launch = {}, contract.launch

  def launch_noted(*args, idle=lambda run: {}, **kwargs):
    launched['idle'] = idle
    return launch(*args, idle=idle, **kwargs)

  def recorded(name, mode):
    def function(run):
      idle = tuple(launched['idle'](run))
      with noting(run.config) as noted, pytest.MonkeyPatch.context() as patch:
        for method in ('check', 'claim', 'print_finished'):  # which take the whole config, as config.json does
          patch.setattr(contract.Run, method, _unseen(getattr(contract.Run, method), noted))
        mode.function(run)
      keys = [key for key, _ in config_files.leaves(run.config.to_dict())]
      declared = {key for key in keys if modes.covers((*mode.reads, *mode.kept), key)} - {'data.path'}  # see `launch`
      left_idle = {key for key in keys if any(key == name or key.startswith(f'{name}.') for name in idle)}
      made.append(Call(name, noted & {*keys}, declared, left_idle))

    return dataclasses.replace(mode, function=function)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(contract, 'launch', launch_noted)
    for name, mode in list(experiment.MODES.items()):
      patch.setitem(experiment.MODES, name, recorded(name, mode))
    yield made


def _unseen(method, noted):
  def call(self, *args, **kwargs):
    before = set(noted)
    try:
      return method(self, *args, **kwargs)
    finally:
      noted.intersection_update(before)

  return call
