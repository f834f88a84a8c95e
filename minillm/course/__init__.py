"""What the lessons need: set-up, the library's own source on the page, figures in one style, and instant marks."""

from importlib import import_module
from typing import Any

_ROOMS = {
    "classroom.checking": ("ExerciseError", "check", "exercise", "exercises_of"),
    "page.instruments": ("kept_for_backward", "watch", "watch_attention", "watch_layers"),
    "page.needs": ("needs",),
    "page.plots": ("figure_png", "plot_bars", "plot_lines", "plot_loss", "plot_points", "png_data_uri"),
    "page.plots_flow": ("Group", "Node", "plot_flow"),
    "page.plots_roofline": ("plot_roofline",),
    "page.plots_slots": ("plot_slots",),
    "page.plots_text": ("plot_attention", "plot_heatmap", "plot_tokens"),
    "page.predict": ("predict", "reveal"),
    "page.session": ("setup",),
    "page.source": ("show",),
    "small": ("SmallModel", "small_corpus", "small_model"),
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: the command line, which needs only paths, waits for no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
