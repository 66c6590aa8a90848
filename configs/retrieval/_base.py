"""What the retrieval variants share; a variant changes what it names."""

from ml_collections import ConfigDict

from configs.executor_section import executor_section


def base() -> ConfigDict:
  """Corpus, encoder, index, search, evaluation, answers. Encoders are trained by experiments.encoder."""
  return ConfigDict(
    {
      'data': {
        'source': 'python_docs',  # or vmware_docs, scifact, cranfield, a file (SQuAD's too), a folder (judged ones too)
        'path': '',  # a file or folder of your own; the same as naming it as source
        'split': '',  # which judgements of BEIR, MTEB, TREC or MS MARCO, such as dev; '': test, or those that there are
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
        'rerank': 0,  # pages that the cross-encoder sees; see configs/encoder/cross_encoder.py for why none
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
      'shards': {'number': 4, 'output': ''},  # --mode=shards: of the index; '' is shards/ in the workdir, or s3://...
      **executor_section(),
    }
  )
