"""GET /: the page on which a person uses what is served. Its files lie under page/ and are sent as they are."""

import hashlib
import pathlib

from fastapi import FastAPI, Request, Response

_FOLDER = pathlib.Path(__file__).parent / 'page'
_TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
}
_NAMES = sorted(path.name for path in _FOLDER.iterdir() if path.suffix in _TYPES)
PAGE_PATHS = frozenset('/' if name == 'index.html' else f'/page/{name}' for name in _NAMES)

# Nothing from elsewhere, no script or style in the markup, in no other site's frame: what a model, a corpus or a name
# says can then do nothing, should it ever be taken for markup.
_HEADERS = {
  'Content-Security-Policy': "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cache-Control': 'no-cache',  # asked for anew each time, and answered 304 if nothing changed
}


def add_page(app: FastAPI) -> None:
  """Adds the page's files to an app: index.html at /, the others at /page/NAME."""
  for name in _NAMES:
    path = '/' if name == 'index.html' else f'/page/{name}'
    app.add_api_route(path, _file(name), methods=['GET'], include_in_schema=False, name=f'page {name}')


def _file(name: str):
  data = (_FOLDER / name).read_bytes()
  headers = _HEADERS | {'ETag': f'"{hashlib.sha256(data).hexdigest()[:32]}"'}

  async def send(request: Request) -> Response:
    if headers['ETag'] in request.headers.get('if-none-match', ''):
      return Response(status_code=304, headers=headers)
    return Response(data, media_type=_TYPES[pathlib.Path(name).suffix], headers=headers)

  return send
