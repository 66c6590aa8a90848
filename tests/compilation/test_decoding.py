"""What a server runs is compiled as it is: one model over all devices, of which no kernel is sent."""

import pytest

from mlsd_jax.compilation import Slots, compile_program, decoding_programs, open_hardware
from mlsd_jax.language_model.task import sharding_rules
from mlsd_jax.models.decoder_config import GPTConfig, ModernGPTConfig

SHAPE = {'vocab_size': 1024, 'context_length': 256, 'num_layers': 1, 'num_heads': 8, 'embed_dim': 128}
KERNEL = 128 * 128 * 2  # bytes of the smallest


@pytest.mark.parametrize('config', [GPTConfig(**SHAPE), ModernGPTConfig(**SHAPE)], ids=['gpt', 'modern'])
def test_prompts_are_read_and_tokens_decoded_over_all_devices(config):
  reports = [
    compile_program(program, open_hardware('8xcpu'))
    for program in decoding_programs(config, sharding_rules(config), {'tensor': -1}, Slots(rows=4))
  ]
  assert [(report.program, report.failure) for report in reports] == [('prefill', ''), ('decode', '')]
  prefill, decode = (max(each.bytes for each in report.collectives) for report in reports)
  assert prefill <= 128 * 128 * 4  # activations of a part of a prompt
  assert decode <= KERNEL  # logits of all slots
