"""GPT-2: train on text, evaluate, sample, exchange with Hugging Face.

python -m experiments.gpt2                                                # a small GPT on the Python documentation
python -m experiments.gpt2 --config=configs/gpt2/gpt2_124m.py             # GPT-2 124M
python -m experiments.gpt2 --mode=sample --workdir=runs/gpt2/quickstart --config.sample.prompt='def '
python -m experiments.gpt2 --mode=import --init_from=hf:gpt2 --workdir=runs/gpt2/pretrained
python -m experiments.gpt2 --config=configs/gpt2/sft.py --init_from=hf:FOLDER --config.data.source=messages.jsonl
python -m experiments.gpt2 --mode=chat --workdir=runs/gpt2/smollm2         # with an imported instruct model
python -m experiments.gpt2 --config=configs/gpt2/gpt2_124m.py --mode=compile --hardware=8xh100   # will it fit there?
"""

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from absl import flags

from experiments import compile_mode, contract, gpt2_chat, gpt2_exchange, gpt2_keys, gpt2_scaling, gpt2_start, sections
from experiments.gpt2_material import (
  ConversationMaterial,
  TextMaterial,
  find_template,
  finite,
  is_of_conversations,
  kept_template,
)
from mlsd_jax import files, sealed
from mlsd_jax.compilation import Program, Slots, decoding_programs, train_program
from mlsd_jax.data.tokens import EvalBatches
from mlsd_jax.errors import UserError
from mlsd_jax.generation.generate import generate
from mlsd_jax.generation.sampling import SamplingConfig
from mlsd_jax.language_model import lora, pretrained, text_scores
from mlsd_jax.language_model.chat import exact_answers
from mlsd_jax.language_model.chat_template import ChatTemplate
from mlsd_jax.language_model.lora import LoraConfig, lora_task
from mlsd_jax.language_model.task import gpt_task
from mlsd_jax.language_model.text import keep_tokenizer, open_prepared, read_prompts, run_tokenizer
from mlsd_jax.language_model.text_preparation import prepare_text
from mlsd_jax.models import gpt
from mlsd_jax.models.families import DecoderConfig, functions_of, kind_of, read_config
from mlsd_jax.models.modern_gpt import ModernGPTConfig
from mlsd_jax.models.rotary import RotaryConfig
from mlsd_jax.printable import printable
from mlsd_jax.schema import Path, Source, from_mapping
from mlsd_jax.tokenizers import Tokenizer
from mlsd_jax.training import distributed, microbatches, plots, sharding
from mlsd_jax.training.config import TrainConfig, free_keys
from mlsd_jax.training.loop import check_settings, fit
from mlsd_jax.training.metrics import read_metrics
from mlsd_jax.training.step import DTYPES, cast_floating

# What may change between two sittings of a run: where it runs and what it shows, not what it computes.
FREE = ('sample', 'chat', 'evaluate', 'data.folder', 'data.workers', *free_keys('train'))
_NAMES = {'gpt': 'GPT', 'modern': 'Modern decoder'}


def train(run: contract.Run) -> None:
  """Trains to the end (or goes on), evaluates, samples, draws the loss curve."""
  config = run.config
  settings = from_mapping(TrainConfig, config.train.to_dict(), 'train')
  check_settings(settings)
  _sampling(config.sample)
  run.check(FREE)
  finished = run.result()
  if (run.workdir / gpt2_scaling.FILE).exists():
    raise UserError(f'{run.workdir} holds a ladder of --mode=scaling: choose another --workdir')
  if finished:
    return run.print_finished(_summary(finished))

  factors = from_mapping(LoraConfig, config.lora.to_dict(), 'lora')
  lora.check(factors, settings.optimizer, config.init_from)
  template = find_template(config) if is_of_conversations(config) else None
  if template is not None:
    gpt2_chat.read_tools(run)
  start = gpt2_start.load(config, template)
  if start is not None:
    gpt2_start.write_model(config, start.model, start.tokenizer)
    run.check(FREE)
  material: TextMaterial | ConversationMaterial
  if template is not None and start is not None:
    material = ConversationMaterial(config, template, start.tokenizer, start.model.context_length)
  else:
    material = TextMaterial(config, start.tokenizer if start else None)
  model = start.model if start else read_config(config.model.to_dict(), vocab_size=material.tokenizer.vocab_size)
  read_prompts(config.sample.prompt, material.tokenizer)
  train_data, eval_data = material.batches(settings, model.context_length)
  task = gpt_task(model, batch_size=settings.batch_size, length=model.context_length)
  num_params = functions_of(model).num_params(jax.eval_shape(task.init, jax.random.key(0)))
  metadata, base = pretrained.metadata(model), start.params if start else None
  if factors.rank and start is not None:
    metadata, task, base = pretrained.metadata(model, factors, start.base), lora_task(task, base, factors), None
  idle_rank = lora.idle_rank(task.frozen, factors) if factors.rank else None
  microbatches.check(task, settings)
  run.claim(FREE, material.fingerprints)
  keep_tokenizer(run.workdir, material.tokenizer)
  if template is not None and distributed.is_main():
    template.save(run.workdir)
  _describe(run, material, model, num_params)
  if factors.rank:
    trained = functions_of(model).num_params(jax.eval_shape(task.init, jax.random.key(0)))
    run.print(f'LoRA of rank {factors.rank}: {trained:,} parameters are trained, {trained / num_params:.2%} of them')
  if idle_rank:
    run.print(idle_rank)

  result = fit(task, train_data, eval_data, settings, run.workdir, init_params=base, metadata=metadata)
  if result.interrupted:
    return None
  run.write_result(
    {
      'val_loss': result.metrics['loss'],
      **material.scores(result.metrics['loss']),
      'num_params': num_params,
      'tokens_per_second': result.items_per_second,
      'train_seconds': result.train_seconds,
      'steps': result.step,
      **result.origin(),
    }
  )
  _plot(run, material.baselines)
  if distributed.is_main():  # which alone has written the result by now
    run.print(_summary(run.result() or {}))
  whole = result.params if not factors.rank else lora.join(result.params, task.frozen, factors)
  params = cast_floating(sharding.gather_to_host(whole), DTYPES[settings.dtype])
  if template is None:
    return _sample(run, params, model, material.tokenizer)
  sampling = _sampling(config.sample)
  return gpt2_chat.show(run, gpt2_chat.make_speaker(run, params, model, material.tokenizer, template, sampling))


