"""nanoGPT's character model of Shakespeare for a GPU: 10.7 M parameters, 5000 steps.

    python -m experiments.gpt2 --config=configs/gpt2/shakespeare_char.py

nanoGPT's README gives 1.4697 as the best validation loss; the parameters of the best evaluation are kept here too.
Not run to the end: 5000 steps are hours on two CPU cores (some 4 at --config.train.accumulation=16, which suits a CPU),
and no GPU was at hand. Its first 300 losses are PyTorch's: mean 1.9233 over the last twenty, 1.9265 there
(benchmarks/gpt2_loss.py).
"""

from configs.gpt2._base import base


def get_config():
  config = base()
  config.data.update(source='tinyshakespeare', tokenizer='char', val_fraction=0.1, split='contiguous')
  config.model.update(context_length=256, num_layers=6, num_heads=6, embed_dim=384, dropout=0.2, vocab_multiple=1)
  config.train.update(steps=5000, batch_size=64, steps_per_dispatch=10, rng='rbg')
  config.train.optimizer.update(learning_rate=1e-3, final_learning_rate=1e-4, warmup_steps=100, beta2=0.99)
  config.train.update(log_every=10, eval_every=250, checkpoint_every=250, keep_best=True)
  config.sample.update(max_new_tokens=500)
  return config
