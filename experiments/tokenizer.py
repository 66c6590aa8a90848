"""Tokenizers: train a byte-level BPE, compare it with OpenAI's, look at how texts are cut.

python -m experiments.tokenizer                                              # 4,096 tokens on the Python documentation
python -m experiments.tokenizer --config.data.source='texts/*.jsonl' --config.vocab_size=50257 --workdir=runs/mine
python -m experiments.tokenizer --mode=show --text='def copy(src, dst): ...'
python -m experiments.tokenizer --mode=analyse [--gpt2=WORKDIR]             # what is wrong with it; patterns; dropout
python -m experiments.tokenizer --mode=prepare --config.data.source=FOLDER   # token shards, part by part
python -m experiments.tokenizer --mode=compare                               # bits a byte of a GPT trained on each
"""

import hashlib
import json
import math
import re
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import numpy as np
from absl import flags

from experiments import contract, sections
from mlsd_jax import files, sealed, tokenizers
from mlsd_jax.data.named_tokenizer import require_size
from mlsd_jax.data.prepare_parts import prepare_parts
from mlsd_jax.data.reading_progress import progress_bar
from mlsd_jax.data.sources import Source, open_source
from mlsd_jax.errors import UserError
from mlsd_jax.schema import Names, Place, Positive, Share, SourceNames, above
from mlsd_jax.tokenizers import analysis, exchange, flaws, token_page, token_tables, tokenizer_json
from mlsd_jax.tokenizers.bpe import BPETokenizer
from mlsd_jax.tokenizers.merges import TIES
from mlsd_jax.tokenizers.openai import NotHereError
from mlsd_jax.tokenizers.patterns import pattern_for
from mlsd_jax.tokenizers.pieces import Counts, count_pieces

FREE = ('data.workers', 'compare', 'sample_megabytes', 'language_model', 'shards', *sections.EXECUTOR)
FREE_UNTIL_FINISHED = ('vocab_size', 'ties', 'special_tokens')  # what the counted pieces do not depend on
_SAVE_EVERY = 2**28  # characters counted between two saves
_TEXT = 'Tokenizers cut text: naïve café, 1999, def f(x): return x**2  # 日本語 😀'


def train(run: contract.Run) -> None:
  """Counts pieces, learns merges, compares compression, draws the curve."""
  config = run.config
  special = tuple(config.special_tokens)
  if config.vocab_size < 256 + len(special):
    raise UserError(
      f'vocab_size {config.vocab_size} is too small: there are 256 bytes and {len(special)} special tokens'
    )
  finished = run.result()
  free = FREE if finished else FREE + FREE_UNTIL_FINISHED
  run.check(free)
  if finished:
    return run.print_finished(_summary(finished))
  began = time.perf_counter()
  source = open_source(config.data.source, config.data.text_key)
  pattern_for(config.pattern)
  if config.ties not in TIES:
    raise UserError(f'config.ties={config.ties!r} is not one of {", ".join(TIES)}')
  source.fingerprint()
  run.claim(free)
  counts = _counts(run, source)
  total = sum(len(piece.encode()) * count for piece, count in counts.pieces.items())
  size = f'{total / 1e6:.1f} MB' if total >= 1e5 else f'{total / 1e3:.1f} KB'
  run.print(f'{source.name}: {size}, {counts.pieces.total():,} pieces, {len(counts.pieces):,} of them distinct')
  saved: list[int] = []
  with progress_bar('merging', config.vocab_size - 256 - len(special)) as advance:

    def on_merge(_: Any, tokens: int) -> None:
      saved.append(tokens)
      advance(1)

    tokenizer = BPETokenizer.from_pieces(
      counts.pieces,
      config.vocab_size,
      pattern=config.pattern,
      ties=config.ties,
      special_tokens=special,
      on_merge=on_merge,
    )
  require_size(tokenizer, config.vocab_size, source)
  train_seconds = time.perf_counter() - began
  _write(run, tokenizer)
  run.print(token_tables.first_merges(tokenizer, saved))

  texts = list(_sample(source, config.sample_megabytes))
  usages = [analysis.usage(each, texts) for each in [tokenizer, *_others(run, config.compare)]]
  run.print(token_tables.usage_table(usages))
  curve = analysis.compression_curve(saved, total)
  sizes = {u.name: (len(u.counts), u.bytes_per_token) for u in usages[1:]}
  analysis.plot_compression(curve, sizes, run.workdir / 'plots' / 'compression.png', title=f'BPE on {source.name}')
  analysis.plot_zipf(usages, run.workdir / 'plots' / 'zipf.png', title=f'Tokens of {source.name} by frequency')
  run.write_result(
    {
      'vocab_size': tokenizer.vocab_size,
      'bytes_per_token': usages[0].bytes_per_token,
      'train_seconds': train_seconds,
      'encode_mb_per_second': usages[0].megabytes_per_second,
      'text_megabytes': total / 1e6,
      'distinct_pieces': len(counts.pieces),
      'fertility': usages[0].fertility,
      'unused_share': usages[0].unused_share,
    }
  )
  sealed.delete_file(run.workdir / 'pieces.parquet')
  return run.print(f'{run.workdir}: {_summary(run.result() or {})}')


