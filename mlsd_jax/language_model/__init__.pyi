from .gpt2_folder import load_gpt2, save_gpt2
from .inspection import attention_maps, head_scores, logit_lens
from .pretrained import load_run
from .seq2seq import seq2seq_task
from .task import bigram_task, gpt_task
from .text import Text, open_prepared
from .text_preparation import prepare_text
from .text_scores import score_text

__all__ = [
  'Text',
  'attention_maps',
  'bigram_task',
  'gpt_task',
  'head_scores',
  'load_gpt2',
  'load_run',
  'logit_lens',
  'open_prepared',
  'prepare_text',
  'save_gpt2',
  'score_text',
  'seq2seq_task',
]
