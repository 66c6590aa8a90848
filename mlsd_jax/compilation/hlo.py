"""A compiled program as text (HLO) -> instructions, how often each runs, and where in our source it comes from.

XLA prints optimised programs in one form for CPU, GPU and TPU: computations of instructions in the order in which they
run. Loops of known length carry their number of rounds (known_trip_count).
"""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator

_OTHERS = ('pred', 8), ('token', 0), ('opaque', 0), ('c64', 64), ('c128', 128), ('f4e2m1fn', 4), ('bf16', 16)
_FLOATS = {f'f{bits}': bits for bits in (16, 32, 64)}
_INTEGERS = {f'{kind}{bits}': bits for kind in 'su' for bits in (2, 4, 8, 16, 32, 64)}
_BITS = {**_FLOATS, **_INTEGERS, **dict(_OTHERS)}
_SHAPE = re.compile(r'\b([a-z]\w*)\[([^\]]*)\](?:\{([^}]*)\})?')
_CALLED = re.compile(r'(?:calls|to_apply|body|condition|true_computation|false_computation)=%?([\w.-]+)')
_CALLED_LIST = re.compile(r'(?:branch_computations|called_computations)=\{([^}]*)\}')
_TRIPS = re.compile(r'known_trip_count[^0-9]{1,8}n[^0-9]{1,6}(\d+)')


