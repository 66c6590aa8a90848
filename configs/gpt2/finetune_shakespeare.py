"""Fine-tunes a pretrained GPT-2 on Shakespeare, a few steps over very little text.

    python -m experiments.gpt2 --config=configs/gpt2/finetune_shakespeare.py --init_from=hf:gpt2-xl
    python -m experiments.gpt2 --config=configs/gpt2/finetune_shakespeare.py --init_from=hf:/path/to/folder

The model's shape is the checkpoint's. The learning rate is constant and small; the best evaluation is kept, as twenty
steps are about two epochs and the model soon memorises the text.
Not run with GPT-2's own weights: they were not at hand.
"""

from configs.gpt2._base import base


def get_config():
  config = base()
  config.data.update(source='tinyshakespeare', tokenizer='gpt2', val_fraction=0.1, split='contiguous')
  config.model.update(vocab_multiple=1)
  config.train.update(steps=20, batch_size=32, accumulation=4, dtype='bfloat16')
  config.train.optimizer.update(learning_rate=3e-5, final_learning_rate=3e-5, schedule='constant', warmup_steps=0)
  config.train.update(log_every=1, eval_every=5, checkpoint_every=20, keep_best=True)
  config.init_from = 'hf:gpt2'
  return config
