"""What the GPT-2 variants share; a variant changes what it names."""

import dataclasses

from ml_collections import ConfigDict

from configs.train_section import train_section
from mlsd_jax.language_model.lora_config import LoraConfig


def base() -> ConfigDict:
  """GPT-2 124M trained as nanoGPT trains it, without a data source."""
  return ConfigDict(
    {
      'data': {
        'source': 'hf:openwebtext',  # a name of data/sources.py, a local file or folder, tfds:NAME, hf:FOLDER
        'path': '',  # a file or folder of your own; the same as naming it as source
        'format': 'text',  # or conversations: JSONL of {"messages": [...]}, of which the assistant's words are learnt
        'tokenizer': 'gpt2',  # bytes, char, bpe:N, unigram:N (learned from the source), cl100k_base, ..., or a file
        'text_key': 'text',  # the key or column of JSONL and Parquet that holds the text
        'val_fraction': 0.0005,
        'split': 'documents',  # or contiguous: the text's last part is the validation split
        'folder': '',  # where token shards go; '' is a folder of the user cache
        'workers': 0,  # processes that tokenize; 0 is one a core
      },
      'model': {
        'context_length': 1024,
        'num_layers': 12,
        'num_heads': 12,
        'embed_dim': 768,
        'dropout': 0.0,
        'use_bias': True,
        'attention': 'xla',  # xla, cudnn (NVIDIA), splash (TPU)
        'scan_layers': False,
        'remat': 'none',  # none, full, dots
        'vocab_multiple': 128,
        'loss_chunks': 1,
      },
      'train': train_section(
        steps=600_000,
        batch_size=480,
        dtype='bfloat16',
        optimizer={'warmup_steps': 2000, 'final_learning_rate': 6e-5},
        eval_every=1000,
        checkpoint_every=1000,
      ),
      'lora': dataclasses.asdict(LoraConfig()),
      'scaling': {
        'depths': (1, 2, 3, 4),  # of --mode=scaling: a model of depth d has d layers and heads,
        'width': 32,  # and is d times as wide as this
        'budgets': (1e12, 2e12, 4e12),  # operations of a training; each size is trained at each
        'next_depth': 5,  # what the law has not seen, and predicts
        'next_budget': 8e12,
      },
      'evaluate': {
        'stride': 0,  # of the windows; 0 is the context: every token scored once, with what precedes it there
        'hellaswag': '',  # local JSONL files for --mode=evaluate
        'lambada': '',
        'answers': 0,  # of conversations: how many held-out ones are answered, and compared to the letter
        'choices': '',  # {"context", "choices", "label"} a line, scored as lm-evaluation-harness scores them
      },
      'sample': {
        'prompt': '',  # '' starts a new document; the flag may be repeated, a prompt each
        'num_samples': 3,  # a prompt
        'max_new_tokens': 256,
        'temperature': 0.8,
        'top_k': 0,
        'top_p': 1.0,
        'min_p': 0.0,
        'repetition_penalty': 1.0,
        'presence_penalty': 0.0,  # these two count what was sampled, not the prompt
        'frequency_penalty': 0.0,
        'stop': (),  # strings that end a sample
        'seed': 0,
      },
      'chat': {
        'system': '',  # what --mode=chat tells the model before the first message
        'tools': (),  # that the model may call: calculator
        'template': '',  # a Jinja file, or chatml; '' is the template of the run, or of what it starts from
      },
      'init_from': '',  # hf:FOLDER_OR_NAME, or a workdir of ours: start from its parameters
      'init_tokenizer': '',  # of a Hugging Face folder that has none: bytes, gpt2, cl100k_base, ..., or a file
    }
  )
