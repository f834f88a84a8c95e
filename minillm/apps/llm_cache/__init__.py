"""Answers of a model, kept: the same question, or one that means the same, is answered without it (LLM 캐시)."""

from minillm._lazy import lazy

_ROOMS = {
    "agreement": ("same_numbers",),
    "cache": ("LLMCache",),
    "cached_chat": ("CachedChat",),
    "flights": ("Flights",),
    "kept": ("Answered",),
    "keys": ("Request", "cache_key", "canonical_json"),
    "thresholds": ("ThresholdRow", "choose_threshold", "threshold_curve"),
}
__getattr__, __dir__, __all__ = lazy(__name__, _ROOMS)
