"""The peer's side of gpt2_train.py: transformers' GPT2LMHeadModel with fused AdamW and clipping in PyTorch.

    PEER_PYTHON benchmarks/torch_train.py '{"num_layers": 4, ...}' eager|compile float32|bfloat16 ACCUMULATION

Sends seconds a step for each line read. bfloat16 is autocast over float32 parameters.
"""

import contextlib
import json
import sys
import time

import torch
import transformers

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'


class Trainer:
  """nanoGPT's training step: AdamW with decay on matrices only, gradients clipped to norm 1."""

  def __init__(self, model, *, mode: str, dtype, accumulation: int, beta2: float = 0.95):
    self.model = model.to(DEVICE).train()
    self.loss = torch.compile(self._loss) if mode == 'compile' else self._loss
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{'params': matrices, 'weight_decay': 0.1}, {'params': others, 'weight_decay': 0.0}]
    self.optimizer = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, beta2), fused=True)
    self.autocast = torch.autocast(DEVICE, dtype) if dtype != torch.float32 else contextlib.nullcontext()
    self.accumulation = accumulation

  def _loss(self, tokens):
    logits = self.model(input_ids=tokens[:, :-1]).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())

  def step(self, tokens) -> float:
    """One update on tokens [B, T + 1], each predicted from those before it; returns the mean loss."""
    self.optimizer.zero_grad(set_to_none=True)
    total = 0.0
    for microbatch in tokens.chunk(self.accumulation):
      with self.autocast:
        loss = self.loss(microbatch) / self.accumulation
      loss.backward()
      total += loss.detach()
    torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
    self.optimizer.step()
    return float(total)


def fresh_model(size: dict):
  config = transformers.GPT2Config(
    vocab_size=size['vocab_size'],
    n_positions=size['length'],
    n_layer=size['num_layers'],
    n_head=size['num_heads'],
    n_embd=size['embed_dim'],
    resid_pdrop=size['dropout'],
    embd_pdrop=size['dropout'],
    attn_pdrop=size['dropout'],
    use_cache=False,
    bos_token_id=0,
    eos_token_id=0,
  )
  return transformers.GPT2LMHeadModel(config)


def main() -> None:
  size, mode, dtype, accumulation = json.loads(sys.argv[1]), sys.argv[2], getattr(torch, sys.argv[3]), int(sys.argv[4])
  transformers.logging.set_verbosity_error()
  torch.manual_seed(0)
  trainer = Trainer(fresh_model(size), mode=mode, dtype=dtype, accumulation=accumulation)
  tokens = torch.randint(size['vocab_size'], (size['batch'], size['length'] + 1), device=DEVICE)
  for _ in range(2):
    trainer.step(tokens)
  print('ready', flush=True)
  for _ in sys.stdin:
    began = time.perf_counter()
    for _ in range(size['steps']):
      trainer.step(tokens)
    print((time.perf_counter() - began) / size['steps'], flush=True)


if __name__ == '__main__':
  main()
