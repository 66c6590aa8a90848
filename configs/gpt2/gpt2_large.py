"""GPT-2 large (774 M parameters) on OpenWebText, 0.5 M tokens a batch.

    python -m experiments.gpt2 --config=configs/gpt2/gpt2_large.py

Written for 8 GPUs, parameters and optimiser state split over fsdp (docs/how-to/cluster.md).
Not run to the end: no cluster was at hand. Cost by arithmetic, 6 N a token: 1.5e+21 FLOP,
or 5 days of eight H100 at 40% of their peak.
On TPU: --config.model.attention=splash. On other devices: --config.model.attention=xla.
OpenWebText is read from a folder openwebtext of Parquet files (huggingface.co/datasets/Skylion007/openwebtext), FineWeb
likewise with --config.data.source=hf:/path/to/fineweb.
"""

from configs.gpt2._base import base
from mlsd_jax.models.decoder_config import SIZES


def get_config():
  config = base()
  config.model.update(SIZES['gpt2-large'], attention='cudnn', scan_layers=True, remat='full', loss_chunks=8)
  config.train.update(batch_size=512, accumulation=2, mesh={'data': 1, 'fsdp': -1, 'tensor': 1})
  config.train.optimizer.update(learning_rate=2.5e-4, final_learning_rate=2.5e-05)
  return config