def evaluate(run: contract.Run) -> None:
  """Scores a trained run, or what --init_from would start one from: loss, perplexity, bits a byte, benchmarks, answers.

  HellaSwag and LAMBADA where their files are given; of conversations, the share of answers right to the letter.
  """
  config = run.config
  answers: list[tuple[str, str, bool]] = []
  if is_of_conversations(config):
    params, model, tokenizer, template, origin = _open_taught(run)
    material = ConversationMaterial(config, template, tokenizer, model.context_length)
    loss = material.loss(params, model, config.train.batch_size)
    values: dict[str, Any] = {'val_loss': loss, 'perplexity': finite(text_scores.perplexity(loss))}
    if config.evaluate.answers:
      sampling = SamplingConfig(temperature=0.0)
      speaker = gpt2_chat.make_speaker(run, params, model, tokenizer, template, sampling)
      asked = material.found.val_messages[: config.evaluate.answers]
      answers = exact_answers(speaker, asked, gpt2_chat.read_tools(run))
      values |= {'exact': sum(right for *_, right in answers) / len(answers), 'answers': len(answers)}
  else:
    params, model, origin = pretrained.load_run(run.workdir)
    tokenizer = run_tokenizer(run.workdir)
    text = open_prepared(prepare_text(config.data, tokenizer))
    stride = config.evaluate.stride or model.context_length
    batches = EvalBatches(text.val, config.train.batch_size, model.context_length, stride)
    score = text_scores.score_text(params, model, batches, num_bytes=batches.target_bytes)
    values = {'val_loss': score.loss, 'perplexity': finite(score.perplexity)}
    values |= {'bits_per_byte': score.bits_per_byte, 'window': model.context_length, 'stride': stride}
  if config.evaluate.hellaswag:
    choice = text_scores.hellaswag(params, model, tokenizer, config.evaluate.hellaswag)
    values |= {f'hellaswag_{name}': value for name, value in dataclasses.asdict(choice).items()}
  if config.evaluate.choices:
    choice = text_scores.multiple_choice(params, model, tokenizer, config.evaluate.choices)
    values |= {f'choices_{name}': value for name, value in dataclasses.asdict(choice).items()}
  if config.evaluate.lambada:
    last_word = text_scores.lambada(params, model, tokenizer, config.evaluate.lambada)
    values |= {f'lambada_{name}': finite(value) for name, value in dataclasses.asdict(last_word).items()}
  sealed.write_json(run.workdir / 'eval.json', values | origin)
  run.print(
    '\n'.join(f'{name:<24} {"overflows" if value is None else f"{value:.6g}"}' for name, value in values.items())
  )
  for question, answer, right in answers[:8]:
    run.print(f'{"right" if right else "wrong"}: {question!r} -> {answer!r}')
  run.print(gpt2_exchange.of_checkpoint(origin))


def _open_taught(run: contract.Run) -> tuple[Any, DecoderConfig, Tokenizer, ChatTemplate, dict[str, Any]]:
  """A run that was taught conversations; where the workdir holds none, what a run there would start from."""
  if run.stored is not None or not run.config.init_from:
    params, model, origin = pretrained.load_run(run.workdir)
    return params, model, run_tokenizer(run.workdir), kept_template(run), origin
  template = find_template(run.config)
  start = gpt2_start.load(run.config, template)
  assert start is not None  # as init_from is given
  return start.params, start.model, start.tokenizer, template, {'checkpoint_step': 0}


