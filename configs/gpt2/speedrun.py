"""The quickstart's text, learnt with what the field found since GPT-2.

python -m experiments.gpt2 --config=configs/gpt2/speedrun.py

Measured by benchmarks/speedrun.py, one seed, two idle CPU cores: validation loss 3.0822 nats a token after 240 steps
of 32 rows (0.98 M tokens), in 0.284 of the time in which the quickstart comes to 3.0910 (1,600 steps of 16, 3.28 M
tokens), steps timed in turn; 845 steps, which take as long as the quickstart, come to 2.7469. At equal tokens the batch
decides: 1,000 steps of 8 rows come to 3.1694, 500 of 16 to 3.0606, 330 of 24 to 3.0586, 250 of 32 to 3.0601; a shorter
run loses much (220 of 32: 3.1273).
"""

from configs.gpt2._modern import base


def get_config():
  config = base()
  config.data.update(source='python_docs', tokenizer='bpe:1024', val_fraction=0.1)
  config.model.update(context_length=128, num_layers=4, num_heads=4, embed_dim=128, vocab_multiple=1)
  config.model.update(activation='squared_relu', norm_scale=False, embedding_norm=True, embedding_stddev=1.0)
  config.model.update(qk_norm=True, attention_scale=0.12, value_residual=True, zero_outputs=True, init_stddev=0.03)
  config.train.update(steps=240, batch_size=32, steps_per_dispatch=10, dtype='float32')
  config.train.optimizer.update(name='muon', learning_rate=0.03, schedule='wsd', weight_decay=0.0, clip_norm=0.0)
  config.train.optimizer.update(beta1=0.8, beta2=0.95, epsilon=1e-10, warmup_steps=0)
  config.train.optimizer.update(embedding_learning_rate=0.08, head_learning_rate=0.016)
  config.train.update(log_every=20, eval_every=120, checkpoint_every=120)
  config.sample.update(max_new_tokens=120, temperature=0.7)
  return config
