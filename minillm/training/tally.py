"""What training steps leave on the device until somebody looks: the sum of losses, and whether all of them were good.

Reading a number off a GPU makes the host wait for everything that was asked of it before; a step that reads its loss
cannot prepare the next one meanwhile. So every step adds to five numbers over there, and a record reads them at once.

From the first step on whose loss or gradient is no finite number, nothing is added any more: what is read then are
the loss and the length of the gradient that went wrong, and how many steps were good before.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Reading(NamedTuple):
    """What a tally held: of the steps since the last restart, up to the first bad one.

    steps: how many were good; mean_loss: their mean. loss, norm: of the newest step, or of the bad one. good: whether
    there was none.
    """

    steps: int
    mean_loss: float
    loss: float
    norm: float
    good: bool


def zeros_for_sums(device: torch.device, *shape: int) -> Tensor:
    """Zeros as wide as sums of many losses want them; Apple's GPUs have no float64."""
    return torch.zeros(shape, dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)


class Tally:
    """Sums on `device`."""

    def __init__(self, device: torch.device) -> None:
        self._numbers = zeros_for_sums(device, 4)  # steps, sum of losses, loss, norm
        self._good = torch.ones((), dtype=torch.bool, device=device)

    def add(self, loss: Tensor, norm: Tensor) -> Tensor:
        """Count a step in; returns whether it and all before it were good, a 0-d bool tensor."""
        before = self._good
        self._good = before & loss.isfinite() & norm.isfinite()
        steps, total, _, _ = self._numbers
        added = torch.stack([steps + self._good, total + loss.where(self._good, 0), loss, norm])
        self._numbers = added.to(self._numbers.dtype).where(before, self._numbers)
        return self._good

    def read(self) -> Reading:
        """The numbers so far. Waits for the device."""
        steps, total, loss, norm, good = torch.cat([self._numbers, self._good[None]]).tolist()
        return Reading(round(steps), total / max(steps, 1), loss, norm, bool(good))

    def restart(self) -> None:
        """Begin to count anew, after a record; a bad step is not forgotten."""
        self._numbers = torch.zeros_like(self._numbers)