def sample(run: contract.Run) -> None:
  """Continues --config.sample.prompt with a trained run, streaming to the terminal."""
  params, model, tokenizer = _load(run)
  _sample(run, cast_floating(params, DTYPES[run.config.train.dtype]), model, tokenizer)


def chat(run: contract.Run) -> None:
  """Talks with a run's model: lines of the standard input are messages, answers are streamed."""
  sampling = _sampling(run.config.sample, ('max_new_tokens',))
  template = gpt2_chat.read_template(run)
  gpt2_chat.read_tools(run)
  params, model, tokenizer = _load(run)
  params = cast_floating(params, DTYPES[run.config.train.dtype])
  gpt2_chat.talk(run, gpt2_chat.make_speaker(run, params, model, tokenizer, template, sampling))


def scaling(run: contract.Run) -> None:
  """Trains sizes at equal operations, fits a law to their losses, and tests it on the next size."""
  gpt2_scaling.scale(run, FREE)


def programs(config: Any) -> list[Program]:
  """What --mode=compile compiles: the training step, and the programs of a server with its parameters."""
  settings = from_mapping(TrainConfig, config.train.to_dict(), 'train')
  size = compile_mode.vocabulary_size(config.data.tokenizer)
  model = read_config(config.model.to_dict(), vocab_size=size)
  task = gpt_task(model, batch_size=settings.batch_size, length=model.context_length)
  tokens = jax.ShapeDtypeStruct((settings.batch_size, model.context_length + 1), jnp.int32)
  serving = decoding_programs(model, task.sharding_rules, compile_mode.SERVING_MESH, Slots(16, DTYPES[settings.dtype]))
  return [train_program(task, settings, {'tokens': tokens}), *serving]


def _settle(run: contract.Run) -> None:
  """--init_from is config.init_from; what such a start brings with it is as the workdir's run found it.

  Raises:
    UserError: both are given, or a form of the step that the attention does not go with.
  """
  contract.read_own_path(run)
  if run.config.train.step == 'pmap' and run.config.model.get('attention') == 'cudnn':
    raise UserError(
      '--config.train.step=pmap does not go with --config.model.attention=cudnn, which splits itself over the '
      "trainer's mesh where pmap has its own; --config.train.step=shard_map is the same step and does"
    )
  if run.flags['init_from']:
    if run.config.init_from != run.flags['init_from'] and 'init_from' in run.given:
      raise UserError('--init_from and --config.init_from are both given; one of them says what is read')
    run.config.init_from = run.flags['init_from']
  if run.stored is None or not run.config.init_from or run.stored['init_from'] != run.config.init_from:
    return
  for key in gpt2_keys.of_start(run.config):
    section, name = key.split('.')
    if key not in run.given:
      run.config[section][name] = run.stored[section][name]


def _load(run: contract.Run) -> tuple[Any, DecoderConfig, Tokenizer]:
  params, model, _ = pretrained.load_run(run.workdir)
  return params, model, run_tokenizer(run.workdir)


def _sample(run: contract.Run, params: Any, model: DecoderConfig, tokenizer: Tokenizer) -> None:
  """Prints samples as they are made and writes them to samples.txt."""
  config = run.config.sample
  sampling = _sampling(config)
  prompts = read_prompts(config.prompt, tokenizer)
  streaming = len(prompts) * config.num_samples == 1 and distributed.is_main() and sys.stdout.isatty()
  if streaming:
    run.print(f'--- {prompts[0]!r}')
  samples = generate(
    params,
    model,
    tokenizer,
    prompts,
    sampling=sampling,
    max_new_tokens=config.max_new_tokens,
    num_samples=config.num_samples,
    stop=tuple(config.stop),
    seed=config.seed,
    on_text=(lambda _, piece: print(printable(piece), end='', flush=True)) if streaming else None,
  )
  shown = [f'--- sample {i + 1} of {len(samples)} ---\n{s.prompt}{s.text}\n' for i, s in enumerate(samples)]
  run.print('' if streaming else '\n' + '\n'.join(shown))
  if distributed.is_main():
    files.write_text(run.workdir / 'samples.txt', '\n'.join(shown))


def _sampling(config: Any, counts: Sequence[str] = ('num_samples', 'max_new_tokens')) -> SamplingConfig:
  """config.sample, checked before the training that ends with samples."""
  for name in counts:
    if config[name] < 1:
      raise UserError(f'config.sample.{name}={config[name]} must be at least 1')
  names = ('temperature', 'top_k', 'top_p', 'min_p', 'repetition_penalty', 'presence_penalty', 'frequency_penalty')
  return from_mapping(SamplingConfig, {name: config[name] for name in names}, 'sample')


