"""nanochat's dial on this project's decoder: a depth sets width, heads and the length of the training.

    python -m experiments.gpt2 --config=configs/gpt2/nanochat.py:12 --config.data.source=hf:/path/to/fineweb
    python -m experiments.gpt2 --config=configs/gpt2/nanochat.py:24 --config.data.source=hf:/path/to/fineweb

64 of width a layer, heads of 128, 2,048 tokens of context, windows of half of it in three layers of four, 2^15 ids,
524,288 tokens a batch. Tokens are 10.5 times the weights of blocks and head at depth 12, 12 times at depth 24. Not
nanochat itself: Muon, its rates and the rest are the speedrun's.
Written for jit over 8 GPUs, data parallel (docs/how-to/cluster.md). Not run: no cluster was at hand. Cost by arithmetic
(flops_per_token), time for eight H100 at 40% of their peak, and what nanochat's README reports for its own model:

    depth   tokens   operations   estimate   nanochat
    12      1.2 B    9.3e+17      5 min      some 5 min (quick experiments)
    24      8.8 B    4.3e+19      3.8 h      3.04 h (January 2026; CORE 0.2585, GPT-2's is 0.2565)
"""

from configs.gpt2 import speedrun
from configs.gpt2._modern import base

VOCABULARY, CONTEXT, ROWS = 2**15, 2048, 256


def get_config(arg='12'):
  depth = int(arg)
  config, small = base(), speedrun.get_config()
  config.data.update(source='hf:fineweb', tokenizer=f'bpe:{VOCABULARY}')
  config.model.update(small.model)
  config.model.update(context_length=CONTEXT, num_layers=depth, num_heads=-(-depth // 2), embed_dim=64 * depth)
  config.model.update(window=CONTEXT // 2, window_pattern='SSSL', logit_softcap=15.0)
  config.model.update(value_embeddings=tuple(range((depth - 1) % 2, depth, 2)))
  config.model.update(attention='cudnn', loss_chunks=8, vocab_multiple=128)
  config.train.optimizer.update(small.train.optimizer)
  weights = 12 * depth * (64 * depth) ** 2 + VOCABULARY * 64 * depth
  tokens = (12.0 if depth >= 20 else 10.5) * weights
  config.train.update(steps=round(tokens / (ROWS * CONTEXT)), batch_size=ROWS, eval_every=250, checkpoint_every=1000)
  return config
