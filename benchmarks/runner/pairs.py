"""The comparisons that `python -m benchmarks` runs: which program, with which peers."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Pair:
  """One program of this folder and what stands beside it.

  Attributes:
    name: by which --only finds it.
    program: a file of benchmarks/.
    arguments: its flags.
    quick: further flags for --quick, which override.
    peer: a name of peers.ENVIRONMENTS; its interpreter is given as --peer_python.
    packages: what is installed beside this project for it.
    flag: a flag of the runner that names a file of the peer's which no package index has, such as --makemore.
    tool: a program that must be on PATH.
    minutes: about how long, on two cores.
  """

  name: str
  program: str
  arguments: tuple[str, ...] = ()
  quick: tuple[str, ...] = ()
  peer: str = ''
  packages: tuple[str, ...] = ()
  flag: str = ''
  tool: str = ''
  minutes: float = 1.0


TRAIN = ('--only=bfloat16 in',)

PAIRS = (
  Pair('train_small', 'gpt2_train.py', ('--size=shakespeare_char_cpu',), ('--rounds=1',), 'torch', minutes=4),
  Pair(
    'train_char', 'gpt2_train.py', ('--size=shakespeare_char', *TRAIN), ('--rounds=1', '--runs=1'), 'torch', minutes=4
  ),
  Pair('train_124m', 'gpt2_train.py', ('--size=gpt2_124m', *TRAIN), ('--rounds=1', '--runs=1'), 'torch', minutes=6),
  Pair('decode', 'gpt2_generate.py', ('--new_tokens=32',), ('--runs=2', '--new_tokens=8'), 'torch', minutes=3),
  Pair('encoder', 'encoder.py', (), ('--runs=1', '--chunks=128'), 'torch', minutes=3),
  Pair('ranker', 'recsys_torch.py', (), ('--rounds=3', '--steps=3'), 'torch', minutes=4),
  Pair('tokenizer_encode', 'tokenizer_encode.py', (), ('--megabytes=1', '--runs=2'), packages=('bpe-openai',)),
  Pair(
    'tokenizer_train',
    'tokenizer_train.py',
    ('--only', 'ours', 'tokenizers', 'rustbpe'),
    ('--source=tinyshakespeare', '--vocab_size=1024', '--runs=1'),
    packages=('rustbpe',),
    minutes=2,
  ),
  Pair('micrograd', 'micrograd.py', (), ('--steps=2',), packages=('micrograd',), minutes=4),
  Pair('makemore', 'makemore_train.py', (), ('--rounds=1', '--kinds', 'bigram'), 'torch', flag='makemore', minutes=6),
  Pair(
    'ann',
    'ann.py',
    ('--count=100000', '--peers', 'faiss-pq', 'hnswlib'),
    ('--count=30000',),
    packages=('faiss-cpu', 'hnswlib'),
    minutes=4,
  ),
  Pair(
    'search',
    'retrieval_peer.py',
    ('--collections', 'xquad.en.first16.json', 'cranfield'),
    ('--collections', 'xquad.en.first16.json', '--queries=20'),
    'search',
    minutes=4,
  ),
  Pair('bm25', 'retrieval_bm25.py', (), ('--queries=20', '--runs=1'), packages=('bm25s', 'PyStemmer')),
  Pair('judge', 'algorithms_judge.py', tool='bwrap', minutes=1),
  Pair(
    'structures',
    'algorithms_structures.py',
    (),
    ('--n=2000',),
    packages=('sortedcontainers', 'cachetools'),
    minutes=1,
  ),
)
