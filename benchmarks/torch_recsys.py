"""The peer's side of recsys_torch.py: SparseNN in PyTorch, tables as nn.EmbeddingBag with sparse gradients.

    PEER_PYTHON benchmarks/torch_recsys.py FOLDER MODE

MODE is flat, eager or compile. FOLDER holds config.json, params.npz and batches.npz. Writes FOLDER/MODE.json (the
losses of the first steps), prints 'ready', and for each line it is sent the seconds of processor time of a step.
"""

import itertools
import json
import pathlib
import sys
import time

import numpy as np
import torch
from torch import nn

torch.set_num_threads(1)
HEADS = 3


class SparseNN(nn.Module):
  """As mlsd_jax/models/sparsenn.py; what belongs to a group is looked up once a group, or, if `flat`, once a row."""

  def __init__(self, config: dict, params: dict[str, torch.Tensor], codes, edges, flat: bool):
    super().__init__()
    self.config, self.flat = config, flat
    self.register_buffer('codes', codes)
    self.register_buffer('low', edges[:, :-1])
    self.register_buffer('width', edges[:, 1:] - edges[:, :-1])
    self.register_buffer('first', edges[:, 0])
    self.register_buffer('range', edges[:, -1] - edges[:, 0])
    bag = lambda name: nn.EmbeddingBag.from_pretrained(params[name], freeze=False, mode='sum', sparse=True)
    self.item_table = bag('item_table')
    self.code_tables = nn.ModuleList(bag(f'code_tables/{i}') for i in range(len(config['code_sizes'])))
    self.user_tables = nn.ModuleList(bag(f'user_tables/{i}') for i in range(len(config['user_sizes'])))

    def linear(name, bias=True):
      kernel = params[f'{name}/kernel']
      layer = nn.Linear(*kernel.shape, bias=bias)
      with torch.no_grad():
        layer.weight.copy_(kernel.T)
        if bias:
          layer.bias.copy_(params[f'{name}/bias'])
      return layer

    self.bottom, self.to_field = linear('bottom'), linear('to_field')
    self.down = nn.ModuleList(linear(f'cross/{i}/down', bias=False) for i in range(config['cross_layers']))
    self.up = nn.ModuleList(linear(f'cross/{i}/up') for i in range(config['cross_layers']))
    self.top = nn.ModuleList(linear(f'top/{i}') for i in range(len(config['top_dims'])))
    self.out = linear('out')
    fields = 2 + len(config['code_sizes']) + len(config['user_sizes']) + 1
    self.register_buffer('pairs', torch.tensor(list(itertools.combinations(range(fields), 2))).T)

  def embedded(self, batch):
    """[B, fields, D]."""
    number, size = batch['item'].shape
    user_codes, bag = batch['user_codes'], batch['bag']
    if self.flat:  # every row by itself, as a flat batch has it
      user_codes, bag, number, size = (*(x.repeat_interleave(size, 0) for x in (user_codes, bag)), number * size, 1)
    item = batch['item'].reshape(-1, 1)
    found = [self.item_table(item)]
    codes = self.codes[item[:, 0]]
    found += [table(codes[:, i : i + 1]) for i, table in enumerate(self.code_tables)]
    of_group = [table(user_codes[:, i : i + 1]) for i, table in enumerate(self.user_tables)]
    known = (bag > 0).to(torch.float32)
    total = self.item_table(bag, per_sample_weights=known)
    of_group.append(total / known.sum(1, keepdim=True).clamp(min=1))
    spread = torch.stack(of_group, 1)[:, None].expand(-1, size, -1, -1).reshape(number * size, len(of_group), -1)
    return torch.cat([torch.stack(found, 1), spread], 1)

  def dense_part(self, dense, fields):
    """[B, HEADS] of dense features [B, F] and embeddings [B, fields, D]."""
    scaled = ((dense - self.first) / self.range).clamp(-1.0, 2.0)
    reach = ((dense[..., None] - self.low) / self.width).clamp(0.0, 1.0)
    bottom = torch.relu(self.bottom(torch.cat([scaled, reach.flatten(1)], -1)))
    joined = torch.cat([bottom, fields.flatten(1)], -1)
    every = torch.cat([self.to_field(bottom)[:, None], fields], 1)
    dots = torch.bmm(every, every.transpose(1, 2))[:, self.pairs[0], self.pairs[1]]
    x = joined
    for down, up in zip(self.down, self.up, strict=True):
      x = joined * up(down(x)) + x
    x = torch.cat([x, dots], -1)
    for layer in self.top:
      x = torch.relu(layer(x))
    return self.out(x)

  def loss_of(self, dense, fields, labels, offset, weights):
    logits = self.dense_part(dense.flatten(0, 1), fields).reshape(*weights.shape, HEADS)
    bought, soon, quantity = (labels * weights[..., None]).unbind(-1)
    entropy = nn.functional.binary_cross_entropy_with_logits
    total = entropy(logits[..., 0] + offset[:, None], bought, reduction='none')
    total = total + self.config['soon'] * entropy(logits[..., 1] + offset[:, None], soon, reduction='none')
    total = total + self.config['quantity'] * bought * (logits[..., 2] - quantity).square()
    return (total * weights).sum() / weights.sum().clamp(min=1)


