"""What Prometheus reads at /metrics. One registry an app, so that two in one process do not mix."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
  """Counters and histograms of a server, all named mlsd_..."""

  def __init__(self) -> None:
    self.registry = CollectorRegistry()
    named = dict(registry=self.registry)
    self.requests = Counter('mlsd_requests', 'Requests by path and status.', ('path', 'status'), **named)
    self.latency = Histogram(
      'mlsd_request_seconds', 'From a request to the end of its answer.', ('path',), buckets=_SECONDS, **named
    )
    self.stages = Histogram(
      'mlsd_stage_seconds', 'Of one stage of an answer.', ('model', 'stage'), buckets=_SECONDS, **named
    )
    self.batch_items = Histogram(
      'mlsd_batch_items', 'Items computed together.', ('model',), buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256), **named
    )
    self.first_token = Histogram(
      'mlsd_first_token_seconds', 'From a request to its first token.', ('model',), buckets=_SECONDS, **named
    )
    self.tokens = Counter(
      'mlsd_tokens', 'Tokens read (prompt), read from the cache, sampled.', ('model', 'kind'), **named
    )
    self.waiting = Gauge('mlsd_waiting', 'Requests that wait for their turn.', ('model',), **named)
    self.running = Gauge('mlsd_running', 'Requests that are being answered.', ('model',), **named)
    self.refused = Counter('mlsd_refused', 'Requests refused by reason.', ('reason',), **named)

  @contextmanager
  def time_stage(self, model: str, stage: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    self.stages.labels(model, stage).observe(time.perf_counter() - began)

  def text(self) -> bytes:
    """The exposition format."""
    return generate_latest(self.registry)
