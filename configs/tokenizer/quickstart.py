"""A byte-level BPE of 4,096 tokens on the Python documentation.

python -m experiments.tokenizer

Measured: 3.763 bytes a token on the text it learned from, trained in 0.8 s on two CPU cores.
"""

from ml_collections import ConfigDict

from configs.executor_section import executor_section


def get_config():
  return ConfigDict(
    {
      'data': {
        'source': 'python_docs',  # as GPT-2's: a name, a file, folder or glob, tfds:NAME, hf:FOLDER
        'path': '',  # a file, folder or glob of your own; the same as naming it as source
        'text_key': 'text',  # the key or column of JSONL and Parquet that holds the text
        'workers': 0,  # processes that count; 0 is one a core
      },
      'vocab_size': 4096,  # 256 bytes, the merges, and the special tokens
      'pattern': 'gpt4',  # none, gpt2, cl100k, gpt4, o200k, or a regular expression
      'ties': 'first',  # of equally frequent pairs, the one that occurs first in the text; or smallest (ids)
      'special_tokens': ('<|endoftext|>',),  # with the last ids
      'compare': ('gpt2', 'cl100k_base', 'o200k_base'),  # shown beside, where their ranks are at hand
      'sample_megabytes': 8.0,  # how much of the text is encoded to compare
      'shards': {  # --mode=prepare: token shards of the source
        'output': '',  # a folder or s3://BUCKET/PREFIX; '' is tokens/ in the workdir
        'val_fraction': 0.1,  # of the documents
        'part_megabytes': 256.0,  # of files that make a part
      },
      **executor_section(),
      'language_model': {  # --mode=compare
        'tokenizers': ('bytes', 'bpe:512', 'bpe:1024', 'bpe:2048', 'bpe:4096', 'unigram:2048'),
        'teraflops': 5.0,  # of training, for each
        'context_length': 128,  # tokens
        'num_layers': 4,
        'num_heads': 4,
        'embed_dim': 128,
        'batch_size': 16,  # windows of context_length tokens
        'learning_rate': 3e-3,  # the peak; it ends at a tenth
        'val_fraction': 0.1,  # of the text, to be judged on
        'split': 'documents',  # or contiguous, for one long text
      },
    }
  )
