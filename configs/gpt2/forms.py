"""The speedrun's model taught to answer in a form: dates as 2021-05-03, sums by a call of the calculator.

    python -m experiments.gpt2 --config=configs/gpt2/speedrun.py
    python -m experiments.gpt2 --config=configs/gpt2/forms.py --mode=evaluate --workdir=runs/gpt2/before
    python -m experiments.gpt2 --config=configs/gpt2/forms.py
    python -m experiments.gpt2 --workdir=runs/gpt2/forms --mode=evaluate
    python -m experiments.gpt2 --workdir=runs/gpt2/forms --mode=chat

10,000 conversations that mlsd_jax/language_model/forms.py makes, a twentieth of them held out; `exact` is the share of
200 held-out questions whose answer is right to the letter, greedy, with the calculator run while the model answers.

Measured, one seed, one CPU core: `exact` 0 of 200 before, 200 of 200 after 300 steps (224 s); the loss of what the
assistant says 4.83 nats a token before, 0.0007 after. The calculator does the sums: the model learns when to call it.
"""

from configs.gpt2._modern import base


def get_config():
  config = base()
  config.data.update(source='forms:10000', format='conversations', val_fraction=0.05)
  config.model.update(context_length=128, vocab_multiple=1)
  config.train.update(steps=300, batch_size=32, steps_per_dispatch=10, dtype='float32')
  config.train.optimizer.update(learning_rate=2e-3, final_learning_rate=0.0, schedule='linear', warmup_steps=20)
  config.train.optimizer.update(weight_decay=0.0, beta2=0.99)
  config.train.update(log_every=20, eval_every=100, checkpoint_every=100)
  config.evaluate.update(answers=200)
  config.chat.update(template='chatml', tools=('calculator',))
  config.sample.update(prompt='What is 37 * 48?', num_samples=1, temperature=0.0)
  config.sample.update(max_new_tokens=32)
  config.init_from = 'runs/gpt2/speedrun'
  return config
