"""What a server is started with."""

import dataclasses
from typing import Annotated, Literal

from mlsd_jax.schema import Name, Path, PathName, Positive, at_least, between


@dataclasses.dataclass(frozen=True)
class ServerConfig:
  """Where it listens and what it takes on. Keys are no setting: others can read a command line and a config.json."""

  runs: PathName = 'runs'  # the folder of finished runs
  state: Path = ''  # a folder for what happens while it serves; '' is state/ in the workdir. Runs are never written to
  rules: Path = ''  # a JSON file of what recommenders may show, by their names
  host: Name = '127.0.0.1'  # 0.0.0.0 lets other machines in
  port: Annotated[int, between(0, 65535)] = 8000  # 0 takes a free one
  slots: Positive = 16  # texts that a language model writes at once
  max_waiting: Positive = 256  # requests of a model that wait for their turn
  max_body_megabytes: Annotated[float, between(0.001, 1000)] = 4.0
  requests_per_minute: int = 0  # of a client; 0 is no bound
  deadline_seconds: Annotated[float, between(0.001, 86400)] = 300.0  # within which an answer is whole
  drain_seconds: Annotated[float, between(0.5, 86400)] = 30.0  # for answers under way when it is told to stop
  cors_origins: tuple[str, ...] = ()  # web pages of other sites that may ask
  renew_seconds: Annotated[float, at_least(0)] = 10.0  # after which newer versions of runs are looked for; 0 is never
  dtype: Literal['float32', 'bfloat16'] = 'float32'  # of language models
  judge: bool = False  # judges programs that strangers send, where the judge's cage has all its layers
