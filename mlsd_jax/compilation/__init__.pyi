from .collectives import Collective, count, find_collectives
from .decoding import Slots, batched_program, decoding_programs
from .hardware import Hardware, open_hardware
from .hlo import Module
from .program import Program, Report, compile_program
from .report import as_row, describe
from .train_step import train_program

__all__ = [
  'Collective',
  'Hardware',
  'Module',
  'Program',
  'Report',
  'Slots',
  'as_row',
  'batched_program',
  'compile_program',
  'count',
  'decoding_programs',
  'describe',
  'find_collectives',
  'open_hardware',
  'train_program',
]
