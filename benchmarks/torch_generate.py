"""The peer's side of gpt2_generate.py: transformers' generate() with its KV cache, one timed run for each line read.

    PEER_PYTHON benchmarks/torch_generate.py FOLDER BATCH PROMPT_TOKENS NEW_TOKENS

Reads variant names (float32, bfloat16) from standard input, writes seconds.
"""

import sys
import time

import torch
import transformers


def main() -> None:
  folder, batch, prompt_tokens, new_tokens = sys.argv[1], *map(int, sys.argv[2:])
  transformers.logging.set_verbosity_error()
  device = 'cuda' if torch.cuda.is_available() else 'cpu'
  models = {}
  print('ready', flush=True)
  for line in sys.stdin:
    name = line.strip()
    if name not in models:
      dtype = getattr(torch, name)
      models[name] = transformers.GPT2LMHeadModel.from_pretrained(folder, dtype=dtype).eval().to(device)
    tokens = torch.arange(batch * prompt_tokens, device=device).reshape(batch, prompt_tokens) % 1000
    began = time.perf_counter()
    with torch.inference_mode():
      out = models[name].generate(
        tokens,
        attention_mask=torch.ones_like(tokens),
        max_new_tokens=new_tokens,
        min_new_tokens=new_tokens,
        do_sample=False,
        use_cache=True,
        pad_token_id=0,
      )
    if device == 'cuda':
      torch.cuda.synchronize()
    seconds = time.perf_counter() - began
    assert out.shape[1] == prompt_tokens + new_tokens
    print(seconds, flush=True)


if __name__ == '__main__':
  main()