def show(run: contract.Run) -> None:
  """Colours the tokens of --text and writes an HTML page of several tokenizers."""
  text = run.flags['text'] or _TEXT
  own = run.workdir / 'tokenizer.json'
  ours: list[tokenizers.Tokenizer] = [tokenizers.load(own)] if own.exists() else []
  every = ours + _others(run, run.config.compare, tells=not ours)
  if not every:
    raise UserError(f'{run.workdir} holds no tokenizer and none of compare is at hand; train one first')
  for tokenizer in every:
    run.print(f'\n{tokenizer.name}: {len(tokenizer.encode(text))} tokens')
    if sys.stdout.isatty():
      import rich

      rich.print(token_page.in_terminal(tokenizer, text))
    else:
      run.print(token_page.in_plain_text(tokenizer, text))
  file = run.workdir / 'tokens.html'
  files.write_text(file, token_page.html_page(every, text))
  run.print(f'\nwrote {file}')


def analyse(run: contract.Run) -> None:
  """Flaws of the vocabulary, what the split pattern does to it, how BPE-dropout cuts; writes analysis.txt."""
  config = run.config
  bpe = tokenizers.load(run.workdir)
  if not isinstance(bpe, BPETokenizer):
    raise UserError(f'{run.workdir} holds {bpe!r}; only byte-pair encodings are analysed')
  texts = list(_sample(open_source(config.data.source, config.data.text_key), config.sample_megabytes))
  parts = [token_tables.flaws_of(bpe, analysis.usage(bpe, texts).counts)]
  for other in map(exchange.as_bpe, _others(run, config.compare)):
    if other is not None:
      parts.append(token_tables.flaws_of(other, analysis.usage(other, texts).counts))
  if run.flags['gpt2']:
    parts.append(_least_trained(run.flags['gpt2'], texts))
  parts.append(token_tables.pattern_table(texts, bpe.vocab_size, config.data.workers))
  parts.append(token_tables.dropout_table(bpe, texts))
  text = '\n\n'.join(parts)
  run.print(text)
  files.write_text(run.workdir / 'analysis.txt', text + '\n')


def compare(run: contract.Run) -> None:
  """Trains a small GPT on each tokenizer of language_model.tokenizers at equal compute: bits a byte."""
  from mlsd_jax.language_model import tokenizer_comparison  # brings JAX, which only this and --gpt2 need

  config, settings = run.config, run.config.language_model
  source, text_key = config.data.source, config.data.text_key
  text = open_source(source, text_key).fingerprint()
  rows = []
  for spec in settings.tokenizers:
    run.print(f'\n{spec}')
    # Other settings or another text are another run: a finished one must not be taken for it.
    key = hashlib.sha256(json.dumps([source, text_key, text, settings.to_dict()]).encode()).hexdigest()[:8]
    folder = run.workdir / 'language_model' / f'{re.sub(r"[^\w.-]+", "_", spec)}-{key}'
    row = tokenizer_comparison.train_on(spec, source, settings, folder, text_key=text_key)
    rows.append({'spec': spec, **row})
    if math.isnan(rows[-1]['bits_per_byte']):
      return  # requested to stop
  rows.sort(key=lambda row: row['bits_per_byte'])
  lines = [f'{"tokenizer":<14} {"ids":>8} {"parameters":>12} {"steps":>7} {"MB seen":>8} {"bits a byte":>12}']
  for row in rows:
    lines.append(
      f'{row["spec"]:<14} {row["vocab_size"]:>8,} {row["num_params"]:>12,} {row["steps"]:>7,} '
      f'{row["text_megabytes"]:>8.1f} {row["bits_per_byte"]:>12.4f}'
    )
  run.print('\n'.join(['', *lines]))
  files.write_json(run.workdir / 'compare.json', rows)


