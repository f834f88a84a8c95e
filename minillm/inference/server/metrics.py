"""What the server counts, as Prometheus reads it. Book 8.4 LLM 서빙 프레임워크."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from minillm.inference.server.embeddings import EncoderLoop
from minillm.inference.server.loop import EngineLoop

NOW = ("running", "waiting", "free_blocks", "num_blocks")  # of the engine's stats; the others are sums
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class EngineNumbers(Collector):
    """The engine's own counts, under minillm_engine_..., and the encoder's, under minillm_encoder_..."""

    def __init__(self, loop: EngineLoop, encoder: EncoderLoop | None):
        self.loop, self.encoder = loop, encoder

    def collect(self) -> Iterator[Any]:
        """Read after the newest step."""
        if self.encoder is not None:
            for name in ("passes", "texts"):
                count = getattr(self.encoder, name)
                yield CounterMetricFamily(f"minillm_encoder_{name}", f"{name} of the encoder", value=count)
        stats = {**self.loop.stats, "failed_steps": self.loop.failed_steps}
        for name, value in stats.items():
            kind = GaugeMetricFamily if name in NOW else CounterMetricFamily
            yield kind(f"minillm_engine_{name}", f"{name.replace('_', ' ')} of the engine", value=value)


class Metrics:
    """A registry of its own: several servers in one process do not meet."""

    def __init__(self, loop: EngineLoop, encoder: EncoderLoop | None = None):
        self.registry = CollectorRegistry()
        self.registry.register(EngineNumbers(loop, encoder))
        common = {"registry": self.registry, "namespace": "minillm"}
        self.requests = Counter("requests", "answers by address and status", ["path", "status"], **common)
        self.gone = Counter("clients_gone", "clients that went away before the end", **common)
        self.prompt_tokens = Counter("prompt_tokens", "tokens of prompts", **common)
        self.completion_tokens = Counter("completion_tokens", "tokens written", **common)
        self.active = Gauge("requests_active", "prompts that are being answered", **common)
        self.first = Histogram(
            "time_to_first_token_seconds", "until the first token", buckets=SECONDS, **common
        )
        self.whole = Histogram("request_seconds", "until the last token", buckets=SECONDS, **common)

    def text(self) -> bytes:
        """The page."""
        return generate_latest(self.registry)
