"""What the trainings of encoders have in common; a variant changes what it names."""

from ml_collections import ConfigDict

from configs.train_section import train_section


def base() -> ConfigDict:
  """A cross-encoder on pairs made of one index."""
  return ConfigDict(
    {
      'data': {
        'source': ('runs/retrieval/quickstart',),  # workdirs of experiments.retrieval; each gives as many pairs
        'held_back': False,  # do not learn from what the evaluation asks for; all configs set it, older runs had none
      },
      'encoder': {
        'name': 'sentence-transformers/all-MiniLM-L6-v2',  # the one that made the indexes, and that is trained
        'dtype': 'float32',  # in which it is applied; train.dtype is the training's
        'max_length': 256,
      },
      'generator': '',  # a GPT's workdir or hf:FOLDER, where pairs.sources has written
      'pairs': {  # a query, the passage it was taken out of, and passages that a search finds for it too
        'sources': ('title', 'heading', 'sentence'),  # and written, by the generator
        'number': 4000,  # at most, of each index; one in twenty is held out
        'negatives': 3,  # passages beside each right one
        'too_near': 0.85,  # cosine above which a passage may answer as well, and is no negative
        'min_words': 25,  # of a passage
        'min_query_words': 3,
        'seed': 0,
      },
      'kind': 'cross_encoder',  # scores query and passage together; contrastive: vectors; masked_lm: vectors, no pairs
      'cross_encoder': {
        'length': 96,  # tokens of a query and a passage
        'loss': 'listwise',  # or binary, distil
        'dropout': 0.0,
      },
      'contrastive': {
        'temperature': 0.05,
        'query_length': 32,
        'passage_length': 128,
        'chunks': 1,  # parts in which a batch is encoded, one after the other in less memory
        'dropout': 0.0,
      },
      'masked_lm': {
        'length': 96,
        'dropout': 0.1,
      },
      'train': train_section(
        steps=700,
        batch_size=16,
        accumulation=2,
        dtype='float32',  # bfloat16 is 1.5 times as fast on CPUs that know it
        optimizer={'learning_rate': 1.5e-4, 'schedule': 'linear', 'warmup_steps': 50, 'weight_decay': 0.01},
        log_every=20,
        checkpoint_every=100,
      ),
    }
  )
