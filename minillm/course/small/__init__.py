"""The small model of the course; the whole recipe is recipe.py."""

from minillm.course.small.recipe import (
    Recipe,
    SmallCorpus,
    SmallModel,
    exam_bits_per_byte,
    make_small_model,
    new_model,
    small_corpus,
    small_model,
    train_language_model,
    training_settings,
)

__all__ = [
    "Recipe",
    "SmallCorpus",
    "SmallModel",
    "exam_bits_per_byte",
    "make_small_model",
    "new_model",
    "small_corpus",
    "small_model",
    "train_language_model",
    "training_settings",
]
