"""Teaches a model conversations: SFT on JSONL of {"messages": [...]}, the loss on what the assistant says.

    python -m experiments.gpt2 --config=configs/gpt2/sft.py --init_from=hf:FOLDER --config.data.source=messages.jsonl
    python -m experiments.gpt2 --config=configs/gpt2/sft.py:16 ...           # a LoRA of rank 16 in place of all weights

The model (--init_from: a folder or name of the hub's, or a workdir of ours) is a modern one, its template its own or
--config.chat.template=FILE or chatml; for a GPT-2, --config=configs/gpt2/sft.py:gpt. Two epochs of a few thousand
conversations are usual: 100 steps of 8 rows of the context see some 1,600 conversations of half its length once.
Small runs: configs/gpt2/calculator.py. Not run with a model of the hub's: none was at hand.
"""

from configs.gpt2 import _base, _modern


def get_config(arg=''):
  """`arg`: the rank of a LoRA, or gpt for a GPT-2."""
  config = _base.base() if arg == 'gpt' else _modern.base()
  config.data.update(source='messages.jsonl', format='conversations', val_fraction=0.05)
  config.train.update(steps=100, batch_size=8, dtype='bfloat16', log_every=5, eval_every=25, checkpoint_every=25)
  # A tenth of the pretraining's rate for all weights; factors, which begin at 0, take ten times that (peft's usual).
  rank = int(arg) if arg.isdigit() else 0
  rate = 2e-4 if rank else 2e-5
  config.train.optimizer.update(learning_rate=rate, final_learning_rate=0.0, schedule='linear', warmup_steps=5)
  config.train.optimizer.update(weight_decay=0.0)
  config.lora.update(rank=rank, alpha=2.0 * rank if rank else 16.0)
  config.sample.update(num_samples=1, temperature=0.0)
  return config
