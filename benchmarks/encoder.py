"""Chunks embedded a second: ours, a naive loop, sentence-transformers; the same real chunks and weights, in one run.

    python benchmarks/encoder.py --peer_python=/path/to/python     # one with torch and sentence-transformers

Sides take turns, each in its own process. The naive loop is the same model compiled in float32 on batches of 32 in the
order given, every text padded to the model's longest. sentence-transformers sorts and batches by itself. Times include
tokenising. Every side's vectors are compared with those of sentence-transformers in float32 (without it: ours).
"""

import argparse
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

import numpy as np
import record
from side import Side

OURS = ('ours float32', 'ours bfloat16', 'naive float32')
PEERS = ('sentence-transformers float32', 'sentence-transformers bfloat16')


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--corpus', default='python_docs', help='or vmware_docs, or a folder of documents')
  parser.add_argument('--model', default=None, help='a folder in Hugging Face layout; default all-MiniLM-L6-v2')
  parser.add_argument('--chunks', type=int, default=512)
  parser.add_argument('--runs', type=int, default=3)
  parser.add_argument('--batch_tokens', type=int, default=0, help='of ours; 0 is what the encoder chooses')
  parser.add_argument('--peer_batch', type=int, default=32, help="sentence-transformers' own default is 32")
  parser.add_argument('--only', default='', help='sides whose name has one of these in it, separated by commas')
  parser.add_argument('--pieces', action='store_true', help='pieces of 5 to 3,000 characters instead of chunks')
  parser.add_argument('--side', default='', help=argparse.SUPPRESS)
  parser.add_argument('--folder', default='', help=argparse.SUPPRESS)
  parser.add_argument('--peer_python', default=os.environ.get('MLSD_PEER_PYTHON'))
  options = parser.parse_args()
  if options.side:
    serve(options.side, pathlib.Path(options.folder), options.batch_tokens)
    return
  from mlsd_jax.encoder import model_folder

  model = options.model or model_folder.MINILM
  source = model_folder.source_folder(model)
  texts, tokens = real_texts(options.corpus, options.chunks, model_folder.load(model), options.pieces)
  kind, low, high = 'pieces' if options.pieces else 'chunks', np.quantile(tokens, 0.1), np.quantile(tokens, 0.9)
  spread = f'{np.mean(tokens):.0f} tokens each (10% under {low:.0f}, 10% over {high:.0f})'
  print(f'{len(texts)} {kind} of {options.corpus}, {spread}', flush=True)
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    (folder / 'plan.json').write_text(json.dumps({'texts': texts, 'model': str(source)}))
    commands = {side: [sys.executable, __file__, f'--side={side}', f'--folder={folder}'] for side in OURS}
    for command in commands.values():
      command.append(f'--batch_tokens={options.batch_tokens}')
    if options.peer_python:
      program = pathlib.Path(__file__).parent / 'torch_encoder.py'
      commands |= {side: [options.peer_python, program, folder, side, options.peer_batch] for side in PEERS}
    commands = {
      side: command for side, command in commands.items() if any(part in side for part in options.only.split(','))
    }
    sides = {side: Side([*map(str, command)]) for side, command in commands.items()}
    for side in sides.values():
      side.ready()
    for side in sides.values():  # compiles, touches memory
      side.run()
    seconds = {name: [] for name in sides}
    for _ in range(options.runs):
      for name, side in sides.items():
        seconds[name].append(side.run())
    report(seconds, len(texts), sum(tokens), {name: np.load(folder / f'{name}.npy') for name in sides})
    for side in sides.values():
      side.close()


