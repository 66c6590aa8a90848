"""The peer's side of makemore_train.py: a clone of karpathy/makemore in PyTorch.

    PEER_PYTHON benchmarks/torch_makemore.py PATH_OF_ITS_makemore.py NAMES_FILE KIND STEPS

Prints two medians of seconds a step: as its script runs it (its own data loader with four workers), and of the step
alone on a batch at hand.
"""

import importlib.util
import statistics
import sys
import time
import types

import torch


def main() -> None:
  path, names, kind, steps = *sys.argv[1:4], int(sys.argv[4])
  sys.modules['torch.utils.tensorboard'] = types.SimpleNamespace(SummaryWriter=None)  # which it imports, but not here
  spec = importlib.util.spec_from_file_location('makemore', path)
  makemore = importlib.util.module_from_spec(spec)
  sys.modules['makemore'] = makemore
  spec.loader.exec_module(makemore)
  makemore.args = types.SimpleNamespace(device='cpu')
  torch.manual_seed(3407)
  train, _ = makemore.create_datasets(names)
  config = makemore.ModelConfig(vocab_size=train.get_vocab_size(), block_size=train.get_output_length(), n_layer=4)
  config.n_head, config.n_embd, config.n_embd2 = 4, 64, 64
  if kind == 'small_mlp':  # that of makemore_search.py
    config.block_size, config.n_embd, config.n_embd2 = 3, 10, 100
  make = {
    'bigram': makemore.Bigram,
    'mlp': makemore.MLP,
    'small_mlp': makemore.MLP,
    'bow': makemore.BoW,
    'rnn': lambda config: makemore.RNN(config, cell_type='rnn'),
    'gru': lambda config: makemore.RNN(config, cell_type='gru'),
    'transformer': makemore.Transformer,
  }
  model = make[kind](config)
  optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.01, betas=(0.9, 0.99), eps=1e-8)
  loader = makemore.InfiniteDataLoader(train, batch_size=32, pin_memory=False, num_workers=4)

  def step(batch) -> None:
    _, loss = model(*batch)
    model.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()

  def measured(next_batch) -> float:
    taken = []
    for i in range(steps + 20):
      began = time.perf_counter()
      step(next_batch())
      if i >= 20:
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)

  as_shipped = measured(loader.next)
  batch = loader.next()
  print(as_shipped, measured(lambda: batch), flush=True)


if __name__ == '__main__':
  main()
