"""A table of all collections at hand by one command, each against the run before by a paired test.

    uv run python benchmarks/retrieval_collections.py
    uv run python benchmarks/retrieval_collections.py --collections cranfield path/to/trec path/to/beir:dev

Without --collections: cranfield, scifact and XQuAD's files where $MLSD_DATA_DIR or the cache has them, vmware_docs and
python_docs. A collection is built in WORKDIR/NAME by `python -m experiments.retrieval` if it is not there, else read
again and evaluated with today's code. What it measured before, query by query, is what `change` and `p` compare with
(mlsd_jax/retrieval/regression.py). The exit code is 2 if a measure became worse by more than chance.
"""

import argparse
import pathlib
import subprocess
import sys
import time

from mlsd_jax import files
from mlsd_jax.data import fetch
from mlsd_jax.retrieval import regression

_AT_HAND = {  # source -> what of it must be on this machine, and its variant of configs/retrieval
  'cranfield': (('cranfield', 'cran.qry'), 'judged.py:cranfield'),
  'scifact': (('scifact', 'queries.jsonl'), 'judged.py:scifact'),
  **{
    f'xquad.{language}{part}.json': (
      ('xquad', f'xquad.{language}{part}.json'),
      f'judged.py:xquad.{language}{part}.json',
    )
    for language in ('en', 'ar', 'zh')
    for part in ('', '.first16')
  },
  'vmware_docs': (('vmware_docs', 'vmware_docs.jsonl.gz'), 'vmware.py'),
  'python_docs': (None, 'quickstart.py'),
}
_OF_SEARCH = ('--config.search', '--config.evaluate', '--config.answer')  # which an update does not go by
_SHOWN = ('bm25', 'dense', 'hybrid')


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--collections', nargs='*', help='names, files or folders; FOLDER:SPLIT for a split of one')
  parser.add_argument('--workdir', type=pathlib.Path, default=pathlib.Path('runs', 'collections'))
  parser.add_argument('--arguments', nargs='*', default=[], help='more for experiments.retrieval, as config.x=y')
  options = parser.parse_args()
  chosen = options.collections or [name for name, (needs, _) in _AT_HAND.items() if needs is None or _located(*needs)]
  name_width = max(len(_folder_name(each)) for each in chosen) + 2
  print(
    f'{"collection":<{name_width}}{"pages":>8}{"queries":>8}'
    + ''.join(f'{stage:>8}' for stage in _SHOWN)
    + f'{"answer@1":>10}{"@3":>7}{"ms":>7}  against the run before'
  )
  worse = False
  for each in chosen:
    folder = options.workdir / _folder_name(each)
    before = _before(folder)
    began = time.perf_counter()
    run(each, folder, options.arguments)
    result = files.read_json(folder / 'result.json')
    cells = ''.join(f'{result["ndcg@10"][stage]:8.4f}' for stage in _SHOWN)
    answers = [f'{result[key]:.3f}' if key in result else '-' for key in ('answer_at_1', 'answer_at_3')]
    changes = regression.compare(before, _before(folder) or {}) if before else []
    told = ', '.join(
      f'{change.measure} {change.now - change.before:+.4f} (p {change.p:.3f}{", worse" if change.is_worse else ""})'
      for change in changes
      if change.now != change.before
    )
    told = told or ('the same' if changes else f'first run, {time.perf_counter() - began:.0f} s')
    worse |= any(change.is_worse for change in changes)
    print(
      f'{_folder_name(each):<{name_width}}{result["num_pages"]:>8,}{result["num_queries"]:>8,}{cells}'
      f'{answers[0]:>10}{answers[1]:>7}{result["search_p50_ms"]:7.1f}  {told}',
      flush=True,
    )
  return 2 if worse else 0


def run(collection: str, folder: pathlib.Path, arguments: list[str]) -> None:
  """Builds and evaluates it, or reads it again and evaluates it."""
  source, _, split = collection.partition(':')
  variant = _AT_HAND[collection][1] if collection in _AT_HAND else f'judged.py:{source}'
  given = [f'--config=configs/retrieval/{variant}', f'--workdir={folder}']
  given += [f'--config.data.split={split}'] if split else []
  given += [f'--{argument}' for argument in arguments]
  built = (folder / 'result.json').exists()
  for mode in ('update', 'evaluate') if built else ('build',):
    more = [each for each in given if mode != 'update' or not each.startswith(_OF_SEARCH)]
    command = [sys.executable, '-m', 'experiments.retrieval', f'--mode={mode}', *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
      raise SystemExit(f'{" ".join(command)}\n{done.stdout}{done.stderr}')


def _before(folder: pathlib.Path) -> regression.ByQuery | None:
  path = folder / 'runs' / regression.QUERIES
  return regression.read_by_query(path) if path.exists() else None


def _located(source: str, name: str) -> bool:
  return fetch.locate(source, name) is not None


def _folder_name(collection: str) -> str:
  source, _, split = collection.partition(':')
  return pathlib.PurePath(source).name + (f'-{split.replace("/", "-")}' if split else '')


if __name__ == '__main__':
  sys.exit(main())
