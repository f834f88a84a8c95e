"""Dropout off for a while, whatever the mode of a model's parts, and each part in its own mode again after."""

from __future__ import annotations

from typing import Any

from torch import nn


class Evaluating:
    """Dropout off inside; every part of the model in its own mode again after."""

    def __init__(self, model: nn.Module):
        self.training = [part for part in model.modules() if part.training] if model.training else []

    def __enter__(self) -> None:
        for part in self.training:
            part.training = False

    def __exit__(self, *error: Any) -> None:
        for part in self.training:
            part.training = True
