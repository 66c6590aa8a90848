"""The one trainer: a Task and batches in, parameters out, checkpointed, sharded and logged.

from mlsd_jax.training import OptimizerConfig, TrainConfig, fit
config = TrainConfig(steps=1000, batch_size=32, optimizer=OptimizerConfig(learning_rate=1e-3))
result = fit(task, train_data, eval_data, config, workdir)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
