"""nanoGPT's recipe for a laptop: a 0.8 M parameter character model of Shakespeare, 2000 steps.

    python -m experiments.gpt2 --config=configs/gpt2/shakespeare_char_cpu.py

Measured: validation loss 1.7772 over the whole validation split after 2000 steps (one seed), 71 s on two CPU cores that
other work shared. nanoGPT's README gives 1.88 for this size and number of steps. Of its recipe one thing is
changed, the peak learning rate: 3e-3 for 1e-3.
"""

from configs.gpt2._base import base


def get_config():
  config = base()
  config.data.update(source='tinyshakespeare', tokenizer='char', val_fraction=0.1, split='contiguous')
  config.model.update(context_length=64, num_layers=4, num_heads=4, embed_dim=128, vocab_multiple=1)
  config.train.update(steps=2000, batch_size=12, steps_per_dispatch=10, dtype='bfloat16')
  config.train.optimizer.update(learning_rate=3e-3, final_learning_rate=3e-4, warmup_steps=100, beta2=0.99)
  config.train.update(log_every=50, eval_every=500, checkpoint_every=500)
  config.sample.update(max_new_tokens=500)
  return config
