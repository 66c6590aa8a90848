"""Every finished run under runs/, served over HTTP.

python -m experiments.serve
python -m experiments.serve --mode=prepare     # first makes a small run of each system that has none

Cost: each model is opened and compiled once, some seconds each; then memory for its weights and its slots.
Measured: not yet; benchmarks/engine.py has the figures of the engine that writes text.
"""

from ml_collections import ConfigDict


def get_config():
  return ConfigDict(
    {
      'runs': 'runs',  # the folder of finished runs
      'state': '',  # a folder for what happens while it serves (events, answers); '' is state/ in the workdir
      'rules': '',  # a JSON file of what recommenders may show, by their names
      'host': '127.0.0.1',  # 0.0.0.0 lets other machines in
      'port': 8000,  # 0 takes a free one
      'slots': 16,  # texts that a language model writes at once
      'max_waiting': 256,  # requests of a model that wait for their turn; more are refused with 429
      'max_body_megabytes': 4.0,  # of a request
      'requests_per_minute': 0,  # of a client (its API key, else its address); 0 is no bound
      'deadline_seconds': 300.0,  # within which an answer that is not streamed is whole
      'drain_seconds': 30.0,  # that answers under way have when the server is requested to stop
      'cors_origins': (),  # web pages of other sites that may ask
      'renew_seconds': 10.0,  # after which newer versions of runs are looked for; 0 is never
      'dtype': 'float32',  # of language models: or bfloat16
      'judge': False,  # judges programs that strangers send, where the judge's cage has all its layers
    }
  )
