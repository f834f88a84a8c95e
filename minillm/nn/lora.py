"""Low-rank adapters (LoRA, 로라): beside a frozen weight runs a narrow path, and only that path learns.

    y = W x + b  +  (alpha / r) · B A x             W (O, I) frozen,   A (r, I),   B (O, r),   r much less than O and I

B begins as zeros: an adapter that has learned nothing changes nothing. One base carries several adapters by name; which
of them is at work is said once, in the `Adapters` that all layers of a model share, for the whole batch or row by row.

    rows   0: legal   1: base   2: medical   3: legal       one pass of W for all rows, one narrow path for each name

The base may be an nn.Linear or a quantized layer (QLoRA): all that is asked of it is y = base(x). How a model gets
adapters: training/lora.py. Book: 5.4 효율적인 학습 방법(PEFT): LoRA. Paper: Hu et al. 2021.
Held against peft's lora.Linear. Leaves out: DoRA, adapters of embeddings and convolutions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minillm._checks import check_choice, describe, is_listing

BASE = "__base__"  # the name of no adapter at all, as in peft


class Adapters:
    """What the adapted layers of one model share: the settings of each adapter, and which of them are at work."""

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}
        self.serials: dict[str, int] = {}  # a number of its own for each adapter that ever was
        self.active = BASE
        self.merged: str | None = None  # the adapter that lies in the weights
        self.rows: dict[str, Tensor] | None = None  # of the batch, where they differ
        self.count = 0  # how many rows those are, all together
        self.names: dict[str, str] = {}  # our name of each layer -> Hugging Face's
        self.thawed: list[nn.Parameter] = []  # of the base: those that could learn before

    def at_work(self) -> Iterator[tuple[str, Tensor | None]]:
        """(adapter, the rows it works on; None for all of them) of this pass."""
        if self.rows is not None:
            yield from self.rows.items()
        elif self.active not in (BASE, self.merged):
            yield self.active, None

    def check_rows(self, x: Tensor) -> None:
        """ValueError where a layer reads other rows than those that were given an adapter each."""
        if self.rows is not None and len(x) != self.count:
            raise ValueError(f"there is an adapter for each of {self.count} rows, a layer got {describe(x)}")

    def identity(self, name: str) -> str:
        """A text that stands for this adapter and no other of the same name, before or after it."""
        return "" if name == BASE else f"{self.serials[name]} {name}"

    def check(self, name: Any, *others: str) -> str:
        """`name`, if it is an adapter here or one of `others`; ValueError that lists them."""
        return check_choice("adapter", name, (*self.settings, *others))


class LoRALinear(nn.Module):
    """A frozen layer `base` and the narrow paths of its adapters: lora_A (r, I) and lora_B (O, r) by name."""

    def __init__(self, base: nn.Module, adapters: Adapters) -> None:
        super().__init__()
        self.base, self.adapters = base, adapters
        self.lora_A, self.lora_B = nn.ParameterDict(), nn.ParameterDict()
        self.scales: dict[str, float] = {}
        self.dropout: dict[str, float] = {}

    @property
    def in_features(self) -> int:
        """Width of x."""
        return self.base.in_features

    @property
    def out_features(self) -> int:
        """Width of y."""
        return self.base.out_features

    @property
    def bias(self) -> Tensor | None:
        """The base's."""
        return self.base.bias

    def add(self, name: str, A: nn.Parameter, B: nn.Parameter, scale: float, dropout: float = 0.0) -> None:
        """Put in an adapter; layers that are one matrix elsewhere may share A."""
        self.lora_A[name], self.lora_B[name] = A, B
        self.scales[name], self.dropout[name] = scale, dropout

    def remove(self, name: str) -> None:
        """Take it out."""
        for part in (self.lora_A, self.lora_B, self.scales, self.dropout):
            part.pop(name)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., I) -> (..., O). Row by row: x (B, ..., I), each row with its own adapter."""
        self.adapters.check_rows(x)
        y = self.base(x)
        for name, rows in self.adapters.at_work():
            if name not in self.scales:
                continue
            if rows is None:  # what the path gives is nobody else's: where dtypes agree it need not be copied
                change = self.path(name, x)
                y = change.add_(y) if change.dtype == y.dtype else (y + change).to(y.dtype)
            else:
                y = y.index_add(0, rows, self.path(name, x[rows]).to(y.dtype))
        return y

    def path(self, name: str, x: Tensor) -> Tensor:
        """(alpha / r) · B A x of one adapter, in its own dtype."""
        A, B = self.lora_A[name], self.lora_B[name]
        x = x.to(A.dtype)
        if self.training and self.dropout[name]:
            x = F.dropout(x, self.dropout[name])
        return F.linear(F.linear(x, A), B).mul_(self.scales[name])

    @torch.no_grad()
    def change(self, name: str) -> Tensor:
        """(alpha / r) · B A: what the adapter adds to the weight, (O, I)."""
        return self.lora_B[name] @ self.lora_A[name] * self.scales[name]

    def extra_repr(self) -> str:
        return ", ".join(
            f"{name}: r={len(A)}, scale={self.scales[name]:g}" for name, A in self.lora_A.items()
        )


class TrainedPart(nn.Module):
    """A whole layer that each adapter has a copy of, to learn without LoRA: the head of a classifier."""

    def __init__(self, base: nn.Module, adapters: Adapters) -> None:
        super().__init__()
        self.base, self.adapters, self.copies = base, adapters, nn.ModuleDict()

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """The base's outputs, or those of the copies at work."""
        shared = self.adapters
        if shared.rows is None:
            name = shared.active if shared.merged is None else shared.merged
            part = self.copies[name] if name in self.copies else self.base  # noqa: SIM401 - a ModuleDict has no get
            return part(*inputs, **options)
        shared.check_rows(inputs[0])
        y = self.base(*inputs, **options)
        for name, rows in shared.rows.items():
            if name in self.copies:
                y = y.index_copy(0, rows, self.copies[name](inputs[0][rows], *inputs[1:], **options))
        return y


def adapters_of(model: nn.Module) -> Adapters | None:
    """The Adapters that the layers of a model share; None for a model without."""
    found = getattr(model, "adapters", None)
    return found if isinstance(found, Adapters) else None


@contextmanager
def adapter_rows(model: nn.Module, names: Sequence[str | None]) -> Iterator[None]:
    """Inside, row i of a batch goes through the adapter `names[i]`; BASE is none, None the one that is active.

    ValueError for an adapter that the model does not have, or while one lies in its weights.
    """
    shared = adapters_of(model)
    if shared is None:
        if any(name not in (None, BASE) for name in names):
            raise ValueError(f"the model has no adapters, got {describe(list(names))}")
        yield
        return
    if not is_listing(names):
        raise ValueError(f"names must be a list of an adapter for each row, got {describe(names)}")
    names = [shared.active if name is None else shared.check(name, BASE) for name in names]
    if shared.merged is not None and any(name != shared.merged for name in names):
        raise ValueError(f"the adapter {shared.merged!r} lies in the weights: unmerge_lora first")
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name, []).append(place)
    before = shared.active, shared.rows, shared.count
    if len(places) == 1:  # all alike: no row has to be picked out
        shared.active, shared.rows = names[0], None
    elif places:
        shared.count, device = len(names), next(model.parameters()).device
        shared.rows = {name: torch.tensor(at, device=device) for name, at in places.items() if name != BASE}
    try:
        yield
    finally:
        shared.active, shared.rows, shared.count = before
