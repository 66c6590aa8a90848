"""The peer's side of encoder.py: sentence-transformers with its own sorting and batching, one timed run a line read.

PEER_PYTHON benchmarks/torch_encoder.py FOLDER SIDE BATCH     # SIDE: 'sentence-transformers float32' or ... bfloat16
"""

import json
import pathlib
import sys
import time

import numpy as np
import torch
from sentence_transformers import SentenceTransformer


def main() -> None:
  folder, side, batch = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
  plan = json.loads((folder / 'plan.json').read_text())
  dtype = getattr(torch, side.split()[1])
  model = SentenceTransformer(plan['model'], model_kwargs={'dtype': dtype})
  print('ready', flush=True)
  for _ in sys.stdin:
    began = time.perf_counter()
    vectors = model.encode(plan['texts'], batch_size=batch, normalize_embeddings=True, show_progress_bar=False)
    seconds = time.perf_counter() - began
    vectors = np.asarray(vectors, np.float32)
    np.save(folder / f'{side}.npy', vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    print(seconds, flush=True)


if __name__ == '__main__':
  main()
