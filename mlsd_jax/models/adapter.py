"""One adapter that gives every Flax NNX module a pure `init` and a pure `apply`.

NNX modules are objects that own their parameters. Everything outside models/ needs functions of a plain nested dict
of arrays instead: those can be traced, sharded by path, saved and restored with no knowledge of the module.

    params = init(GPT, config, key)            # {'embedding': ..., 'blocks': {'0': {...}, ...}}
    logits = bind(GPT, config, params)(tokens) # a module that lives for one call
"""

import functools
from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import jax
from flax import nnx

type Params = dict[str, Any]  # nested dict of arrays with string keys


def init[Config](module_class: Any, config: Config, key: jax.Array) -> Params:
  """Fresh parameters of `module_class(config, rngs)`. Works under jit and jax.eval_shape."""
  return params_of(module_class(config, rngs=nnx.Rngs(params=key)))


def bind[Config](module_class: Any, config: Config, params: Params) -> Any:
  """The module that holds `params`. Its structure is built once a (class, config) and costs nothing under jit."""
  return nnx.merge(_build_structure(module_class, config), nnx.State(_to_integer_keys(params)))


def params_of(module: Any) -> Params:
  """What `module` holds now: of a bound one, after a call that changed some of it."""
  return _to_string_keys(nnx.to_pure_dict(nnx.split(module, nnx.Param)[1]))


def look_up(params: Params, ids: Mapping[str, jax.Array]) -> Params:
  """`params` with the rows `ids` [n] of some tables, by path ('code_tables/0'), in the place of those tables."""
  flat = flax.traverse_util.flatten_dict(params, sep='/')
  return flax.traverse_util.unflatten_dict(flat | {path: flat[path][rows] for path, rows in ids.items()}, sep='/')


@functools.lru_cache(maxsize=64)
def _build_structure(module_class: Any, config: Any) -> nnx.GraphDef[Any]:
  return nnx.split(nnx.eval_shape(lambda: module_class(config, rngs=nnx.Rngs(params=0))), nnx.Param)[0]


def _to_string_keys(tree: Any) -> Any:
  """List positions become '0', '1', ...: paths are strings in checkpoints and in sharding rules."""
  return {str(k): _to_string_keys(v) for k, v in tree.items()} if isinstance(tree, dict) else tree


def _to_integer_keys(tree: Any) -> Any:
  if not isinstance(tree, dict):
    return tree
  return {int(k) if k.isdigit() else k: _to_integer_keys(v) for k, v in tree.items()}
