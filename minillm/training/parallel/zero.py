"""ZeRO: data parallel in which nothing is stored twice. Each of n ranks keeps 1/n of what all others would copy.

    bytes a rank holds, P parameters of 4 bytes, Adam's two averages:
    data parallel      4 P + 4 P + 8 P
    stage 1            4 P + 4 P + 8 P / n        the averages are cut
    stage 2            4 P + (4 P + 8 P) / n      and the gradients: each is summed onto the rank that needs it
    stage 3            (4 P + 4 P + 8 P) / n      and the weights: gathered when a layer runs, then let go

The parameters of a layer (a block) are laid end to end and cut into n pieces. AdamW works on a rank's own pieces; it
moves each number by itself, so cutting changes no update.

Book: 5.3.2 데이터 병렬화에서 중복 저장 줄이기(ZeRO). Paper: Rajbhandari et al. 2020. Held against: one process, and
the formula, to the byte. Leaves out: overlap with computing, frozen parameters (they stay whole on every rank), and
that a parameter no row used is left alone: here its gradient is zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Variable

from minillm._checks import check_choice, check_int, check_number
from minillm.training.adamw import AdamW
from minillm.training.groups import decay_groups
from minillm.training.parallel.flat import Flat, tensors_in
from minillm.training.parallel.group import check_model, place, same_start


def zero_bytes(parameters: int, ranks: int, stage: int, width: int = 4) -> int:
    """The formula above: bytes a rank holds after a backward pass; stage 0 is data parallel. width: of a number.

    `parameters` divides by `ranks` (ZeRO fills each layer up until it does). ValueError for another stage, or less than
    one rank or byte.
    """
    check_choice("stage", stage, (0, 1, 2, 3))
    for name, number, least in (("parameters", parameters, 0), ("ranks", ranks, 1), ("width", width, 1)):
        check_int(name, number, least)
    weights, gradients, averages = width * parameters, width * parameters, 2 * width * parameters
    cut = {0: 0, 1: averages, 2: averages + gradients, 3: averages + gradients + weights}[stage]
    return weights + gradients + averages - cut + cut // ranks


class ZeRO(nn.Module):
    """A model and its AdamW, of which this rank keeps its part. It is called as the model is.

        zero = ZeRO(model, stage=2, lr=1e-3)
        zero.zero_grad(); objective(zero, own_rows(batch)).backward(); zero.clip_gradients(1.0); zero.step()

    Every rank begins with the weights of rank 0. The AdamW is `zero.optimizer`, whose `param_groups` a schedule may
    set; biases and norms do not decay. All ranks must run the same layers in the same order; a pass that breaks off on
    one of them ends the run. With stage 3 the parameters of the model are empty but while their layer runs (look at
    them inside `with zero.whole():`), and gradients come to a layer by what it gives.
    ValueError outside of a group, for another stage, and for a model without parameters.
    """

    def __init__(
        self,
        model: nn.Module,
        stage: int = 1,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        group: Any = None,
    ) -> None:
        super().__init__()
        self.stage = check_choice("stage", stage, (1, 2, 3))
        self.model, self.group = check_model(model), group
        self.rank, self.ranks = place(group)
        same_start(model, group)
        groups = decay_groups(model, weight_decay)
        decays = {p: number for number, one in enumerate(groups) for p in one["params"]}
        self.layers = {}  # each layer's flats, the model's own first: the order of a forward pass
        for layer, parameters in layers_of(model).items():
            kinds = [[p for p in parameters if decays.get(p) == number] for number in range(len(groups))]
            self.layers[layer] = [
                Flat(part, self.rank, self.ranks, stage == 3, group) for part in kinds if part
            ]
        flats = [flat for every in self.layers.values() for flat in every]
        for number, one in enumerate(groups):
            one["params"] = [flat.own for flat in flats if decays[flat.parameters[0]] == number]
        self.optimizer = AdamW(groups, lr, betas, eps)
        self.running, self.waiting = False, []
        self._set_hooks()

    def forward(self, *args: Any, **options: Any) -> Any:
        """What the model gives."""
        if torch.is_grad_enabled() and self.running:
            self._break_off()
        return self.model(*args, **options)

    @property
    def flats(self) -> list[Flat]:
        """The parameters of the model, as they are cut."""
        return [flat for every in self.layers.values() for flat in every]

    def step(self) -> None:
        """Update the own pieces by AdamW and bring the weights of all ranks together again."""
        self.reduce_gradients()
        self.optimizer.step()
        for flat in self.flats:
            flat.free() if self.stage == 3 else flat.gather()
            flat.has_changed()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients."""
        self.optimizer.zero_grad()
        for flat in self.flats:
            flat.forget_gradients()

    def clip_gradients(self, max_norm: float) -> Tensor:
        """Scale the whole gradient, of which each rank has a part, to a length of at most max_norm; its length."""
        if check_number("max_norm", max_norm, 0) == 0:
            raise ValueError("max_norm must be above 0, got 0")
        self.reduce_gradients()
        mine = [flat.own.grad for flat in self.flats if flat.own.grad is not None]
        # in float64: the squares of half precision would overflow
        zero = torch.zeros((), dtype=torch.float64, device=self.flats[0].own.device)
        square = sum((torch.linalg.vector_norm(one, dtype=torch.float64).square() for one in mine), zero)
        dist.all_reduce(square, group=self.group)
        norm = square.sqrt()
        scale = torch.where(norm.isfinite(), max_norm / (norm + 1e-6), 1.0).clamp(max=1.0)
        for gradient in mine:
            gradient *= scale.to(gradient.dtype)
        return norm

    @torch.no_grad()
    def reduce_gradients(self) -> None:
        """Sum what is still whole onto the ranks that keep it (stage 1: all of it, once a step)."""
        for flat in self.flats[::-1]:
            flat.reduce()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Inside, the model has all its weights on every rank: to save it, or to look at it. All ranks come here."""
        for flat in self.flats:
            flat.gather()
        try:
            yield
        finally:
            if self.stage == 3:
                for flat in self.flats:
                    flat.free()

    def bytes_held(self) -> dict[str, int]:
        """Bytes of this rank's distinct storages now: weights, gradients, averages. After a backward: the formula."""
        trained = [p for flat in self.flats for p in flat.parameters]
        owns = [flat.own for flat in self.flats]
        averages = [state[name] for state in self.optimizer.state.values() for name in "mv"]
        return {
            "weights": storage_bytes([*trained, *owns]),
            "gradients": storage_bytes([t.grad for t in (*trained, *owns) if t.grad is not None]),
            "averages": storage_bytes(averages),
        }

    # While the model runs: stage 2 and 3

    def _set_hooks(self) -> None:
        for layer, flats in self.layers.items():
            if self.stage == 3:
                layer.register_forward_pre_hook(partial(self._before, flats))
                layer.register_forward_hook(partial(self._after, flats))
            if self.stage > 1:
                for flat in flats:
                    for p in flat.parameters:
                        p.register_post_accumulate_grad_hook(partial(self._ready, flat))

    def _before(self, flats: list[Flat], *_: Any) -> None:
        """A layer is about to run, or its backward pass is: gather its weights."""
        for flat in flats:
            flat.gather()

    def _after(self, flats: list[Flat], layer: nn.Module, args: Any, output: Any) -> None:
        """A layer has run: let its weights go, and gather them when the gradient of its output comes."""
        outputs = [tensor for tensor in tensors_in(output) if tensor.requires_grad]
        for tensor in outputs:
            tensor.register_hook(partial(self._before_backward, flats))
        # the model's own are needed until the backward ends; a layer that checkpointing runs again, at once
        needed = torch.is_grad_enabled() and (layer is self.model or not outputs or self.running)
        if not needed:
            for flat in flats:
                flat.free()

    def _before_backward(self, flats: list[Flat], gradient: Tensor) -> None:
        self._begin()
        self._before(flats)

    def _begin(self) -> None:
        if not self.running:
            self.running, self.waiting = True, self.flats
            Variable._execution_engine.queue_callback(self._end)

    def _ready(self, flat: Flat, parameter: Tensor) -> None:
        """A gradient is there. Layers are summed from the last to the first: one order on all ranks."""
        self._begin()
        flat.missing.discard(id(parameter))
        while self.waiting and not self.waiting[-1].missing:
            self._finish(self.waiting.pop())

    def _end(self) -> None:
        """The backward pass has ended: sum what has unused parameters, let all weights go."""
        while self.waiting:
            self._finish(self.waiting.pop())
        self.running = False

    def _break_off(self) -> None:
        """A backward pass ended in an error: what it has left is dropped."""
        self.zero_grad()
        for flat in self.flats:
            flat.restart()
        self.running = False

    @torch.no_grad()
    def _finish(self, flat: Flat) -> None:
        flat.reduce()
        if self.stage == 3:
            flat.free()


def layers_of(model: nn.Module) -> dict[nn.Module, list[Tensor]]:
    """The trainable parameters by layer: the model itself first, then its blocks.

    The model itself has what stands in no block (embeddings, the last norm, the head), and what two of them share.
    """
    blocks = list(blocks_of(model))
    owners: dict[Tensor, set[nn.Module]] = {}
    for block in blocks:
        for p in block.parameters():
            owners.setdefault(p, set()).add(block)
    layers: dict[nn.Module, list[Tensor]] = {model: [], **{block: [] for block in blocks}}
    for p in model.parameters():
        owner = owners.get(p, set())
        if p.requires_grad:
            layers[next(iter(owner)) if len(owner) == 1 else model].append(p)
    return {layer: parameters for layer, parameters in layers.items() if parameters}


def blocks_of(module: nn.Module) -> Iterator[nn.Module]:
    """The entries of the outermost lists of layers (ModuleList, Sequential): each runs as a whole."""
    lists = (nn.ModuleList, nn.Sequential)
    for child in [module] if isinstance(module, lists) else module.children():
        yield from child.children() if isinstance(child, lists) else blocks_of(child)


def storage_bytes(tensors: list[Tensor]) -> int:
    """Bytes of the distinct storages under some tensors."""
    storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())
