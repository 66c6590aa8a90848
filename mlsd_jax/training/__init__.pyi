from .checkpoint import Checkpoints
from .config import TrainConfig
from .loop import Result, fit
from .metrics import read_metrics
from .optimizers import OptimizerConfig
from .sharding import make_mesh
from .task import EvalData, Task, TrainData

__all__ = [
  'Checkpoints',
  'EvalData',
  'OptimizerConfig',
  'Result',
  'Task',
  'TrainConfig',
  'TrainData',
  'fit',
  'make_mesh',
  'read_metrics',
]
