"""What the lessons need: set-up, the library's own source on the page, figures in one style, and instant marks."""

from minillm._lazy import lazy

_ROOMS = {
    "classroom.checking": ("ExerciseError", "check", "exercise", "exercises_of"),
    "page.instruments": ("kept_for_backward", "watch", "watch_attention", "watch_layers"),
    "page.needs": ("needs",),
    "page.plots": ("figure_png", "plot_bars", "plot_lines", "plot_loss", "plot_points", "png_data_uri"),
    "page.plots_bits": ("plot_bits",),
    "page.plots_flow": ("Group", "Node", "plot_flow"),
    "page.plots_graph": ("plot_cells", "plot_graph"),
    "page.plots_pictures": ("plot_pictures",),
    "page.plots_roofline": ("plot_roofline",),
    "page.plots_slots": ("plot_slots",),
    "page.plots_spans": ("plot_spans",),
    "page.plots_text": ("plot_attention", "plot_heatmap", "plot_tokens"),
    "page.predict": ("predict", "reveal"),
    "page.session": ("setup",),
    "page.source": ("show",),
    "page.web_pages": ("show_page",),
    "small": ("SmallModel", "small_corpus", "small_model"),
    "small.clip": ("SmallCLIP", "small_clip"),
    "small.diffusion": ("small_diffusion",),
    "small.drawing": ("draw", "prompt_of", "wish_of"),
    "small.unclip": ("small_unclip",),
    "small.llava": ("SmallLLaVA", "small_llava"),
    "small.sql_models": ("sql_model",),
    "small.program_models": ("program_model", "reward_model", "sft_model"),
}
# The command line, which needs only paths, waits for no torch.
__getattr__, __dir__, __all__ = lazy(__name__, _ROOMS)
