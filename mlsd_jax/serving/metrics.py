"""What Prometheus reads at /metrics. One registry an app, so that two in one process do not mix."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
  """Counters and histograms of a server, all named mlsd_..."""

  def __init__(self) -> None:
    self.registry = CollectorRegistry()
    self.requests = Counter('mlsd_requests', 'Requests by path and status.', ('path', 'status'), registry=self.registry)
    self.latency = Histogram(
      'mlsd_request_seconds',
      'From a request to the end of its answer.',
      ('path',),
      buckets=_SECONDS,
      registry=self.registry,
    )
    self.stages = Histogram(
      'mlsd_stage_seconds', 'Of one stage of an answer.', ('model', 'stage'), buckets=_SECONDS, registry=self.registry
    )
    self.batch_items = Histogram(
      'mlsd_batch_items',
      'Items computed together.',
      ('model',),
      buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
      registry=self.registry,
    )
    self.first_token = Histogram(
      'mlsd_first_token_seconds',
      'From a request to its first token.',
      ('model',),
      buckets=_SECONDS,
      registry=self.registry,
    )
    self.tokens = Counter(
      'mlsd_tokens', 'Tokens read (prompt), read from the cache, sampled.', ('model', 'kind'), registry=self.registry
    )
    self.waiting = Gauge('mlsd_waiting', 'Requests that wait for their turn.', ('model',), registry=self.registry)
    self.running = Gauge('mlsd_running', 'Requests that are being answered.', ('model',), registry=self.registry)
    self.prefix_bytes = Gauge(
      'mlsd_prefix_bytes', 'Memory of the cache of prompts.', ('model',), registry=self.registry
    )
    # They only grow; but the engine tells how they stand, and a Counter cannot be set. rows / steps is the mean batch.
    self.decode_steps = Gauge('mlsd_decode_steps', 'Steps that wrote tokens.', ('model',), registry=self.registry)
    self.decode_rows = Gauge('mlsd_decode_rows', 'Texts, over all steps.', ('model',), registry=self.registry)
    gauge = lambda name, what, *labels: Gauge(f'mlsd_{name}', what, ('model', *labels), registry=self.registry)
    self.drift = gauge('drift_psi', 'Population stability index of users and scores against the build.', 'what')
    self.ctr = gauge('ctr', 'Clicks of the items shown.')
    self.conversion = gauge('conversion', 'Purchases of the items shown, within a week.')
    self.calibration = gauge('calibration_ratio', 'Purchases of the items shown by those predicted.')
    self.events = gauge('events', 'Events since the start.', 'kind')
    self.refused = Counter('mlsd_refused', 'Requests refused by reason.', ('reason',), registry=self.registry)

  @contextmanager
  def time_stage(self, model: str, stage: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    self.stages.labels(model, stage).observe(time.perf_counter() - began)

  def tell_monitor(self, model: str, figures: Mapping[str, Any]) -> None:
    """Sets the gauges of a recommender; those of which too little is known are left out."""
    for what, value in figures['drift'].items():
      if value is not None:
        self.drift.labels(model, what).set(value)
    for gauge, value in (
      (self.ctr, figures['ctr']),
      (self.conversion, figures['conversion']),
      (self.calibration, figures['calibration']['ratio']),
    ):
      if value is not None:
        gauge.labels(model).set(value)
    for kind, number in figures['events'].items():
      self.events.labels(model, kind).set(number)

  def text(self) -> bytes:
    """The exposition format."""
    return generate_latest(self.registry)
