"""The models of words on paper have as many parameters as the real ones."""

import dataclasses
import functools

import jax
import pytest

from mlsd_jax.estimates import names
from mlsd_jax.models import name_config, name_models

MORE: dict[str, list[dict]] = {
  'mlp': [{'norm': True, 'context': 5}],
  'wavenet': [{'context': 2, 'embed_dim': 12}],
  'transformer': [{'num_layers': 2, 'embed_dim': 12, 'num_heads': 3}],
}


@pytest.mark.parametrize('kind', name_config.KINDS)
def test_parameters(kind):
  for changes in ({'context': 8}, *MORE.get(kind, [])):
    config = name_models.NameConfig(kind, **({'vocab_size': 27, 'length': 16, 'hidden_dim': 20} | changes))
    made = jax.eval_shape(functools.partial(name_models.init, config=config), jax.random.key(0))
    assert names.parameters(dataclasses.asdict(config)) == sum(leaf.size for leaf in jax.tree.leaves(made))


def test_every_kind_that_a_config_names_is_a_model():
  assert set(name_config.KINDS) == set(name_models.KINDS)
