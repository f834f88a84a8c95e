"""People and models as judges: marks and comparisons by a language model, a blind arena for people."""

from minillm._lazy import lazy

_ROOMS = {
    "arena": ("Arena", "Ballot"),
    "judges": (
        "BiasedJudge", "Compared", "both_orders", "compare_letters", "compare_written", "likelihood", "position_bias",
        "rate",
    ),
    "rag_judges": ("ask_back", "statements_of", "support_by", "useful"),
    "page": ("arena_app", "serve_arena"),
}  # fmt: skip
# A process that only counts votes waits for no torch.
__getattr__, __dir__, __all__ = lazy(__name__, _ROOMS)
