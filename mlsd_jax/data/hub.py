"""Model folders of the Hugging Face hub, downloaded once: files of one commit, checked against the hub's sums."""

import hashlib
import os
import pathlib
import re
import sys
from collections.abc import Sequence
from typing import Any

from mlsd_jax import files, folders, sealed
from mlsd_jax.errors import UserError

_NAME = re.compile(r'[A-Za-z0-9][\w.-]*(/[\w.-]+)?(@[A-Za-z0-9][\w.-]*)?')
WEIGHTS = 'model.safetensors'
INDEX = 'model.safetensors.index.json'
_PICKLED = 'pytorch_model.bin'
_ASKED = '.asked.json'  # further files that the hub was asked for, so that those it has not are not asked for again
_ORIGIN = '.origin.json'  # {'commit': of the model's repository, or '' if the hub names none, 'files': {name: SHA-256}}


def model_folder(folder_or_name: str | os.PathLike[str], besides: Sequence[str] = ()) -> pathlib.Path:
  """The folder itself, or the local copy of the hub's model of that name (config.json and safetensors only).

  NAME@REVISION is the model as it was at a commit, a tag or a branch; without one, as it is when it is first asked for.
  What comes later comes from the same commit.

  Through the huggingface_hub package where it is installed (with its cache and tokens), else over HTTPS into
  $MLSD_CACHE_DIR/huggingface. $HF_ENDPOINT names another hub.

  Args:
    besides: further files that are taken where the model has them.

  Raises:
    UserError: neither a folder nor a model that can be downloaded; a file that is not as the hub has it, or is no
      longer as it was downloaded.
  """
  if not str(folder_or_name):
    raise UserError('no folder and no hub model is named')
  folder = pathlib.Path(folder_or_name).expanduser()
  files.restore_folder(folder)
  if folder.is_dir():
    return folder
  name = str(folder_or_name)
  if folder.exists() or not _NAME.fullmatch(name):
    raise UserError(f'{name} is no folder; give one that holds config.json and {WEIGHTS}, or the name of a hub model')
  try:
    import huggingface_hub  # type: ignore[import-not-found,unused-ignore]
  except ImportError:
    return _download(name, besides)
  try:
    wanted = ['config.json', 'model*.safetensors*', *besides]
    repository, _, revision = name.partition('@')
    return pathlib.Path(huggingface_hub.snapshot_download(repository, revision=revision or None, allow_patterns=wanted))
  except Exception as error:  # whatever of its errors: the network, the name, access rights
    raise _unreachable(name, folders.cache_folder() / 'huggingface' / name, error) from error


def _download(name: str, besides: Sequence[str]) -> pathlib.Path:
  import httpx

  folder = folders.cache_folder() / 'huggingface' / name.replace('/', '--')
  asked = set(files.read_json(folder / _ASKED)) if (folder / _ASKED).exists() else set()
  new = [file for file in besides if file not in asked and not (folder / file).exists()]
  usable = _has_weights(folder)  # which come last
  known = _origin(folder)['files']
  problem = sealed.damage(folder, {file: known[file] for file in known if (folder / file).exists()})
  if problem:
    raise UserError(f'{problem}: delete {folder} to have {name} downloaded again')
  if usable and not new:
    return folder
  with httpx.Client(follow_redirects=True, timeout=5 if usable else 30) as client:
    try:
      _fetch(client, name, folder, 'config.json')
      for file in new:
        _fetch(client, name, folder, file, optional=True)
      if new:
        files.write_json(folder / _ASKED, sorted(asked.union(new)))
      if not usable and not _fetch(client, name, folder, WEIGHTS, optional=True):
        if client.head(_url(name, _PICKLED)).is_success and not client.head(_url(name, INDEX)).is_success:
          raise UserError(
            f'the hub model {name} has its weights as {_PICKLED} alone, a pickle, which is not read: download it and '
            f'give its folder, and the command that converts it is shown'
          )
        _fetch(client, name, folder, INDEX)
        for shard in shards(folder / INDEX):
          _fetch(client, name, folder, shard)
    except (httpx.HTTPError, httpx.InvalidURL, UserError) as error:
      if usable:  # the model that is there does without: offline, or in a folder that cannot be written
        return folder
      if isinstance(error, UserError):
        raise
      raise _unreachable(name, folder, error) from error
  return folder


def _origin(folder: pathlib.Path) -> dict[str, Any]:
  """Where the files come from; of a copy that an earlier release made, nothing is known."""
  return sealed.read_json(folder / _ORIGIN) if (folder / _ORIGIN).exists() else {'commit': '', 'files': {}}


def _has_weights(folder: pathlib.Path) -> bool:
  if (folder / WEIGHTS).exists():
    return True
  return (folder / INDEX).exists() and all((folder / shard).exists() for shard in shards(folder / INDEX))


