"""--mode=export and --mode=import of experiments.gpt2: folders of Hugging Face's form, written and read."""

import pathlib
from typing import Any

from experiments import contract, gpt2_start
from mlsd_jax.errors import UserError
from mlsd_jax.language_model import gpt2_folder, modern_folder, pretrained
from mlsd_jax.language_model.text import run_tokenizer
from mlsd_jax.models import gpt
from mlsd_jax.models.families import functions_of


def export(run: contract.Run) -> None:
  """Writes WORKDIR/huggingface, a folder that transformers loads; not over that of a later checkpoint (--overwrite)."""
  params, model, origin = pretrained.load_run(run.workdir)
  folder = run.workdir / 'huggingface'
  _refuse_newer(folder, origin, overwrite=run.flags['overwrite'])
  save: Any = gpt2_folder.save_gpt2 if isinstance(model, gpt.GPTConfig) else modern_folder.save_modern
  save(params, model, folder, run_tokenizer(run.workdir), origin)
  run.print(f'wrote {folder} ({of_checkpoint(origin)})')
  loader = 'GPT2LMHeadModel' if isinstance(model, gpt.GPTConfig) else 'AutoModelForCausalLM'
  run.print(f'transformers.{loader}.from_pretrained({str(folder)!r}) loads it')


def _refuse_newer(folder: pathlib.Path, origin: dict[str, Any], *, overwrite: bool) -> None:
  there = gpt2_folder.origin(folder)
  if there and there['checkpoint_step'] > origin['checkpoint_step'] and not overwrite:
    raise UserError(
      f'{folder} is of checkpoint {there["checkpoint_step"]}, later than the one that can be read now '
      f'({of_checkpoint(origin)}): move it away, or give --overwrite to lose it'
    )


def of_checkpoint(origin: dict[str, Any]) -> str:
  """'checkpoint 400', and which newer ones are damaged."""
  damaged = origin.get('damaged_checkpoints', ())
  passed_over = f', as {" and ".join(damaged)} cannot be read' if damaged else ''
  return f'checkpoint {origin["checkpoint_step"]}{passed_over}'


def import_(run: contract.Run) -> None:
  """Writes --init_from=hf:FOLDER_OR_NAME as a run that can be evaluated, sampled and exported."""
  spec = run.config.init_from
  if not spec:
    raise UserError('--mode=import needs --init_from=hf:FOLDER_OR_NAME')
  shorter = {'context_length': run.config.model.context_length} if 'model.context_length' in run.given else {}
  params, model, tokenizer = pretrained.load(spec, tokenizer=run.config.init_tokenizer, **shorter)
  run.config.init_from = spec
  gpt2_start.write_model(run.config, model, tokenizer)
  run.claim()
  tokenizer.save(run.workdir / 'tokenizer.json')
  pretrained.save(run.workdir, params, model)
  template = pretrained.chat_template_of(spec)
  if template is not None:
    template.save(run.workdir)
  run.print(f'{run.workdir} holds {spec}: {functions_of(model).num_params(params):,} parameters')
