"""Embeddings and reranking in the shapes of OpenAI, Cohere, Jina and Text Embeddings Inference."""

import base64
import secrets
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlsd_jax.serving.errors import ApiError
from mlsd_jax.serving.requests import Document, EmbeddingRequest, RerankRequest, TeiEmbedRequest, TeiRerankRequest
from mlsd_jax.serving.vector_service import VectorService


async def openai_embeddings(body: EmbeddingRequest, service: VectorService, client: str) -> dict[str, Any]:
  """POST /v1/embeddings.

  Raises:
    ApiError: token ids, which are another tokenizer's; dimensions that the model does not have.
  """
  given = [body.input] if isinstance(body.input, str) else body.input
  if not given:
    raise ApiError(400, 'input is an empty list', param='input')
  texts = [text for text in given if isinstance(text, str)]
  if len(texts) < len(given):
    hint = 'send texts (LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False))'
    whose = f"input: token ids are of the tokenizer that made them, which is not {service.name}'s"
    raise ApiError(400, f'{whose}; {hint}', param='input')
  _check_texts(texts, 'input')
  if body.dimensions not in (None, service.encoder.dim):
    raise ApiError(
      400, f'dimensions: {service.name} gives {service.encoder.dim}, and cannot be cut', param='dimensions'
    )
  vectors = await service.embed(texts, body.input_type, client)
  as_text = lambda vector: base64.b64encode(vector.astype('<f4').tobytes()).decode()
  encode = as_text if body.encoding_format == 'base64' else np.ndarray.tolist
  tokens = service.count_tokens(texts)
  return {
    'object': 'list',
    'data': [{'object': 'embedding', 'index': i, 'embedding': encode(vector)} for i, vector in enumerate(vectors)],
    'model': service.name,
    'usage': {'prompt_tokens': tokens, 'total_tokens': tokens},
  }


async def rerank(body: RerankRequest, service: VectorService, client: str, *, is_jina: bool) -> dict[str, Any]:
  """POST /v1/rerank, /v2/rerank (Cohere) and /rerank (Jina): the best first."""
  texts = [each.text if isinstance(each, Document) else each for each in body.documents]
  _check_texts([body.query], 'query')
  scores = await service.relevance(body.query, texts, client)
  order = np.argsort(-scores, kind='stable')[: body.top_n or len(texts)]
  results: list[dict[str, Any]] = [{'index': int(i), 'relevance_score': float(scores[i])} for i in order]
  if body.return_documents:
    for result in results:
      result['document'] = {'text': texts[result['index']]}
  tokens = service.count_tokens([body.query, *texts])
  told: dict[str, Any] = {'results': results}
  if is_jina:
    return told | {'model': service.name, 'usage': {'total_tokens': tokens}}
  about = {'api_version': {'version': '2'}, 'billed_units': {'search_units': 1}}
  return {'id': secrets.token_hex(16), **told, 'meta': about}


async def tei_embed(body: TeiEmbedRequest, service: VectorService, client: str) -> list[list[float]]:
  """POST /embed.

  Raises:
    ApiError: an empty list (422), a text longer than the encoder reads unless it may be cut (413).
  """
  texts = [body.inputs] if isinstance(body.inputs, str) else body.inputs
  if not texts:
    raise ApiError(422, 'inputs is an empty list')
  _check_lengths(texts, service, body.truncate)
  if not body.normalize:
    raise ApiError(422, f'normalize: {service.name} gives unit vectors only')
  if body.dimensions not in (None, service.encoder.dim):
    raise ApiError(422, f'dimensions: {service.name} gives {service.encoder.dim}')
  return (await service.embed(texts, body.prompt_name or 'passage', client)).tolist()


async def tei_rerank(body: TeiRerankRequest, service: VectorService, client: str) -> list[dict[str, Any]]:
  """POST /rerank with `texts`: the best first."""
  _check_lengths([body.query, *body.texts], service, body.truncate)
  scores = await service.relevance(body.query, body.texts, client)
  if body.raw_scores:
    if service.cross_encoder is None:
      raise ApiError(422, f'raw_scores: {service.name} has no cross-encoder; its scores are cosine similarities')
    scores = np.log(scores / (1 - scores))
  results: list[dict[str, Any]] = []
  for i in np.argsort(-scores, kind='stable'):
    results.append({'index': int(i), 'score': float(scores[i])} | ({'text': body.texts[i]} if body.return_text else {}))
  return results


def _check_texts(texts: Sequence[Any], param: str) -> None:
  if not all(text.strip() for text in texts):
    raise ApiError(400, f'{param} holds an empty text', param=param)


def _check_lengths(texts: Sequence[str], service: VectorService, truncate: bool) -> None:
  most = service.encoder.model.max_length
  if not truncate and any(service.encoder.count_tokens(text) + 2 > most for text in texts):
    raise ApiError(413, f'a text has more than the {most} tokens that {service.name} reads; truncate=true cuts it')