def real_texts(corpus: str, count: int, model, pieces: bool) -> tuple[list[str], list[int]]:
  """`count` texts spread over the corpus, and their tokens: chunks as the retrieval system cuts them, or any pieces."""
  from mlsd_jax.encoder.length_batches import text_ids
  from mlsd_jax.retrieval.chunking import ChunkConfig, chunk_text, cut
  from mlsd_jax.retrieval.pages import read_pages

  counts = lambda texts: [len(model.tokenizer.first_ids(text, None)) for text in texts]
  pages = list(read_pages(corpus, lambda line: print(line, file=sys.stderr)))
  rng = np.random.default_rng(0)
  texts: list[str] = []
  for i in rng.permutation(len(pages)):
    if pieces:
      length = int(10 ** rng.uniform(0.7, 3.5))
      start = int(rng.integers(max(len(pages[i].text) - length, 1)))
      texts.append(pages[i].text[start : start + length])
    else:
      texts += [chunk_text(pages[i], chunk) for chunk in cut(pages[i], ChunkConfig(), counts)]
    if len(texts) >= count:
      break
  texts = texts[:count]
  return texts, [len(ids) for ids in text_ids(model.tokenizer, texts, model.max_length)]


def serve(side: str, folder: pathlib.Path, batch_tokens: int) -> None:
  from mlsd_jax.training import devices

  kind, dtype = side.split()
  devices.configure_backend(bfloat16=dtype == 'bfloat16')
  from mlsd_jax.encoder import model_folder
  from mlsd_jax.encoder.encoder import Encoder

  plan = json.loads((folder / 'plan.json').read_text())
  encoder = Encoder(model_folder.load(plan['model']), dtype, batch_tokens or None)
  encode = encoder.encode if kind == 'ours' else naive(encoder)
  print('ready', flush=True)
  for _ in sys.stdin:
    began = time.perf_counter()
    vectors = encode(plan['texts'])
    seconds = time.perf_counter() - began
    np.save(folder / f'{side}.npy', vectors)
    print(seconds, flush=True)


def naive(encoder):
  import jax

  from mlsd_jax.encoder.length_batches import padded, text_ids
  from mlsd_jax.models import bert

  model = encoder.model
  forward = jax.jit(lambda params, tokens, mask: bert.embed(params, tokens, mask, model.config, model.pooling))
  params = jax.device_put(model.params)

  def encode(texts):
    ids = text_ids(model.tokenizer, [model.passage_prefix + text for text in texts], model.max_length)
    vectors = []
    for start in range(0, len(ids), 32):
      tokens, lengths = padded(ids[start : start + 32], 32, model.max_length)
      mask = np.arange(model.max_length) < lengths[:, None]
      vectors.append(np.asarray(forward(params, tokens, mask)))
    return np.concatenate(vectors)[: len(ids)]

  return encode


def report(seconds: dict[str, list[float]], chunks: int, tokens: int, vectors: dict[str, np.ndarray]) -> None:
  medians = {name: statistics.median(values) for name, values in seconds.items()}
  reference = vectors.get(PEERS[0], next(iter(vectors.values())))
  for name, median in medians.items():
    cosine = (vectors[name] * reference).sum(1).min() if vectors[name].shape == reference.shape else float('nan')
    rates = f'{chunks / median:8.1f} chunks/s  {tokens / median:10,.0f} tokens/s'
    print(f'  {name:30s} {rates}   lowest cosine {cosine:.6f}')
  ours = min((medians[name] for name in OURS[:2] if name in medians), default=None)
  for name in (OURS[2], *PEERS):
    if ours is not None and name in medians:
      single = f'; ours float32 {medians[name] / medians[OURS[0]]:.2f} times' if OURS[0] in medians else ''
      print(f'best of ours is {medians[name] / ours:.2f} times {name}{single}')
  best = {who: min((n for n in medians if n in who), key=medians.get, default='') for who in (OURS[:2], PEERS)}
  if all(best.values()):
    mine, others = ([chunks / each for each in seconds[name]] for name in best.values())
    record.pair('encoder', mine, others, against=best[PEERS], unit='chunks/s', more_is_better=True)


if __name__ == '__main__':
  main()