def shards(index: pathlib.Path) -> list[str]:
  """The file names that an index of sharded weights lists.

  Raises:
    UserError: the index is not one, or names a file outside its folder.
  """
  content = files.read_json(index)
  names = content.get('weight_map') if isinstance(content, dict) else None
  if not isinstance(names, dict) or not names:
    raise UserError(f'{index} is no index of safetensors files: it has no weight_map')
  bad = [name for name in names.values() if not isinstance(name, str) or pathlib.Path(name).name != name]
  if bad:
    raise UserError(f'{index} names {bad[0]!r}, which is not a file of its folder')
  return sorted(set(names.values()))


def refuse_pickled(folder: pathlib.Path) -> None:
  """Raises UserError, with the command that converts them, if the weights in `folder` are PyTorch's pickles alone."""
  found = sorted(path.name for path in folder.glob('*.bin') if path.name.startswith(('pytorch_model', 'model')))
  if found:
    raise UserError(
      f'{folder} holds {found[0]}, a pickle, which could run anything and is not read; convert it where torch is '
      f'installed: python -c "import glob, torch, safetensors.torch as s; s.save_file({{k: v.clone() for f in '
      f"glob.glob('{folder}/*model*.bin') for k, v in torch.load(f, weights_only=True).items()}}, "
      f"'{folder / WEIGHTS}')\""
    )


def _url(name: str, file: str, commit: str = '') -> str:
  repository, _, revision = name.partition('@')
  hub = os.environ.get('HF_ENDPOINT', 'https://huggingface.co').rstrip('/')
  return f'{hub}/{repository}/resolve/{commit or revision or "main"}/{file}'


def _fetch(client, name: str, folder: pathlib.Path, file: str, *, optional: bool = False) -> bool:
  """Whether the model has the file, which then is in `folder`; one that is not optional raises httpx's error."""
  from rich import console, progress

  target = folder / file
  if target.exists():
    return True
  origin = _origin(folder)
  url = _url(name, file, origin['commit'])
  columns = progress.TextColumn('{task.description}', markup=False), progress.BarColumn(), progress.DownloadColumn()
  bar = progress.Progress(
    *columns, progress.TransferSpeedColumn(), console=console.Console(stderr=True), disable=not sys.stderr.isatty()
  )
  with client.stream('GET', url, headers={'Accept-Encoding': 'identity'}) as response:
    if optional and response.status_code == 404:
      return False
    response.raise_for_status()
    with files.atomic_path(target) as temporary:
      with bar, temporary.open('wb') as out:
        total = response.headers.get('Content-Length')
        task = bar.add_task(f'downloading {name}/{file}', total=int(total) if total else None)
        for block in response.iter_bytes(1 << 20):
          out.write(block)
          bar.advance(task, len(block))
      commit, wanted = _promised(response)
      digest = files.sha256(temporary)
      if wanted not in ('', digest, _git_digest(temporary)):
        raise UserError(f'{url} is not the file that the hub has (its checksum is not {wanted}); it was not kept')
  known = {'commit': origin['commit'] or commit, 'files': origin['files'] | {file: digest}}
  sealed.write_json(folder / _ORIGIN, known)
  return True


def _promised(response: Any) -> tuple[str, str]:
  """The commit that a file is of, and its sum: SHA-256 of large ones, Git's of small ones; '' where a hub is silent.

  They stand in the answer of the hub itself, which may send on to where the bytes are.
  """
  headers = [each.headers for each in (*response.history, response)]
  commit = next((found for each in headers if (found := each.get('X-Repo-Commit'))), '')
  tags = [tag for each in headers for key in ('X-Linked-ETag', 'ETag') if (tag := each.get(key))]
  sums = (re.fullmatch(r'(?:W/)?"?([0-9a-f]{40}|[0-9a-f]{64})"?', tag) for tag in tags)
  known = re.fullmatch(r'[0-9a-f]{40}', commit)
  return (commit if known else ''), next((found[1] for found in sums if found and known), '')


def _git_digest(path: pathlib.Path) -> str:
  """What Git calls the file's content."""
  digest = hashlib.sha1(b'blob %d\0' % path.stat().st_size, usedforsecurity=False)
  with path.open('rb') as file:
    while block := file.read(1 << 20):
      digest.update(block)
  return digest.hexdigest()


def _unreachable(name: str, folder: pathlib.Path, error: Exception) -> UserError:
  reason = str(error).splitlines()[0] if str(error) else type(error).__name__
  return UserError(
    f'there is no folder {name}, and the hub model of that name cannot be downloaded ({reason}): '
    f'put config.json and {WEIGHTS} from {_url(name, WEIGHTS)} into {folder} and give that folder'
  )