class RowWiseAdagrad:
  """One accumulator a row of the mean squared gradient, rows with a gradient only."""

  def __init__(self, tables, rate: float, epsilon: float):
    self.tables, self.rate, self.epsilon = list(tables), rate, epsilon
    self.sums = [torch.zeros(len(table)) for table in self.tables]

  @torch.no_grad()
  def step(self):
    for table, total in zip(self.tables, self.sums, strict=True):
      gradient = table.grad.coalesce()
      rows, values = gradient.indices()[0], gradient.values()
      total.index_add_(0, rows, values.square().mean(1))
      table.index_add_(0, rows, values * torch.rsqrt(total[rows] + self.epsilon)[:, None], alpha=-self.rate)
      table.grad = None


def main() -> None:
  folder, mode = pathlib.Path(sys.argv[1]), sys.argv[2]
  config = json.loads((folder / 'config.json').read_text())
  params = {name: torch.from_numpy(x.copy()) for name, x in np.load(folder / 'params.npz').items()}
  arrays = {name: torch.from_numpy(x.copy()) for name, x in np.load(folder / 'batches.npz').items()}
  for name in ('item', 'bag', 'user_codes'):
    arrays[name] = arrays[name].long()
  codes, edges = arrays.pop('codes').long(), arrays.pop('edges')
  batches = [{name: x[i] for name, x in arrays.items()} for i in range(len(arrays['item']))]
  model = SparseNN(config, params, codes, edges, mode == 'flat')
  is_table = lambda name: '_table' in name
  tables = RowWiseAdagrad([p for n, p in model.named_parameters() if is_table(n)], config['table_rate'], 1e-8)
  rest = [(n, p) for n, p in model.named_parameters() if not is_table(n)]
  groups = [
    {'params': [p for n, p in rest if not n.endswith('bias')], 'weight_decay': config['weight_decay']},
    {'params': [p for n, p in rest if n.endswith('bias')], 'weight_decay': 0.0},
  ]
  optimizer = torch.optim.AdamW(groups, lr=config['rate'], betas=(0.9, 0.99), eps=1e-8, fused=True)
  # Sparse gradients do not go through the compiler: it gets everything behind the tables.
  behind = torch.compile(model.loss_of) if mode == 'compile' else model.loss_of

  def step(batch) -> float:
    optimizer.zero_grad(set_to_none=True)
    loss = behind(batch['dense'], model.embedded(batch), batch['labels'], batch['offset'], batch['weights'])
    loss.backward()
    optimizer.step()
    tables.step()
    return loss.item()

  losses = [step(batch) for batch in batches]
  (folder / f'{mode}.json').write_text(json.dumps(losses))
  print('ready', flush=True)
  for _ in sys.stdin:
    began = time.process_time()
    for batch in batches:
      step(batch)
    print((time.process_time() - began) / len(batches), flush=True)


if __name__ == '__main__':
  main()
