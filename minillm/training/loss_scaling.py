"""Loss scaling: float16 has no numbers below 6e-8, so gradients are made larger before they are made narrow.

    gradient of (scale * loss)   ->   divided by scale in float32   ->   update
    a gradient that is infinite:  the update is left out and the scale halved
    2000 good updates in a row:   the scale is doubled

Where the gradient is infinite even at a scale far below 1, no scale helps: the run then says so instead of learning
nothing to its end.

Book: 5.2 단일 GPU 효율적으로 활용하기. Paper: Micikevicius et al. 2018 (mixed precision training).
Held against: torch.amp.GradScaler. bfloat16 needs none of it: it has the range of float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

SMALLEST = 2.0**-14  # of scales: 30 updates in a row have been left out by then


class LossScale:
    """The scale of a run. `scale` 1 and `fixed` is what everything but float16 has."""

    def __init__(self, scale: float = 65536.0, interval: int = 2000, fixed: bool = False) -> None:
        self.scale, self.interval, self.fixed = (1.0 if fixed else scale), interval, fixed
        self.good_in_a_row = 0

    @property
    def is_hopeless(self) -> bool:
        """Whether the gradient has been infinite at every scale that float16 can gain from."""
        return self.scale < SMALLEST

    @torch.no_grad()
    def undo(self, gradients: list[Tensor]) -> bool:
        """Divide the gradients in place; False if one is infinite or no number: the update is then to be left out.

        Reads a number off the device, which a fixed scale does not.
        """
        if self.fixed or not gradients:
            return True
        torch._foreach_mul_(gradients, 1 / self.scale)
        good = bool(torch.stack([gradient.isfinite().all() for gradient in gradients]).all())
        self.good_in_a_row = self.good_in_a_row + 1 if good else 0
        if not good:
            self.scale /= 2
        elif self.good_in_a_row == self.interval:
            self.scale, self.good_in_a_row = self.scale * 2, 0
        return good

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"scale": self.scale, "good_in_a_row": self.good_in_a_row}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.scale, self.good_in_a_row = state["scale"], state["good_in_a_row"]