def _describe(
  run: contract.Run, material: TextMaterial | ConversationMaterial, model: DecoderConfig, num_params: int
) -> None:
  devices = jax.devices()
  shape = f'{_count(model.num_layers, "layer")}, {_count(model.num_heads, "head")}'
  run.print(
    f'{material.describe()}\n'
    f'{_NAMES[kind_of(model)]} of {shape}, {model.embed_dim} wide, '
    f'{model.context_length} tokens of context: {num_params:,} parameters on {len(devices)} x {devices[0].device_kind}'
  )


def _count(number: int, thing: str) -> str:
  return f'{number} {thing}{"s" if number != 1 else ""}'


def _plot(run: contract.Run, baselines: dict[str, float]) -> None:
  if distributed.is_main():
    title = f'{_NAMES[run.config.model.get("kind", "gpt")]}, {run.workdir.name}'
    plots.loss_curve(read_metrics(run.workdir), run.workdir / 'plots' / 'loss.png', title=title, baselines=baselines)


def _summary(result: dict[str, Any]) -> str:
  time = f'{result["train_seconds"]:.0f} s, {result["tokens_per_second"]:,.0f} tokens/s'
  if 'conversations' in result:
    return f'validation loss {result["val_loss"]:.4f} nats a token of the assistant, {time}'
  return (
    f'validation loss {result["val_loss"]:.4f} nats a token (bigram model {result["bigram_val_loss"]:.4f}), '
    f'{result["bits_per_byte"]:.4f} bits a byte, {time}'
  )


def _define_flags(values: flags.FlagValues) -> None:
  flags.DEFINE_string(
    'init_from', '', 'hf:FOLDER_OR_NAME (Hugging Face GPT-2) or a workdir of ours to start from', flag_values=values
  )
  flags.DEFINE_bool(
    'overwrite', False, 'let --mode=export replace the folder of a later checkpoint', flag_values=values
  )
  compile_mode.define_flags(values)


MODES = {
  'train': contract.Mode(
    train,
    ('data', 'model', 'train', 'lora', 'sample', 'chat.template', 'chat.tools', 'init_from', 'init_tokenizer'),
    flags=('init_from',),
  ),
  'evaluate': contract.Mode(
    evaluate,
    (
      *(f'data.{name}' for name in gpt2_keys.DATA),
      *('train.batch_size', 'evaluate', 'init_from', 'init_tokenizer'),
      *('chat.tools', 'chat.template', 'sample.max_new_tokens', 'sample.stop'),
    ),
    flags=('init_from',),
  ),
  'sample': contract.Mode(sample, ('sample', 'train.dtype')),
  'chat': contract.Mode(
    chat,
    ('chat', 'train.dtype', *(f'sample.{name}' for name in gpt2_keys.OF_ANSWERS)),
  ),
  'scaling': contract.Mode(scaling, ('data', 'model', 'train', 'scaling')),
  'export': contract.Mode(gpt2_exchange.export, flags=('overwrite',)),
  'import': contract.Mode(
    gpt2_exchange.import_, ('init_from', 'init_tokenizer', 'model.context_length'), flags=('init_from',)
  ),
  'compile': compile_mode.mode(programs, ('data.tokenizer', 'model', 'train'), compile_mode.training_changes),
}
SECTIONS: dict[str, sections.Section] = {
  '': sections.keys(init_from=Source, init_tokenizer=Source),
  'data': sections.TextOrConversations,
  'model': lambda values, name: read_config(values, name, vocab_size=256),
  'train': TrainConfig,
  'lora': LoraConfig,
  'scaling': gpt2_scaling.ScalingConfig,
  'evaluate': sections.TextEvaluation,
  'sample': sections.sample_with(SamplingConfig),
  'chat': sections.keys(system=str, template=Path, tools=tuple[str, ...]),
}
RENAMED = {
  '--config.eval': '--config.evaluate',
  '--mode=eval': '--mode=evaluate',
  '--config.profile': '--config.train.profile',
}

CLASSES = (
  ('model', gpt.GPTConfig),
  ('model', ModernGPTConfig),
  ('model.rotary', RotaryConfig),
  ('lora', LoraConfig),
  ('scaling', gpt2_scaling.ScalingConfig),
  ('sample', SamplingConfig),
)


def main(argv: Sequence[str] | None = None) -> int:
  return contract.launch(
    'gpt2',
    MODES,
    'quickstart',
    define_flags=_define_flags,
    renamed=RENAMED,
    settle=_settle,
    idle=gpt2_keys.idle,
    sections=SECTIONS,
    classes=CLASSES,
    repeated=('sample.prompt',),
    argv=argv,
  )


if __name__ == '__main__':
  sys.exit(main())