@dataclasses.dataclass(frozen=True)
class Shape:
  """An array: dtype, dims, and the bytes that it takes in the device's main memory, padding by tiles included (0 where
  it lies in a faster memory on the chip)."""

  dtype: str
  dims: tuple[int, ...]
  bytes: int

  @property
  def size(self) -> int:
    return math.prod(self.dims)

  @property
  def plain_bytes(self) -> int:
    """Without padding, wherever it lies."""
    return self.size * _bits(self.dtype) // 8


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One instruction; `shapes` are those of its result, flattened where it is a tuple."""

  name: str
  opcode: str
  shapes: tuple[Shape, ...]
  is_tuple: bool
  operands: tuple[str, ...]
  attributes: str
  is_root: bool

  @property
  def bytes(self) -> int:
    return sum(shape.bytes for shape in self.shapes)

  @functools.cached_property
  def called(self) -> tuple[str, ...]:
    """Names of the computations that it runs."""
    inside = [name.strip().lstrip('%') for names in _CALLED_LIST.findall(self.attributes) for name in names.split(',')]
    return tuple(dict.fromkeys([*_CALLED.findall(self.attributes), *inside]))

  @property
  def trips(self) -> int | None:
    """Rounds of a loop, where they are known."""
    found = _TRIPS.search(self.attributes)
    return int(found[1]) if found else None

  @property
  def op_name(self) -> str:
    found = re.search(r'op_name="([^"]*)"', self.attributes)
    return found[1] if found else ''


@dataclasses.dataclass(frozen=True)
class Run:
  """An instruction as the program comes to it: `times` a step, within `loops` loops (times is then a lower bound where
  the rounds of one are not known)."""

  instruction: Instruction
  computation: str
  times: int
  loops: int


class Module:
  """A parsed program.

  Attributes:
    computations: instructions by name of the computation, in order.
    entry: name of the first.
    aliased_outputs: numbers of the outputs that are written over an argument.
  """

  def __init__(self, text: str):
    self.computations: dict[str, list[Instruction]] = {}
    self.entry = ''
    self._frames: dict[int, tuple[int, int]] = {}
    self._places: dict[int, tuple[str, int]] = {}
    self._functions: dict[int, str] = {}  # of each place
    self.aliased_outputs = _aliased_outputs(text[: text.find('\n')])
    self._read(text)

  def _read(self, text: str) -> None:
    files: dict[int, str] = {}
    functions: dict[int, str] = {}
    section, current = '', None
    for line in text.splitlines():
      if current is None:
        if line in ('FileNames', 'FunctionNames', 'FileLocations', 'StackFrames'):
          section = line
        elif section and (found := re.match(r'(\d+) (.*)', line)):
          self._read_place(section, int(found[1]), found[2], files, functions)
        elif line.rstrip().endswith('{') and (found := re.match(r'(ENTRY )?%?([\w.-]+) ', line)):
          current = found[2]
          self.computations[current] = []
          if found[1]:
            self.entry = current
      elif line.rstrip() == '}':  # attributes may hold JSON of several lines
        current = None
      elif (instruction := _parse(line)) is not None:
        self.computations[current].append(instruction)

  def _read_place(self, section: str, number: int, rest: str, files: dict[int, str], functions: dict[int, str]) -> None:
    if section == 'FileNames':
      files[number] = rest.strip('"')
    elif section == 'FunctionNames':
      functions[number] = rest.strip('"')
    elif section == 'FileLocations':
      values = dict(re.findall(r'(\w+)=(\d+)', rest))
      self._places[number] = files.get(int(values['file_name_id']), '?'), int(values.get('line', 0))
      self._functions[number] = functions.get(int(values.get('function_name_id', 0)), '?')
    elif section == 'StackFrames':
      values = dict(re.findall(r'(\w+)=(\d+)', rest))
      self._frames[number] = int(values['file_location_id']), int(values.get('parent_frame_id', 0))

  def source(self, instruction: Instruction, within: str = 'mlsd_jax/') -> str:
    """'models/gpt.py:120': the innermost line below `within` that it comes from; else '' or a line outside.

    XLA gives a fusion the line of one of the operations in it.
    """
    found = re.search(r'stack_frame_id=(\d+)', instruction.attributes)
    if not found:
      old = re.search(r'source_file="([^"]*)" source_line=(\d+)', instruction.attributes)
      return f'{old[1].rpartition(within)[2]}:{old[2]}' if old else ''
    first, frame, seen = '', int(found[1]), set()
    while frame in self._frames and frame not in seen:
      seen.add(frame)
      place, parent = self._frames[frame]
      file, line = self._places.get(place, ('?', 0))
      if within in file and 'mlsd_jax/compilation/' not in file:
        return f'{file.rpartition(within)[2]}:{line}'
      first, frame = first or f'{file.rpartition("/")[2]}:{line}', parent
    return first

  def functions(self, instruction: Instruction) -> tuple[str, ...]:
    """Qualified names of the functions that it was traced in, the innermost first; () where the program has none."""
    found = re.search(r'stack_frame_id=(\d+)', instruction.attributes)
    names: list[str] = []
    frame, seen = int(found[1]) if found else 0, set()
    while frame in self._frames and frame not in seen:
      seen.add(frame)
      place, frame = self._frames[frame]
      names.append(self._functions.get(place, '?'))
    return tuple(names)

  def runs(self) -> Iterator[Run]:
    """Every instruction that runs, also those within fusions."""
    yield from self._runs(self.entry, 1, 0)

  def _runs(self, name: str, times: int, loops: int) -> Iterator[Run]:
    for instruction in self.computations.get(name, ()):
      yield Run(instruction, name, times, loops)
      is_loop = instruction.opcode == 'while'
      inside = times * (instruction.trips or 1) if is_loop else times
      for called in instruction.called:
        yield from self._runs(called, inside, loops + is_loop)

  def operand_shapes(self, run: Run) -> list[tuple[Shape, ...]]:
    return [self._shapes_of(run.computation).get(name, ()) for name in run.instruction.operands]

  @functools.cache  # noqa: B019 - lives as long as the module does
  def _shapes_of(self, computation: str) -> dict[str, tuple[Shape, ...]]:
    return {each.name: each.shapes for each in self.computations[computation]}


def _aliased_outputs(header: str) -> set[int]:
  found = re.search(r'input_output_alias=\{(.*?)\}, \w+=', header) or re.search(r'input_output_alias=\{(.*)\}', header)
  return {int(number) for number in re.findall(r'\{(\d+)\}: \(', found[1])} if found else set()


def _bits(dtype: str) -> int:
  return _BITS.get(dtype, 8)  # the kinds left are 8-bit floats


def parse_shapes(text: str) -> tuple[Shape, ...]:
  """The arrays of a type as HLO prints it."""
  shapes = []
  for dtype, dims, layout in _SHAPE.findall(text):
    sizes = tuple(int(number) for number in re.findall(r'\d+', dims))
    shapes.append(Shape(dtype, sizes, _bytes(dtype, sizes, layout)))
  return tuple(shapes)


def _bytes(dtype: str, dims: tuple[int, ...], layout: str) -> int:
  if re.search(r'S\([1-9]', layout):
    return 0
  padded, order = list(dims), [int(number) for number in re.findall(r'\d+', layout.partition(':')[0])]
  if tile := re.search(r':T\(([\d,]+)\)', layout):
    sizes = [int(number) for number in tile[1].split(',')]
    if len(sizes) <= len(order):
      for dimension, size in zip(order, reversed(sizes), strict=False):  # the last of a tile is the minor dimension
        padded[dimension] = -(-padded[dimension] // size) * size
  return math.prod(padded) * _bits(dtype) // 8


def _parse(line: str) -> Instruction | None:
  found = re.match(r'\s+(ROOT )?%?([\w.-]+) = ', line)
  if not found:
    return None
  kind, rest = _take_type(line[found.end() :])
  opcode, _, rest = rest.lstrip().partition('(')
  inside, attributes = _take_balanced('(' + rest)
  operands = tuple(re.findall(r'%([\w.-]+)', inside)) or tuple(
    part.strip().rpartition(' ')[2] for part in inside.split(',') if re.fullmatch(r'[a-zA-Z_][\w.-]*', part.strip())
  )
  return Instruction(found[2], opcode, parse_shapes(kind), kind.startswith('('), operands, attributes, bool(found[1]))


def _take_type(text: str) -> tuple[str, str]:
  if text.startswith('('):
    inside, rest = _take_balanced(text)
    return f'({inside})', rest
  kind, _, rest = text.partition(' ')
  return kind, rest


def _take_balanced(text: str) -> tuple[str, str]:
  """What lies in the first pair of parentheses, and what follows it."""
  depth = 0
  for place, character in enumerate(text):
    if character == '(':
      depth += 1
    elif character == ')':
      depth -= 1
      if not depth:
        return text[1:place], text[place + 1 :]
  return text[1:], ''
