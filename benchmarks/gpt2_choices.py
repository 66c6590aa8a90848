"""What two options of a GPT cost and gain: cross-entropy in chunks, and layers in one lax.scan.

    uv run python benchmarks/gpt2_choices.py

The trainer's own step, in processor time of one core, forms in turn, medians; temporaries are by XLA's own count.
"""

import argparse
import os
import statistics
import time


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--rounds', type=int, default=5)
  given = parser.parse_args()
  os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]})

  wide = {'num_layers': 1, 'num_heads': 12, 'embed_dim': 768, 'context_length': 1024, 'vocab_multiple': 128}
  compare('1 layer of 768 on 2 x 1,024 tokens, 50,304 ids, float32', 50_257, 2, given.rounds, {
    'all logits at once': wide,
    '8 chunks': wide | {'loss_chunks': 8},
  })  # fmt: skip
  deep = {'num_layers': 12, 'num_heads': 4, 'embed_dim': 128, 'context_length': 128}
  compare('12 layers of 128 on 4 x 128 tokens, 1,024 ids, float32', 1024, 4, 4 * given.rounds, {
    'layers unrolled': deep,
    'one lax.scan': deep | {'scan_layers': True},
  })  # fmt: skip


def compare(title: str, vocab_size: int, batch_size: int, rounds: int, forms: dict[str, dict]) -> None:
  from mlsd_jax.estimates.calibration import compile_train_step

  programs, compiling = {}, {}
  for name, section in forms.items():
    began = time.process_time()
    programs[name] = compile_train_step(section, vocab_size, batch_size=batch_size, dtype='float32')
    compiling[name] = time.process_time() - began
    programs[name].run()
  taken: dict[str, list[float]] = {name: [] for name in forms}
  for _ in range(rounds):
    for name, program in programs.items():
      began = time.process_time()
      program.run()
      taken[name].append(time.process_time() - began)
  print(title)
  for name, program in programs.items():
    print(
      f'  {name:<20}{statistics.median(taken[name]) * 1e3:9,.1f} ms a step {program.temporary_bytes / 1e6:9,.0f} MB '
      f'of temporaries {compiling[name]:7.1f} s to compile',
      flush=True,
    )


if __name__ == '__main__':
  main()
