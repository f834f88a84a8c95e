"""What the lessons need: set-up, the library's own source on the page, figures in one style, and instant marks."""

from minillm.course.classroom.checking import ExerciseError, check, exercise, exercises_of
from minillm.course.page.instruments import kept_for_backward, watch, watch_layers
from minillm.course.page.plots import figure_png, plot_bars, plot_lines, plot_loss, plot_points, png_data_uri
from minillm.course.page.plots_flow import Group, Node, plot_flow
from minillm.course.page.plots_roofline import plot_roofline
from minillm.course.page.plots_text import plot_attention, plot_heatmap, plot_tokens
from minillm.course.page.session import setup
from minillm.course.page.source import show
from minillm.course.small_model import SmallModel, small_corpus, small_model

__all__ = [
    "ExerciseError",
    "Group",
    "Node",
    "SmallModel",
    "check",
    "exercise",
    "exercises_of",
    "figure_png",
    "kept_for_backward",
    "plot_attention",
    "plot_bars",
    "plot_flow",
    "plot_heatmap",
    "plot_lines",
    "plot_loss",
    "plot_points",
    "plot_roofline",
    "plot_tokens",
    "png_data_uri",
    "setup",
    "show",
    "small_corpus",
    "small_model",
    "watch",
    "watch_layers",
]
