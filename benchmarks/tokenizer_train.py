"""Seconds and peak memory of training a byte-level BPE: ours, Hugging Face's tokenizers, rustbpe, minbpe, in one run.

    uv run --with rustbpe python benchmarks/tokenizer_train.py                      # novels, 32,768 tokens
    uv run python benchmarks/tokenizer_train.py --source=tinyshakespeare --vocab_size=1024 --minbpe=PATH_OF_A_CLONE
    uv run python benchmarks/tokenizer_train.py --gigabytes=10 --only=ours

Every trainer is a process of its own, fed the same list of documents (with --gigabytes: a stream of them, novels again
and again with some words changed each time) and GPT-4's pattern, and times only the training; trainers take turns.
"""

import argparse
import importlib.util
import json
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator

import record

TRAINERS = ('ours', 'tokenizers', 'rustbpe', 'minbpe')


def texts(source: str, gigabytes: float) -> Iterable[str]:
  from mlsd_jax.data.sources import open_source

  documents = [document.text for document in open_source(source).documents()]
  return edited(documents, int(gigabytes * 1e9)) if gigabytes else documents


def edited(documents: list[str], size: int) -> Iterator[str]:
  """Documents over and over until `size` characters, each time with a word in a hundred respelled at random."""
  draw = random.Random(0)
  while True:
    for document in documents:
      words = document.split(' ')
      for place in draw.sample(range(len(words)), len(words) // 100):
        letters = list(words[place])
        draw.shuffle(letters)
        words[place] = ''.join(letters)
      text = ' '.join(words)
      yield text
      size -= len(text)
      if size <= 0:
        return


def train_ours(documents: Iterable[str], vocab_size: int, pattern: str) -> list:
  from mlsd_jax.tokenizers import BPETokenizer

  return BPETokenizer.train(documents, vocab_size, pattern=pattern, special_tokens=()).merges


def train_tokenizers(documents: Iterable[str], vocab_size: int, pattern: str) -> list:
  from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

  tokenizer = Tokenizer(models.BPE())
  split = pre_tokenizers.Split(Regex(pattern), 'isolated')
  byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
  tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
  alphabet = pre_tokenizers.ByteLevel.alphabet()
  trainer = trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False)
  tokenizer.train_from_iterator(documents, trainer)
  return [None] * (tokenizer.get_vocab_size() - 256)


def train_rustbpe(documents: Iterable[str], vocab_size: int, pattern: str) -> list:
  import rustbpe

  tokenizer = rustbpe.Tokenizer()
  tokenizer.train_from_iterator(iter(documents), vocab_size, pattern=pattern)
  return [None] * (len(tokenizer.get_mergeable_ranks()) - 256)


def train_minbpe(documents: Iterable[str], vocab_size: int, pattern: str) -> list:
  from minbpe import BasicTokenizer, RegexTokenizer

  tokenizer = RegexTokenizer(pattern) if pattern else BasicTokenizer()
  tokenizer.train('\n'.join(documents), vocab_size)
  return list(tokenizer.merges)


def serve(name: str, options: argparse.Namespace) -> None:
  from mlsd_jax.tokenizers import tokenizer_json
  from mlsd_jax.tokenizers.patterns import PATTERNS

  pattern = PATTERNS[options.pattern].plain
  if name == 'ours':
    pattern = options.pattern
  elif name == 'tokenizers':
    pattern = tokenizer_json.oniguruma(PATTERNS[options.pattern])
  elif name == 'minbpe':
    sys.path.insert(0, options.minbpe)
  documents = texts(options.source, options.gigabytes)
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  began = time.perf_counter()
  merges = globals()[f'train_{name}'](documents, options.vocab_size, pattern)
  seconds = time.perf_counter() - began
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  result = {'seconds': seconds, 'peak': peak / 1e6, 'more': (peak - before) / 1e6}
  print(json.dumps(result | {'num_merges': len(merges), 'merges': merges if merges[0] else []}))


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--source', default='novels')
  parser.add_argument('--vocab_size', type=int, default=32_768 + 256)
  parser.add_argument('--pattern', default='gpt4', help="a name of PATTERNS; 'none' is minbpe's BasicTokenizer")
  parser.add_argument('--gigabytes', type=float, default=0.0)
  parser.add_argument('--runs', type=int, default=3)
  parser.add_argument('--only', nargs='+', default=TRAINERS, choices=TRAINERS)
  parser.add_argument('--minbpe', default='', help='folder of a clone of karpathy/minbpe')
  parser.add_argument('--serve', choices=TRAINERS, help='internal: be one of the trainers')
  options = parser.parse_args()
  if options.serve:
    return serve(options.serve, options)
  names = [name for name in options.only if name != 'minbpe' or options.minbpe]
  for name in ('tokenizers', 'rustbpe'):
    if name in names and importlib.util.find_spec(name) is None:
      print(f'without {name}, which is not installed')
      names.remove(name)
  results: dict[str, list[dict]] = {name: [] for name in names}
  for _ in range(options.runs):
    for name in names:
      command = [sys.executable, __file__, *sys.argv[1:], f'--serve={name}']
      results[name].append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
  size = f'{options.gigabytes} GB of ' if options.gigabytes else ''
  print(f'{size}{options.source}, {options.vocab_size:,} tokens, median of {options.runs}')
  seconds = {name: statistics.median(run['seconds'] for run in runs) for name, runs in results.items()}
  for name, runs in results.items():
    last = runs[-1]
    print(
      f'  {name:<12} {seconds[name]:8.2f} s   {last["num_merges"]:,} merges   peak memory {last["peak"]:5.2f} GB, '
      f'{last["more"]:5.2f} GB above the text'
    )
  if 'minbpe' in results and 'ours' in results:
    equal = results['minbpe'][0]['merges'] == results['ours'][0]['merges']
    print(f'  merges of minbpe and ours are {"equal" if equal else "DIFFERENT"}')
  for name in names[1:]:
    print(f'  {name} / ours  {seconds[name] / seconds["ours"]:.2f} (above 1: ours is faster)')
    mine, others = ([run['seconds'] for run in results[side]] for side in ('ours', name))
    record.pair(f'training a BPE of {options.vocab_size:,}', mine, others, against=name, unit='s')
  return None


if __name__ == '__main__':
  main()
