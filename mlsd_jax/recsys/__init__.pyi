from .funnel import Funnel, FunnelConfig
from .preparation import Prepared, RecommenderConfig, prepare
from .purchases.events import Dataset, make_dataset
from .purchases.generator import SyntheticConfig, generate
from .purchases.own_table import read_table
from .reasons import Reason, explain
from .saved_state import load, save
from .serving import Answer, State, recommend
from .training import RankerConfig, TowerConfig, train_ranker, train_towers

__all__ = [
  'Answer',
  'Dataset',
  'Funnel',
  'FunnelConfig',
  'Prepared',
  'RankerConfig',
  'Reason',
  'RecommenderConfig',
  'State',
  'SyntheticConfig',
  'TowerConfig',
  'explain',
  'generate',
  'load',
  'make_dataset',
  'prepare',
  'read_table',
  'recommend',
  'save',
  'train_ranker',
  'train_towers',
]
