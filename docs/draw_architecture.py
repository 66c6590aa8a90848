"""Draws the packages and who may import whom, from the import rules in pyproject.toml.

python docs/draw_architecture.py             # writes docs/images/architecture.svg
"""

import html
import pathlib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
PICTURE = REPOSITORY / 'docs' / 'images' / 'architecture.svg'
LIBRARY = 'mlsd_jax'

WIDTH, MARGIN, GAP = 1000, 24, 12
BOX, ROOM = 40, 26  # heights
ARROW = 22  # between two layers
ROOM_GAP = 6
LETTER = 8.6  # the width of one, on average, at the most

INK, LINE, FRAME, FILL, ROOM_FILL = '#1f2933', '#7b8794', '#f5f7fa', '#dbe9f6', '#ffffff'


def layers_of(contract: Mapping[str, Any]) -> list[list[str]]:
  """The layers of a contract from the top, each a list of modules: import-linter's 'a | b', 'a : b' and '(a)'."""
  return [[name.strip(' ()') for name in re.split(r'[|:]', layer)] for layer in contract['layers']]


def draw(contracts: Sequence[Mapping[str, Any]]) -> str:
  """The map as SVG.

  Args:
    contracts: of import-linter. The 'layers' contract without containers gives the rows, that of the library its own;
      those of packages give the rooms inside; the names of the others stand below.
  """
  layered = [contract for contract in contracts if contract['type'] == 'layers']
  (whole,) = (contract for contract in layered if 'containers' not in contract)
  rooms = {package: layers_of(contract) for contract in layered for package in contract.get('containers', ())}
  library = [[f'{LIBRARY}.{name}' for name in layer] for layer in rooms.pop(LIBRARY)]
  rows = [row for layer in layers_of(whole) for row in (library if layer == [LIBRARY] else [layer])]
  others = [contract['name'] for contract in contracts if contract['type'] != 'layers']

  shapes: list[str] = []
  top, frame_top = MARGIN, None
  for number, row in enumerate(rows):
    if number:
      shapes += _arrow(WIDTH / 2, top, top + ARROW)
      top += ARROW
    if frame_top is None and row[0].startswith(f'{LIBRARY}.'):
      frame_top = top
      top += MARGIN + 8
    height = max(BOX + sum(ROOM + ROOM_GAP for _ in rooms.get(name, ())) for name in row)
    shapes += _row(row, top, height, rooms)
    top += height
  if frame_top is not None:
    top += MARGIN
    frame = _box(MARGIN, frame_top, WIDTH - 2 * MARGIN, top - frame_top, FRAME)
    shapes = [frame, _text(2 * MARGIN, frame_top + 21, f'{LIBRARY}/', 'start', bold=True), *shapes]
  for name in others:
    top += 24
    shapes.append(_text(MARGIN, top, f'Held as well: {name[0].lower()}{name[1:]}.', 'start'))
  height = top + MARGIN
  return '\n'.join(
    [
      f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
      'font-family="system-ui, sans-serif" font-size="14" role="img">',
      '<title>Packages in layers: each may import those below it, none beside or above it</title>',
      f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
      *shapes,
      '</svg>\n',
    ]
  )


def _row(names: Sequence[str], top: float, height: float, rooms: Mapping[str, list[list[str]]]) -> Iterator[str]:
  """The boxes of one layer side by side, with the rooms of a package inside of it."""
  titles = [name.removeprefix(f'{LIBRARY}.') for name in names]
  needs = [
    2 * GAP + max([LETTER * len(title), *(_share(layer, 0) for layer in rooms.get(name, ()))])
    for name, title in zip(names, titles, strict=True)
  ]
  left = 2 * MARGIN
  spare = (WIDTH - 2 * left - GAP * (len(names) - 1) - sum(needs)) / len(names)
  for name, title, need in zip(names, titles, needs, strict=True):
    width = need + spare
    yield _box(left, top, width, height, FILL)
    yield _text(left + width / 2, top + 25, title, bold=True)
    inner = top + BOX
    for layer in rooms.get(name, ()):
      x, spare_room = left + GAP, (width - 2 * GAP - _share(layer, 0)) / len(layer)
      for room in layer:
        room_width = _share([room], spare_room)
        yield _box(x, inner - 4, room_width, ROOM, ROOM_FILL)
        yield _text(x + room_width / 2, inner + 14, room)
        x += room_width + ROOM_GAP
      inner += ROOM + ROOM_GAP
    left += width + GAP


def _share(rooms: Sequence[str], spare: float) -> float:
  """The width of rooms side by side, each with `spare` more than its name needs."""
  return sum(LETTER * len(room) + ROOM_GAP + spare for room in rooms) + ROOM_GAP * (len(rooms) - 1)


def _box(x: float, y: float, width: float, height: float, fill: str) -> str:
  return (
    f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="5" fill="{fill}" stroke="{LINE}"/>'
  )


def _text(x: float, y: float, text: str, anchor: str = 'middle', *, bold: bool = False) -> str:
  weight = ' font-weight="600"' if bold else ''
  return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{INK}"{weight}>{html.escape(text)}</text>'


def _arrow(x: float, start: float, end: float) -> Iterator[str]:
  yield f'<path d="M{x} {start + 3}V{end - 4}" stroke="{LINE}" stroke-width="1.5"/>'
  yield f'<path d="M{x - 4} {end - 9}L{x} {end - 3}L{x + 4} {end - 9}" fill="none" stroke="{LINE}" stroke-width="1.5"/>'


def import_rules() -> list[dict[str, Any]]:
  return tomllib.loads((REPOSITORY / 'pyproject.toml').read_text())['tool']['importlinter']['contracts']


if __name__ == '__main__':
  PICTURE.write_text(draw(import_rules()))
