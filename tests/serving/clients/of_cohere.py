"""What programs do with the cohere package and LlamaIndex: python of_cohere.py BASE_URL, prints JSON."""

import json
import sys

import cohere
from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference

base = sys.argv[1]
documents = ['Page 3 is about copying folders', 'nothing', 'Page 5 is about reading archives']
seen: dict[str, object] = {}
for name, client in (('v1', cohere.Client('none', base_url=base)), ('v2', cohere.ClientV2('none', base_url=base))):
  answer = client.rerank(model='small', query='copy a folder', documents=documents, top_n=3)
  seen[name] = [[row.index, row.relevance_score] for row in answer.results]
try:
  cohere.ClientV2('none', base_url=base).rerank(model='nobody', query='a', documents=documents)
except cohere.core.api_error.ApiError as error:
  seen['refused'] = error.status_code
embedder = TextEmbeddingsInference(model_name='small', base_url=base)
seen['vectors'] = embedder.get_text_embedding_batch(['read a folder', 'archives'])
print(json.dumps(seen))
