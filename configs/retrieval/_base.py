"""What the retrieval variants share; a variant changes what it names."""

from ml_collections import ConfigDict


def base() -> ConfigDict:
  """Corpus, encoder, index, search, evaluation, answers; and training.

  A cross-encoder: --mode=train --config.train.dtype=bfloat16, after that --config.search.rerank=20
  --config.cross_encoder=WORKDIR/cross_encoder/model. 54 minutes of half a CPU core; with the indexes of SciFact and
  VMware in pairs.workdirs it took Cranfield from 0.427 to 0.434, SciFact from 0.730 to 0.720: hence search.rerank=0.
  """
  return ConfigDict(
    {
      'data': {
        'source': 'python_docs',  # or vmware_docs, scifact, cranfield, a file, a folder (BEIR's layout too)
        'path': '',  # a file or folder of your own; the same as naming it as source
      },
      'encoder': {
        'name': 'sentence-transformers/all-MiniLM-L6-v2',  # or a folder, or another model of the hub
        'dtype': 'float32',
        'max_length': 256,
      },
      'chunk': {'max_tokens': 200, 'overlap': 32, 'min_tokens': 64},  # max_tokens 0: whole pages
      'bm25': {'k1': 1.5, 'b': 0.75, 'stem': True},
      'shard_size': 1024,  # chunks embedded between two writes
      'near_duplicate': 0.85,
      'search': {
        'pages': 100,
        'fusion': 'weighted',  # or rrf
        'dense_weight': 0.5,
        'rerank': 0,  # pages that the cross-encoder sees
        'rerank_weight': 0.3,  # chosen on pages of VMware and Python that the cross-encoder was not trained on
        'expansion': 'none',  # hyde or multi, with a generator
      },
      'cross_encoder': '',  # folder of one, for search.rerank
      'generator': '',  # a GPT's workdir or hf:FOLDER, to write answers and for search.expansion
      'evaluate': {
        'known_items': 'auto',  # where nobody judged: queries out of titles or first sentences
        'max_queries': 500,  # drawn from those made of the pages' own titles or summaries; 0: all
        'queries': '',  # a file of your own queries: lines of id, tab, query, or BEIR's JSONL; and
        'qrels': '',  # what is right for them, in TREC's format or BEIR's
        'runs': (),  # TREC run files made elsewhere, to be measured beside ours
        'judge': '',  # a command that grades passages (prompt on its input, grade on its output) instead
        'seed': 0,
      },
      'answer': {'sentences': 3, 'pages': 5, 'min_confidence': 0.5, 'shown': 5},
      'tune': {'recall': 0.95, 'k': 10},
      'pairs': {  # what --mode=train makes of the corpus
        'workdirs': (),  # other runs, whose indexes give as many pairs each
        'sources': ('title', 'heading', 'sentence'),  # and written, by the generator
        'number': 4000,
        'negatives': 3,
        'too_near': 0.85,
        'min_words': 25,
        'min_query_words': 3,
        'seed': 0,
      },
      'train': {
        'kind': 'cross_encoder',  # contrastive adapts the encoder to pairs, masked_lm to the words
        'temperature': 0.05,  # of contrastive
        'chunks': 1,  # of a contrastive batch, encoded one after the other in less memory
        'length': 96,  # tokens of a pair
        'steps': 700,
        'batch_size': 16,
        'accumulation': 2,
        'dtype': 'float32',  # bfloat16 is 1.5 times as fast on CPUs that know it
        'optimizer': {
          'learning_rate': 1.5e-4,
          'schedule': 'linear',
          'warmup_steps': 50,
          'weight_decay': 0.01,
        },
        'log_every': 20,
        'checkpoint_every': 100,
      },
    }
  )
