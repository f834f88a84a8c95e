"""What a program of models did, step by step: spans (스팬) on disk, a tree, a waterfall, OpenTelemetry's JSON."""

from minillm._lazy import lazy

_ROOMS = {
    "masking": ("mask_secrets",),
    "otlp": ("as_otlp",),
    "recording": ("recorded",),
    "span_file": ("SpanRecord", "Trace", "read_trace"),
    "totals": ("Usage", "usage_by_model"),
    "traced": ("Proxy", "TracedChat", "traced_encoder", "traced_engine", "traced_store"),
    "tracer": ("Scope", "Span", "Tracer"),
    "tree": ("Node", "self_times", "slowest", "trace_tree", "tree_lines"),
    "waterfall": ("waterfall_page",),
}
# An application that only writes spans waits for no torch: the models' classes are imported with `traced` alone.
__getattr__, __dir__, __all__ = lazy(__name__, _ROOMS)
