"""One side of a comparison: a program that makes one timed run for each line it is sent."""

import subprocess
from collections.abc import Sequence


class Side:
  """Starts `command`, waits for its line 'ready', then `run()` sends a line and reads back seconds."""

  def __init__(self, command: Sequence[object]):
    self._process = subprocess.Popen(
      [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    self._command = command

  def ready(self) -> None:
    while self._read() != 'ready':
      pass

  def run(self, line: str = '') -> float:
    assert self._process.stdin is not None
    self._process.stdin.write(line + '\n')
    self._process.stdin.flush()
    return float(self._read())

  def _read(self) -> str:
    assert self._process.stdout is not None
    line = self._process.stdout.readline()
    if not line:
      raise SystemExit(f'{" ".join(map(str, self._command))} died')
    return line.strip()

  def close(self) -> None:
    self._process.kill()
    self._process.wait()
