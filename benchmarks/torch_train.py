"""The peer's side of gpt2_train.py: transformers' GPT2LMHeadModel with fused AdamW and clipping in PyTorch.

    PEER_PYTHON benchmarks/torch_train.py '{"num_layers": 4, ...}' eager|compile float32|bfloat16

Sends seconds a step for each line read. bfloat16 is autocast over float32 parameters.
"""

import contextlib
import json
import sys
import time

import torch
import transformers


def main() -> None:
  size, mode, dtype = json.loads(sys.argv[1]), sys.argv[2], getattr(torch, sys.argv[3])
  device = 'cuda' if torch.cuda.is_available() else 'cpu'
  transformers.logging.set_verbosity_error()
  torch.manual_seed(0)
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
  model = transformers.GPT2LMHeadModel(config).to(device).train()
  call = torch.compile(model) if mode == 'compile' else model
  matrices = [p for p in model.parameters() if p.dim() > 1]
  others = [p for p in model.parameters() if p.dim() <= 1]
  groups = [{'params': matrices, 'weight_decay': 0.1}, {'params': others, 'weight_decay': 0.0}]
  optimizer = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.95), fused=True)
  tokens = torch.randint(size['vocab_size'], (size['batch'], size['length']), device=device)
  autocast = torch.autocast(device, dtype) if dtype != torch.float32 else contextlib.nullcontext()

  microbatches = tokens.chunk(size['accumulation'])

  def step() -> float:
    optimizer.zero_grad(set_to_none=True)
    for microbatch in microbatches:
      with autocast:
        loss = call(input_ids=microbatch, labels=microbatch).loss / len(microbatches)
      loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()

  for _ in range(2):
    step()
  print('ready', flush=True)
  for _ in sys.stdin:
    began = time.perf_counter()
    for _ in range(size['steps']):
      step()
    print((time.perf_counter() - began) / size['steps'], flush=True)


if __name__ == '__main__':
  main()