def prepare(run: contract.Run) -> None:
  """Token shards of the source by the tokenizer of the workdir, part by part; gpt2 reads them as tokens:FOLDER."""
  own = run.workdir / 'tokenizer.json'
  if not own.exists():
    raise UserError(f'{run.workdir} holds no tokenizer; train one first, or copy a tokenizer.json there')
  settings = run.config.shards
  began = time.perf_counter()
  with progress_bar('tokenizing', None) as advance:
    parts = prepare_parts(
      run.config.data.source,
      tokenizers.load(own),
      settings.output or run.workdir / 'tokens',
      text_key=run.config.data.text_key,
      val_fraction=settings.val_fraction,
      part_bytes=settings.part_megabytes * 1e6,
      config=sections.read_executor(run.config),
      on_part=advance,
    )
  shards = [shard for note in parts.notes.values() for shard in note['shards'].values()]
  tokens, size = (sum(shard[name] for shard in shards) for name in ('num_tokens', 'text_bytes'))
  run.print(
    f'{parts.path}: {len(parts.seals)} parts, {tokens:,} tokens of {size / 1e6:,.1f} MB; {parts.made} made now, '
    f'{time.perf_counter() - began:.1f} s'
  )
  run.print(f'python -m experiments.gpt2 --config.data.source=tokens:{parts.path} reads them')


def _counts(run: contract.Run, source: Source) -> Counts:
  """Counted pieces; a killed run goes on from what it saved last."""
  config, file = run.config, run.workdir / 'pieces.parquet'
  start = Counts.load(file) if file.exists() else Counts()
  if start.source != source.fingerprint():
    start = Counts(source=source.fingerprint())  # the text is not what it was
  saved_at = done = start.characters
  if done:
    run.print(f'counting goes on behind {done:,} characters')
  with progress_bar(f'reading {source.name}', source.text_bytes(), done) as advance:

    def on_chunk(counts: Counts) -> None:
      nonlocal saved_at, done
      advance(counts.characters - done)
      done = counts.characters
      if done - saved_at >= _SAVE_EVERY:
        counts.save(file)
        saved_at = done

    texts = (document.text for document in source.documents())
    counts = count_pieces(
      texts, pattern_for(config.pattern), workers=config.data.workers, start=start, on_chunk=on_chunk
    )
  counts.save(file)
  return counts


def _write(run: contract.Run, tokenizer: BPETokenizer) -> None:
  """The tokenizer in every format that can hold it."""
  workdir = run.workdir
  tokenizer.save(workdir / 'tokenizer.json')
  tokenizer_json.save(tokenizer, workdir / 'huggingface')
  exchange.save_ranks(tokenizer, workdir / 'ranks.tiktoken')
  try:
    exchange.save_minbpe(tokenizer, workdir / 'minbpe')
  except UserError as error:
    run.print(f'not in the format of minbpe: {error}')


def _others(run: contract.Run, names: Sequence[str], tells: bool = True) -> list[tokenizers.Tokenizer]:
  """Those of `names` that can be had; the others are named.

  Args:
    tells: whether what is not on this machine is missed, too, if nobody gave its name: then in one line for all.
  """
  found, absent = [], []
  given = 'compare' in run.given_keys()
  for name in names:
    try:
      found.append(tokenizers.load(name))
    except NotHereError as error:
      absent.append(name)
      if given:
        run.print(f'without {name}: {error}')
    except UserError as error:
      run.print(f'without {name}: {error}')
  if absent and tells and not given:
    run.print(
      f'without {", ".join(absent)}, whose files are not on this machine and cannot be downloaded; '
      f'--mode=show --config.compare="(\'{absent[0]}\',)" says where they go'
    )
  return found


