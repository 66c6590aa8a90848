"""Judging a class on a design problem."""

import textwrap

import pytest

from mlsd_jax.algorithms import practice
from mlsd_jax.algorithms.limits import Limits
from mlsd_jax.algorithms.problem import Problem, problems
from mlsd_jax.algorithms.published import form_of


class Echo:
  def say(self, number):
    return f'{number} ' * 500


PROBLEM = Problem(Echo, Echo, lambda rng, count, size: [], {})


def test_the_mistake_shown_is_the_one_that_was_made(pool, tmp_path):
  """It may stand behind the beginning of the output, which is all that a result holds."""
  wrong = """
    class Echo:
      def say(self, number):
        return f'{number} ' * 500 if number != 70 else 'oh'
    """
  (tmp_path / 'echo.py').write_text(textwrap.dedent(wrong))
  calls = [('Echo', []), *(('say', [number]) for number in range(100))]
  case = practice.operations_case(PROBLEM, calls, 'long')
  report, mismatch = practice.judge_class(
    PROBLEM, tmp_path / 'echo.py', [case], pool=pool, limits=Limits(time=20), build_folder=tmp_path / 'build'
  )
  assert report.verdict == 'WA'
  assert len(report.results[0].output) < len('70 ' * 500) * 70
  assert (mismatch.calls[-1], mismatch.actual) == (('say', [70]), 'oh')


# As LeetCode publishes them, in its own spelling, with nothing imported.
LEETCODE = {
  'excel_sum': """
    class Excel:
      def __init__(self, height: int, width: str):
        self.cells = defaultdict(int)
      def set(self, row: int, column: str, val: int) -> None:
        self.cells[row, column] = val
      def get(self, row: int, column: str) -> int:
        held = self.cells[row, column]
        return held if isinstance(held, int) else sum(self.get(*cell) * n for cell, n in held.items())
      def sum(self, row: int, column: str, numbers: List[str]) -> int:
        found = Counter()
        for part in numbers:
          ends = part.split(':')
          first, last = (ends[0], ends[-1])
          for c in range(ord(first[0]), ord(last[0]) + 1):
            for r in range(int(first[1:]), int(last[1:]) + 1): found[r, chr(c)] += 1
        self.cells[row, column] = found
        return self.get(row, column)
    """,
  'file_system': """
    class FileSystem:
      def __init__(self):
        self.files, self.folders = {}, {'/': set()}
      def ls(self, path: str) -> List[str]:
        return [path.split('/')[-1]] if path in self.files else sorted(self.folders[path])
      def mkdir(self, path: str) -> None:
        if path != '/' and path not in self.folders:
          above, _, name = path.rpartition('/')
          self.mkdir(above or '/')
          self.folders[above or '/'].add(name)
          self.folders[path] = set()
      def addContentToFile(self, filePath: str, content: str) -> None:
        above, _, name = filePath.rpartition('/')
        self.mkdir(above or '/')
        self.folders[above or '/'].add(name)
        self.files[filePath] = self.files.get(filePath, '') + content
      def readContentFromFile(self, filePath: str) -> str:
        return self.files[filePath]
    """,
  'hit_counter': """
    class HitCounter:
      def __init__(self): self.times = deque()
      def hit(self, timestamp: int) -> None: self.times.append(timestamp)
      def getHits(self, timestamp: int) -> int:
        while self.times and self.times[0] <= timestamp - 300: self.times.popleft()
        return len(self.times)
    """,
  'time_map': """
    class TimeMap:
      def __init__(self): self.kept = defaultdict(list)
      def set(self, key: str, value: str, timestamp: int) -> None: self.kept[key].append((timestamp, value))
      def get(self, key: str, timestamp: int) -> str:
        place = bisect_right(self.kept[key], timestamp, key=lambda pair: pair[0])
        return self.kept[key][place - 1][1] if place else ''
    """,
  'text_editor': """
    class TextEditor:
      def __init__(self): self.left, self.right = '', ''
      def addText(self, text: str) -> None: self.left += text
      def deleteText(self, k: int) -> int:
        count = min(k, len(self.left))
        self.left = self.left[: len(self.left) - count]
        return count
      def cursorLeft(self, k: int) -> str:
        cut = max(0, len(self.left) - k)
        self.left, self.right = self.left[:cut], self.left[cut:] + self.right
        return self.left[-10:]
      def cursorRight(self, k: int) -> str:
        self.left, self.right = self.left + self.right[:k], self.right[k:]
        return self.left[-10:]
    """,
  'bounded_queue': """
    class BoundedBlockingQueue(object):
      def __init__(self, capacity: int): self.items = deque(maxlen=capacity)
      def enqueue(self, element: int) -> None: self.items.append(element)
      def dequeue(self) -> int: return self.items.popleft()
      def size(self) -> int: return len(self.items)
    """,
}


def judge_text(name, text, pool, folder):
  problem = problems()[name]
  (folder / 'mine.py').write_text(textwrap.dedent(text))
  cases = practice.operations_cases(problem, (4, 24), 300)
  return practice.judge_class(
    problem, folder / 'mine.py', cases, pool=pool, limits=Limits(time=20), build_folder=folder / 'build'
  )


@pytest.mark.parametrize('name', LEETCODE)
def test_a_solution_by_leetcodes_signatures(pool, tmp_path, name):
  report, mismatch = judge_text(name, LEETCODE[name], pool, tmp_path)
  assert report.verdict == 'AC', (report.results[-1].message, mismatch and (mismatch.calls[-3:], mismatch.actual))
  assert form_of(problems()[name], practice.reference(problems()[name])) is None
  wrong = LEETCODE[name].replace('return ', 'return 1 and ', 1).replace('- 1][1]', '- 1][0]').replace('[-10:]', '[-9:]')
  wrong = wrong.replace('sorted(', 'list(').replace('- 300', '- 299')
  wrong = wrong.replace('self.items.popleft()', 'self.items.pop()')
  wrong = wrong.replace('found[r, chr(c)] += 1', 'found[r, chr(c)] = 1')
  assert judge_text(name, wrong, pool, tmp_path)[0].verdict == 'WA'


def test_what_a_class_prints_does_not_reach_its_answers(pool, tmp_path):
  """print() and writing to descriptor 1 go beside the verdict."""
  text = """
    class MinStack:
      def __init__(self): self.items = []
      def push(self, x): print('pushed', x); self.items.append(x)
      def pop(self): import os; os.write(1, b'popped'); return self.items.pop()
      def top(self): return self.items[-1]
      def getMin(self): return min(self.items)
    """
  report, _ = judge_text('min_stack', text, pool, tmp_path)
  assert report.verdict in ('AC', 'WA')
  assert 'pushed' in report.results[0].outcome.stderr
  assert 'pushed' not in report.results[0].output.decode()


def test_a_missing_method_and_a_missing_class_are_named(pool, tmp_path):
  report, _ = judge_text('lru_cache', 'class LRUCache:\n  def __init__(self, capacity): pass\n', pool, tmp_path)
  assert report.verdict == 'RE'
  assert 'LRUCache has no method' in report.results[-1].message
  report, _ = judge_text('lru_cache', 'class Other: pass\n', pool, tmp_path)
  assert 'mine.py defines no class LRUCache' in report.results[-1].message
