"""Whole applications on top of the stack: questions to a database, a cache of answers, traces."""

from minillm._lazy import lazy

_ROOMS = {
    "llm_cache": ("CachedChat", "LLMCache"),
    "tracing": ("TracedChat", "Tracer", "read_trace"),
}
__getattr__, __dir__, __all__ = lazy(__name__, _ROOMS)
