"""The peer's side of gpt2_loss.py: trains the weights in FOLDER/gpt2 on FOLDER/batches.npy, one loss a line.

PEER_PYTHON benchmarks/torch_loss.py FOLDER PLAN     # a JSON object: learning_rates, dropout, beta2, accumulation
"""

import json
import pathlib
import sys

import numpy as np
import torch
import transformers
from torch_train import DEVICE, Trainer


def main() -> None:
  folder, plan = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])
  transformers.logging.set_verbosity_error()
  transformers.utils.logging.disable_progress_bar()
  torch.manual_seed(0)
  rates = dict.fromkeys(('resid_pdrop', 'embd_pdrop', 'attn_pdrop'), plan['dropout'])
  model = transformers.GPT2LMHeadModel.from_pretrained(folder / 'gpt2', use_cache=False, **rates)
  trainer = Trainer(model, mode='compile', dtype=torch.bfloat16, accumulation=plan['accumulation'], beta2=plan['beta2'])
  batches = torch.from_numpy(np.load(folder / 'batches.npy').astype(np.int64)).to(DEVICE)
  for learning_rate, tokens in zip(plan['learning_rates'], batches, strict=True):
    for group in trainer.optimizer.param_groups:
      group['lr'] = learning_rate
    print(trainer.step(tokens), flush=True)


if __name__ == '__main__':
  main()
