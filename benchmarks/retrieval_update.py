"""Processor seconds that one changed page takes in an index of many, beside building the index anew.

    uv run python benchmarks/retrieval_update.py --pages=100000

Pages are made (Zipf's words, 60 each, a chunk a page); the encoder is a BERT of one small layer with random weights, as
embedding a changed page costs the same wherever it stands. `update_store` is told what changed; `build_store` is given
the whole corpus and finds out (a digest a page). Both append to the log of changes; opening puts it together.
"""

import argparse
import dataclasses
import pathlib
import tempfile
import time
from collections.abc import Callable

import numpy as np


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--pages', type=int, default=100_000)
  parser.add_argument('--words', type=int, default=60)
  parser.add_argument('--runs', type=int, default=5)
  options = parser.parse_args()
  from mlsd_jax.encoder.training import fresh_encoder
  from mlsd_jax.models import bert
  from mlsd_jax.retrieval.build import BuildConfig, build_store, update_store
  from mlsd_jax.retrieval.chunking import ChunkConfig
  from mlsd_jax.retrieval.page import Page
  from mlsd_jax.retrieval.store import open_store
  from mlsd_jax.tokenizers.wordpiece import SPECIAL_TOKENS, WordPieceTokenizer

  rng = np.random.default_rng(0)
  ranks = np.exp(rng.uniform(np.log(50), np.log(100_000), (options.pages, options.words))).astype(int)
  pages = [
    Page(f'page-{i}', f'Page {i}', ' '.join(f'w{word}' for word in own), f'folder-{i % 50}')
    for i, own in enumerate(ranks.tolist())
  ]
  tokenizer = WordPieceTokenizer([*SPECIAL_TOKENS, 'w', 'page', *'0123456789', *(f'##{n}' for n in range(1000))])
  shape = bert.BertConfig(tokenizer.vocab_size, 128, num_layers=1, num_heads=2, embed_dim=64, mlp_dim=64)
  encoder = fresh_encoder('small', shape, tokenizer)
  config = BuildConfig(chunk=ChunkConfig(max_tokens=0))
  change = lambda edition, i: dataclasses.replace(pages[i], text=f'{pages[i].text} edition{edition}')
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name, 'index')
    print(f'{options.pages:,} pages, processor seconds')
    print(
      f'built anew                     {timed(lambda: build_store(pages, folder, encoder, config)):8.2f}', flush=True
    )
    opened = timed(lambda: open_store(folder, encoder))
    print(f'opened                         {opened:8.2f}', flush=True)
    update = lambda run: update_store(folder, [change(run, run)], [], encoder, config)
    update(0)  # compiles
    laps = [timed(lambda run=run: update(run)) for run in range(1, options.runs + 1)]
    print(f'update_store, one page         {np.median(laps):8.2f}   at most {max(laps):.2f}')
    whole = [change(run, run) for run in range(options.runs + 1)] + pages[options.runs + 1 :]
    whole[-1] = change('x', -1)
    print(f'build_store, one page of all   {timed(lambda: build_store(whole, folder, encoder, config)):8.2f}')
    print(f'opened, with {options.runs + 2} updates         {timed(lambda: open_store(folder, encoder)):8.2f}')


def timed(function: Callable[[], object]) -> float:
  began = time.process_time()
  function()
  return time.process_time() - began


if __name__ == '__main__':
  main()
