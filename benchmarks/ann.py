"""The index against exact search and against peers on the same vectors: build, recall, queries per second, latency.

    uv run python benchmarks/ann.py --count=1000000                               # clustered vectors
    uv run python benchmarks/ann.py --count=1000000 --data=sphere                 # as hard as it gets
    uv run --with faiss-cpu --with hnswlib python benchmarks/ann.py --count=200000 --peers faiss-flat faiss-pq hnswlib
    uv run python benchmarks/ann.py --count=100000 --sizes                        # bytes a vector by setting
    uv run python benchmarks/ann.py --count=1000000 --shard_size=250000 --reorder_dtype=int8 --stored=int8

Every part is a process of its own: the build, the searches of a batch on all cores, single queries on one core, and
each peer. Peers are tuned like the index: the fastest of their search settings that has the recall wanted.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np
import record

PEERS = ('faiss-flat', 'faiss-pq', 'hnswlib')
NUM_QUERIES = 2_000


def write_vectors(path: pathlib.Path, data: str, count: int, dim: int, seed: int) -> None:
  """float32 [count, dim] of norm 1, block by block.

  'clustered': 4,096 clusters of Zipf sizes in a space of 64 dimensions whose scales fall as 1 / sqrt(i), seen through a
  random projection with 2% of noise in all dimensions. 'sphere': uniform on the sphere, where nothing is near anything.
  """
  generator = np.random.default_rng(0)  # the same clusters for vectors and queries
  scales = 1 / np.sqrt(np.arange(1, 65))
  centres = generator.standard_normal((4_096, 64)) * scales
  shares = 1 / np.arange(1, 4_097) ** 0.7
  projection = generator.standard_normal((64, dim)) / np.sqrt(dim)
  generator = np.random.default_rng(seed)
  vectors = np.lib.format.open_memmap(path, 'w+', np.float32, (count, dim))
  for at in range(0, count, 50_000):
    size = min(50_000, count - at)
    block = generator.standard_normal((size, dim), np.float32)
    if data == 'clustered':
      chosen = generator.choice(4_096, size, p=shares / shares.sum())
      latent = centres[chosen] + 0.6 * scales * generator.standard_normal((size, 64))
      block = (latent @ projection + 0.02 * block).astype(np.float32)
    vectors[at : at + size] = block / np.linalg.norm(block, axis=1, keepdims=True)
  vectors.flush()


def part_build(options: argparse.Namespace) -> dict:
  from mlsd_jax.ann import Index, IndexConfig

  folder = pathlib.Path(options.folder)
  count = len(np.load(folder / 'vectors.npy', mmap_mode='r'))
  settings = IndexConfig(
    shard_size=options.shard_size,
    reorder_dtype=options.reorder_dtype,
    stored=options.stored,
    dims_per_block=options.dims_per_block,
    leaves=options.leaves or None,
  )
  # A map of its own for each part: pages of the input, once read, would count as memory of the build.
  parts = (np.array(np.load(folder / 'vectors.npy', mmap_mode='r')[at : at + 50_000]) for at in range(0, count, 50_000))
  before = peak()
  began = time.perf_counter()
  index = Index.build(parts, settings=settings, folder=folder / 'index')
  seconds = time.perf_counter() - began
  sizes = {path: path.stat().st_size for path in (folder / 'index').rglob('*') if path.is_file()}
  scann = sum(size for path, size in sizes.items() if 'scann' in path.parts)
  return {
    'seconds': seconds,
    'peak': peak() - before,
    'disk': sum(sizes.values()) / count,
    'scann': scann / count,
    'shards': len(index.describe()),
    'leaves': index.describe()[0]['leaves'],
  }


def part_batch(options: argparse.Namespace) -> dict:
  from mlsd_jax.ann import Index, scann_engine, tuning

  folder = pathlib.Path(options.folder)
  queries = np.load(folder / 'queries.npy')
  scann_engine._scann()
  before = resident()
  index = Index.open(folder / 'index')
  index.search(queries[:1], 10)
  loaded = resident() - before
  index.search(queries[:1], 10, exact=True)  # brings the vectors into memory, so that no side reads from the disk
  curve = tuning.tune(index, queries[: NUM_QUERIES // 2], 10, wanted=options.wanted)
  began = time.perf_counter()
  truth = index.search(queries[NUM_QUERIES // 2 :], 10, exact=True).rows
  exact = max(curve.exact_queries_per_second, len(truth) / (time.perf_counter() - began))
  fresh = tuning.recall(index.search(queries[NUM_QUERIES // 2 :], 10).rows, truth)
  np.save(folder / 'truth.npy', truth)
  index.save()
  if options.picture:
    title = f'{len(index):,} {options.data} vectors of {index.dim} dimensions'
    tuning.plot(curve, pathlib.Path(options.picture), title)
  chosen = curve.chosen
  return {
    'exact': exact,
    'rate': chosen.queries_per_second,
    'table': curve.table(),
    'fresh': fresh,
    'loaded': loaded / len(index),
  }


def part_sizes(options: argparse.Namespace) -> dict:
  from mlsd_jax.ann import Index, scann_engine, tuning

  queries = np.load(pathlib.Path(options.folder) / 'queries.npy')[:500]
  scann_engine._scann()
  before = resident()
  index = Index.open(pathlib.Path(options.folder) / 'index')
  index.search(queries[:1], 10)
  loaded = resident() - before
  truth = np.load(pathlib.Path(options.folder) / 'vectors.npy', mmap_mode='r')
  truth = Index.build(truth, settings=dataclasses.replace(index.settings, kind='exact', stored='float32'))
  rows = truth.search(queries, 10).rows
  seconds = min(timed(lambda: index.search(queries, 10)) for _ in range(3))
  recall = tuning.recall(index.search(queries, 10).rows, rows)
  return {'loaded': loaded / len(index), 'recall': recall, 'rate': len(queries) / seconds}


def part_single(options: argparse.Namespace) -> dict:
  from mlsd_jax.ann import Index

  folder = pathlib.Path(options.folder)
  queries = np.load(folder / 'queries.npy')
  index = Index.open(folder / 'index')
  index.search(queries, 10)
  seconds = [timed(lambda row=row: index.search(queries[row : row + 1], 10)) for row in range(1_000)]
  exact = [timed(lambda row=row: index.search(queries[row : row + 1], 10, exact=True)) for row in range(30)]
  return {'p50': np.percentile(seconds, 50), 'p99': np.percentile(seconds, 99), 'exact': np.median(exact)}


def part_peer(options: argparse.Namespace) -> dict:
  folder = pathlib.Path(options.folder)
  vectors, queries = np.load(folder / 'vectors.npy'), np.load(folder / 'queries.npy')[NUM_QUERIES // 2 :]
  truth = np.load(folder / 'truth.npy')
  began = time.perf_counter()
  efforts, search = {'faiss-flat': faiss_flat, 'faiss-pq': faiss_pq, 'hnswlib': hnsw}[options.part](vectors)
  built = time.perf_counter() - began
  tried = []
  for effort in efforts:
    search(queries, effort)
    seconds = timed(lambda effort=effort: search(queries, effort))
    found = search(queries, effort)
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.tolist(), truth.tolist(), strict=True)])
    tried.append((recall, len(queries) / seconds))
    if recall >= options.wanted:
      break
  return {'built': built, 'recall': tried[-1][0], 'rate': tried[-1][1]}


def faiss_flat(vectors: np.ndarray) -> tuple:
  import faiss

  index = faiss.IndexFlatIP(vectors.shape[1])
  index.add(vectors)
  return (0,), lambda queries, _: index.search(queries, 10)[1]


def faiss_pq(vectors: np.ndarray) -> tuple:
  """The closest to ScaNN: partitions, 4-bit codes of 2 dimensions, reordering by 8-bit vectors."""
  import faiss

  leaves = int(np.sqrt(len(vectors)))
  index = faiss.index_factory(
    vectors.shape[1], f'IVF{leaves},PQ{vectors.shape[1] // 2}x4fs,Refine(SQ8)', faiss.METRIC_INNER_PRODUCT
  )
  index.train(vectors[:: max(1, len(vectors) // 100_000)])
  index.add(vectors)

  def search(queries: np.ndarray, probes: int) -> np.ndarray:
    parameters = faiss.IndexRefineSearchParameters(
      k_factor=10, base_index_params=faiss.IVFSearchParameters(nprobe=probes)
    )
    return index.search(queries, 10, params=parameters)[1]

  return sorted({max(1, round(leaves * 2 ** (-step / 2))) for step in range(20)}), search


def hnsw(vectors: np.ndarray) -> tuple:
  import hnswlib

  index = hnswlib.Index(space='ip', dim=vectors.shape[1])
  index.init_index(max_elements=len(vectors), M=16, ef_construction=100)
  index.add_items(vectors)

  def search(queries: np.ndarray, ef: int) -> np.ndarray:
    index.set_ef(ef)
    return index.knn_query(queries, k=10)[0]

  return (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024), search


def timed(call) -> float:
  began = time.perf_counter()
  call()
  return time.perf_counter() - began


def peak() -> int:
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def resident() -> int:
  """Bytes of memory that are this process's own: what is mapped from files is not counted."""
  for line in pathlib.Path('/proc/self/status').read_text().splitlines():
    if line.startswith('RssAnon'):
      return int(line.split()[1]) * 1024
  raise SystemExit('this benchmark reads /proc/self/status')


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--count', type=int, default=1_000_000)
  parser.add_argument('--dim', type=int, default=384)
  parser.add_argument('--data', default='clustered', choices=('clustered', 'sphere'))
  parser.add_argument('--wanted', type=float, default=0.95)
  parser.add_argument('--shard_size', type=int, default=1_000_000)
  parser.add_argument('--leaves', type=int, default=0)
  parser.add_argument('--reorder_dtype', default='int8')
  parser.add_argument('--stored', default='float32')
  parser.add_argument('--dims_per_block', type=int, default=2)
  parser.add_argument('--peers', nargs='*', default=[], choices=PEERS)
  parser.add_argument('--sizes', action='store_true', help='bytes a vector by setting instead of all else')
  parser.add_argument('--picture', default='', help='where to draw recall against queries per second')
  parser.add_argument('--folder', default='', help='keeps vectors and index here; default: a temporary folder')
  parser.add_argument('--part', default='', help='internal: be one of the processes')
  options = parser.parse_args()
  if options.count < 20_000:  # ann.config.EXACT_UNDER
    parser.error(f'--count={options.count}: fewer than 20,000 vectors are searched exactly: nothing to tune')
  if options.part:
    parts = {'build': part_build, 'batch': part_batch, 'single': part_single, 'sizes': part_sizes}
    print(json.dumps(parts.get(options.part, part_peer)(options)))
    return
  with tempfile.TemporaryDirectory() as temporary:
    folder = pathlib.Path(options.folder or temporary)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / 'queries.npy').exists():
      write_vectors(folder / 'vectors.npy', options.data, options.count, options.dim, 1)
      write_vectors(folder / 'queries.npy', options.data, NUM_QUERIES, options.dim, 2)
    (sizes if options.sizes else report)(options, folder)


