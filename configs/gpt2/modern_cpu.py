"""The quickstart with today's decoder in GPT-2's place: Llama's architecture at the same size, data and optimiser.

python -m experiments.gpt2 --config=configs/gpt2/modern_cpu.py
"""

from configs.gpt2._modern import base


def get_config():
  config = base()
  config.data.update(source='python_docs', tokenizer='bpe:1024', val_fraction=0.1)
  config.model.update(context_length=128, num_layers=4, num_heads=4, embed_dim=128, vocab_multiple=1, tied_head=True)
  config.train.update(steps=1600, batch_size=16, steps_per_dispatch=10, dtype='float32')
  config.train.optimizer.update(learning_rate=3e-3, final_learning_rate=3e-4, warmup_steps=100, beta2=0.99)
  config.train.update(log_every=50, eval_every=200, checkpoint_every=400)
  config.sample.update(max_new_tokens=120, temperature=0.7)
  return config
