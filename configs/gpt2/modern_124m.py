"""The speedrun's ingredients at the size of GPT-2 124M on FineWeb, 2.5 B tokens.

    python -m experiments.gpt2 --config=configs/gpt2/modern_124m.py

Written for jit over 8 GPUs, data parallel (docs/how-to/cluster.md). 162 M parameters, of which 124 M are in matrix
products: the head is not tied. modded-nanogpt's target for this size is a validation loss of 3.28 on FineWeb.
Not run: no cluster was at hand. Cost by arithmetic (flops_per_token): 2.2e+18 FLOP, or eleven minutes of eight H100 at
40% of their peak. Published for the same target and machine: llm.c's recipe 45 minutes and 10 B tokens; with Muon,
rotary positions, QK norm and squared ReLU 15.2 minutes (modded-nanogpt's fifth record, October 2024); its record of
June 2026 under 90 seconds and 0.4 B tokens, with float8, schedules of windows and much else that is not here.
On TPU: --config.model.attention=splash. On other devices: --config.model.attention=xla.
FineWeb is read from a folder of Parquet files (huggingface.co/datasets/HuggingFaceFW/fineweb):
--config.data.source=hf:/path/to/fineweb.
"""

from configs.gpt2 import speedrun
from configs.gpt2._modern import base


def get_config():
  config, small = base(), speedrun.get_config()
  config.data.source = 'hf:fineweb'
  config.model.update(small.model)
  config.model.update(context_length=1024, num_layers=12, num_heads=6, embed_dim=768, vocab_multiple=128)
  config.model.update(attention='cudnn', loss_chunks=8)
  config.train.optimizer.update(small.train.optimizer)
  config.train.update(steps=4800, batch_size=512, eval_every=200, checkpoint_every=1200)
  return config
