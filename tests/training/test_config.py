"""What can be said of a class of settings without an experiment."""

import dataclasses

import pytest

from mlsd_jax.schema import describe
from mlsd_jax.training.config import TrainConfig
from mlsd_jax.training.optimizers import OptimizerConfig


@pytest.mark.parametrize('cls', [TrainConfig, OptimizerConfig])
def test_every_trainer_setting_has_a_default_and_a_comment(cls):
  described = describe(cls)
  assert list(described) == [field.name for field in dataclasses.fields(cls)]
  required = [name for name, setting in described.items() if setting.default is dataclasses.MISSING]
  assert required == (['steps', 'batch_size'] if cls is TrainConfig else [])
  assert [name for name, setting in described.items() if not setting.comment] in ([], ['optimizer'])
  made = cls(**dict.fromkeys(required, 1))
  assert all(getattr(made, name) == setting.default for name, setting in described.items() if name not in required)


def test_comments_are_those_behind_the_fields():
  @dataclasses.dataclass
  class Settings:
    """# not this one."""

    plain: int = 1
    # nor this
    text: str = '# a string'  # a comment # with a hash
    items: list = dataclasses.field(  # of several lines
      default_factory=list  # not here
    )

  assert {name: tuple(setting) for name, setting in describe(Settings).items()} == {
    'plain': (1, ''),
    'text': ('# a string', 'a comment # with a hash'),
    'items': ([], 'of several lines'),
  }