def run(part: str, folder: pathlib.Path, *more: str, **environment: str) -> dict:
  """What one part prints, run as a process of its own; on one core if an environment is given."""
  command = [sys.executable, __file__, *sys.argv[1:], *more, f'--part={part}', f'--folder={folder}']
  if environment:
    command = ['taskset', '-c', '0', *command]
  done = subprocess.run(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True)
  return json.loads(done.stdout)


def sizes(options: argparse.Namespace, folder: pathlib.Path) -> None:
  """What a vector costs by setting, and what that does to recall and speed, all else by default."""
  print(f'{options.count:,} x {options.dim} {options.data}: bytes a vector')
  print('reorder_dtype   stored  dims_per_block     on disk  in memory  recall@10  queries/s  build s')
  for reorder_dtype, stored, dims in (
    ('float32', 'float32', 2),
    ('bfloat16', 'float32', 2),
    ('int8', 'float32', 2),
    ('int8', 'int8', 2),
    ('none', 'float32', 2),
    ('none', 'bfloat16', 2),
    ('none', 'int8', 2),
    ('none', 'int8', 4),
  ):
    shutil.rmtree(folder / 'index', ignore_errors=True)
    built = run('build', folder, f'--reorder_dtype={reorder_dtype}', f'--stored={stored}', f'--dims_per_block={dims}')
    found = run('sizes', folder)
    print(
      f'{reorder_dtype:>13} {stored:>8} {dims:>15} {built["disk"]:>11,.0f} {found["loaded"]:>10,.0f} '
      f'{found["recall"]:>10.4f} {found["rate"]:>10,.0f} {built["seconds"]:>8.0f}',
      flush=True,
    )


