"""The small systems over HTTP: names of makemore, graphs of micrograd."""

import math
import threading
from typing import Any

from mlsd_jax.autograd import parse_expression, to_svg
from mlsd_jax.autograd.engine import operands, topological
from mlsd_jax.errors import UserError
from mlsd_jax.serving.errors import ApiError
from mlsd_jax.serving.name_service import NameService
from mlsd_jax.serving.requests import ExpressionRequest, NamesRequest

MOST_DRAWN = 64  # nodes: laying out takes their number to about the third power
_drawing = threading.Lock()  # one at a time: threads that compute share one interpreter with those that answer


async def name_words(body: NamesRequest, service: NameService) -> dict[str, Any]:
  """New words, or those of the request, with the nats of each letter.

  Raises:
    ApiError: words to be scored and a number or a seed of new ones (400); those of NameService.
    UserError: a word that the models cannot write.
  """
  if body.words is not None and (body.number is not None or body.seed is not None):
    raise ApiError(400, 'number and seed are of new words; words are scored', param='number')
  if body.words is None:
    words = await service.sample(10 if body.number is None else body.number, body.seed or 0, body.rung)
  else:
    words = await service.score(body.words, body.rung)
  return {'model': service.name, 'rungs': list(service.models), 'words': words}


def show_graph(body: ExpressionRequest) -> dict[str, Any]:
  """Nodes, operands before what is computed from them; a gradient that does not exist is null.

  Raises:
    UserError: what is no expression, or has no value or no gradient; too large a graph to be drawn.
  """
  root = parse_expression(body.expression, body.values)
  try:
    root.backward()
  except ArithmeticError as error:
    raise UserError(f'{body.expression[:80]!r}: {error}') from None
  nodes = topological(root)
  if body.svg and len(nodes) > MOST_DRAWN:
    raise UserError(f'svg draws graphs of at most {MOST_DRAWN} nodes; this one has {len(nodes)}')
  number = {node: place for place, node in enumerate(nodes)}
  shown = [
    {
      'id': number[node],
      'label': node.label,
      'op': node._op,
      'data': node.data,
      'grad': node.grad if math.isfinite(node.grad) else None,
      'operands': [number[each] for each in operands(node)],
    }
    for node in nodes
  ]
  gradients = {node['label']: node['grad'] for node in shown if node['label']}
  made = {'value': root.data, 'gradients': gradients, 'nodes': shown}
  if body.svg:
    with _drawing:
      made['svg'] = to_svg(root)
  return made
