"""The peer of serving_http.py: sentence-transformers behind FastAPI, as its users write it.

serving_peer.py MODEL_FOLDER runs in an environment of its own, without this project.
It prints the port that it listens at.
"""

import socket
import sys

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer

model = SentenceTransformer(sys.argv[1], device='cpu')
app = FastAPI()


class Body(BaseModel):
  model: str
  input: str | list[str]


@app.post('/v1/embeddings')
def embed(body: Body):
  texts = [body.input] if isinstance(body.input, str) else body.input
  vectors = model.encode(texts, normalize_embeddings=True, show_progress_bar=False).tolist()
  return {'data': [{'index': i, 'embedding': vector} for i, vector in enumerate(vectors)]}


listener = socket.create_server(('127.0.0.1', 0))
print(listener.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app, log_level='error')).run(sockets=[listener])