def report(options: argparse.Namespace, folder: pathlib.Path) -> None:
  count = len(np.load(folder / 'vectors.npy', mmap_mode='r'))
  print(f'{count:,} x {options.dim} {options.data}, recall@10 of {options.wanted} wanted', flush=True)
  built = run('build', folder)
  print(
    f'build    {built["seconds"]:.0f} s, {built["shards"]} shard(s) of {built["leaves"]:,} leaves, '
    f'{built["peak"] / 1e9:.2f} GB of memory at the peak; on disk {built["disk"]:.0f} bytes a vector, '
    f'{built["scann"]:.0f} of them ScaNN',
    flush=True,
  )
  batch = run('batch', folder)
  print(batch['table'])
  times = batch['rate'] / batch['exact']
  print(
    f'batch    {batch["rate"]:,.0f} queries/s, exact {batch["exact"]:,.0f}: {times:.1f} times; '
    f'recall of other queries {batch["fresh"]:.4f}; in memory {batch["loaded"]:.0f} bytes a vector, the rest is mapped',
    flush=True,
  )
  single = run('single', folder, OPENBLAS_NUM_THREADS='1', OMP_NUM_THREADS='1')
  print(
    f'single   one core: p50 {single["p50"] * 1e3:.2f} ms, p99 {single["p99"] * 1e3:.2f} ms; '
    f'exact {single["exact"] * 1e3:.1f} ms',
    flush=True,
  )
  for name in options.peers:
    peer = run(name, folder)
    print(
      f'{name:<12} built in {peer["built"]:.0f} s, {peer["rate"]:,.0f} queries/s at recall {peer["recall"]:.4f}: '
      f'ours / {name} {batch["rate"] / peer["rate"]:.2f}',
      flush=True,
    )
    what = f'searching {count:,} vectors'
    record.pair(what, [batch['rate']], [peer['rate']], against=name, unit='queries/s', more_is_better=True)


if __name__ == '__main__':
  main()