def _sample(source: Source, megabytes: float) -> Iterator[str]:
  left = megabytes * 1e6
  for document in source.documents():
    if left <= 0:
      return
    left -= len(document.text)
    yield document.text


def _least_trained(spec: str, texts: Sequence[str]) -> str:
  """The tokens that the embeddings of a GPT, trained on texts such as these, know least."""
  from mlsd_jax.language_model import pretrained

  params, _, tokenizer = pretrained.load(spec)
  bpe = exchange.as_bpe(tokenizer)
  if bpe is None:
    raise UserError(f'{spec} was trained on {tokenizer!r}, which is no byte-pair encoding')
  counts = analysis.usage(bpe, texts).counts
  special = set(bpe.special_tokens.values())
  unused = [i for i in np.flatnonzero(counts == 0).tolist() if i not in special]
  if not unused:
    raise UserError(f'{spec}: every token occurs in the text, so none is known to be untrained')
  distances = flaws.under_trained(np.asarray(params['token_embedding'])[: bpe.vocab_size], unused)
  return f'{spec}: {token_tables.flaws_of(bpe, counts, distances)}'


def _summary(result: dict[str, Any]) -> str:
  return (
    f'{result["vocab_size"]:,} tokens, {result["bytes_per_token"]:.3f} bytes a token, trained in '
    f'{result["train_seconds"]:.1f} s'
  )


def _define_flags(values: flags.FlagValues) -> None:
  flags.DEFINE_string(
    'gpt2',
    '',
    'workdir of a trained GPT, or hf:FOLDER: which tokens it learned least (--mode=analyse)',
    flag_values=values,
  )
  flags.DEFINE_string('text', '', 'text to show (--mode=show)', flag_values=values)


_COUNTED = ('data.source', 'data.path', 'data.text_key', 'data.workers')
_LEARNED = ('vocab_size', 'pattern', 'ties', 'special_tokens')
MODES = {
  'train': contract.Mode(train, (*_COUNTED, *_LEARNED, 'compare', 'sample_megabytes')),
  'show': contract.Mode(show, ('compare',), flags=('text',)),
  'analyse': contract.Mode(analyse, (*_COUNTED, 'compare', 'sample_megabytes'), flags=('gpt2',)),
  'prepare': contract.Mode(prepare, ('data.source', 'data.path', 'data.text_key', 'shards', *sections.EXECUTOR)),
  'compare': contract.Mode(compare, ('data.source', 'data.path', 'data.text_key', 'language_model')),
}
SECTIONS: dict[str, sections.Section] = {
  '': sections.keys(
    vocab_size=Positive,
    pattern=str,
    ties=str,
    special_tokens=Names,
    compare=SourceNames,
    sample_megabytes=Annotated[float, above(0)],
    executor=sections.EXECUTOR_KIND,
  ),
  'data': sections.Documents,
  'language_model': sections.Comparison,
  'shards': sections.keys(output=Place, val_fraction=Share, part_megabytes=Annotated[float, above(0)]),
  'cluster': sections.CLUSTER,
}
RENAMED = {
  '--config.source': '--config.data.source',
  '--config.files': '--config.data.path',
  '--config.text_key': '--config.data.text_key',
  '--config.workers': '--config.data.workers',
}


def main(argv: Sequence[str] | None = None) -> int:
  uses_jax = lambda run: run.flags['mode'] == 'compare' or bool(run.flags['gpt2'])
  return contract.launch(
    'tokenizer',
    MODES,
    'quickstart',
    define_flags=_define_flags,
    uses_jax=uses_jax,
    sections=SECTIONS,
    renamed=RENAMED,
    idle=lambda run: sections.idle_cluster(run.config),
    argv=argv,
  )


if __name__ == '__main__':
  sys.exit(main())
