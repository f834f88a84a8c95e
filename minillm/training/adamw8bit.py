"""AdamW with averages of 8 bits: a code for each number, and a scale for every 256.

    open      m, v = codebook[code] · scale of the block                     float32, one parameter at a time
    update    as AdamW                                                       adamw.py
    close     scale = max|m| of the block, code = nearest entry to m / scale

Steps in v span many powers of ten, so the entries are no even steps but a small float: "dynamic" (quantization/
double.py). v is never negative: its codebook spends the bit of the sign on the fraction. 8.25 bits a number and average
in place of 32. Parameters below 4,096 numbers keep float32: they are few, and norms and biases feel the rounding most.

Book: 5.5 효율적인 학습 방법(PEFT): QLoRA. Paper: Dettmers et al. 2022 (8-bit optimizers). Held against bitsandbytes'
AdamW8bit. Leaves out: percentile clipping, stable embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from minillm._checks import describe
from minillm.quantization.blockwise import BlockwiseQuantized, blockwise_quantize
from minillm.quantization.double import dynamic_codebook
from minillm.training.adamw import AdamW, best_update

BLOCK = 256  # numbers that share a scale
LARGEST = 1e18  # of a gradient: its square and the sums of them are floats
SMALL = 4096  # parameters with fewer numbers are not quantized
CODEBOOKS = {"m": dynamic_codebook(), "v": dynamic_codebook(signed=False)}


class Coded(NamedTuple):
    """An average of n numbers: codes uint8 (n,) and scales float32 (ceil(n / 256),)."""

    codes: Tensor
    scales: Tensor

    def open(self, name: str) -> Tensor:
        """The numbers, float32 (n,): the average "m" or "v"."""
        codebook = CODEBOOKS[name].to(self.codes.device)
        return BlockwiseQuantized(*self, codebook, BLOCK, tuple(self.codes.shape)).dequantize()

    def close(self, name: str, numbers: Tensor) -> None:
        """Take the numbers in, in place."""
        found = blockwise_quantize(numbers, BLOCK, CODEBOOKS[name])
        self.codes.copy_(found.codes), self.scales.copy_(found.scales)


def adamw_8bit(w: Tensor, g: Tensor, m: Coded, v: Coded, **settings: Any) -> None:
    """One update, in place, of flat weights w (n,) from their gradients g (n,). settings: those of `adamw_plain`."""
    opened = (w, g.to(w.dtype), m.open("m").to(w.dtype), v.open("v").to(w.dtype))
    best_update(opened)(*([one] for one in opened), **settings)
    for name, coded, numbers in zip("mv", (m, v), opened[2:]):
        coded.close(name, numbers.float())


def zero_codes(n: int, device: torch.device) -> Coded:
    """An average that has seen nothing."""
    scales = torch.zeros(-(-n // BLOCK), device=device)
    return Coded(torch.zeros(n, dtype=torch.uint8, device=device), scales)


class AdamW8bit(AdamW):
    """`AdamW` whose averages are codes; arguments and what is raised are AdamW's.

    A step also raises ValueError, and changes nothing, for a gradient whose numbers are not below 1e18 or are NaN: one
    such number would spoil a whole block.

    state_dict(): {"step", "m_codes", "m_scales", "v_codes", "v_scales"} of a parameter, {"step", "m", "v"} of a small
    one.
    """

    @torch.no_grad()
    def step(self, good: Tensor | None = None) -> None:
        """As AdamW's. On a GPU the host waits to hear what `good` is."""
        update = good is None or bool(good)
        self._check_gradients(update)
        for group, parameter, state in self._counted():
            if update:
                self._update(parameter, state, step_settings(group, state))

    def _check_gradients(self, numbers: bool) -> None:
        """ValueError before anything is changed. numbers: look at the numbers, too."""
        every = [parameter.grad for group in self.param_groups for parameter in group["params"]]
        for gradient in every:
            if gradient is None:
                continue
            if gradient.is_sparse:
                raise ValueError(f"{type(self).__name__} has no sparse gradients, got one")
            if numbers and gradient.numel() and not gradient.abs().max() < LARGEST:
                raise ValueError(
                    f"gradients must be numbers below {LARGEST:g}, got {describe(gradient)} with another"
                )

    def _counted(self) -> Any:
        """(group, parameter, state) of every parameter with a gradient, its update counted."""
        for group, parameter in self._walk():
            if parameter.grad is None:
                continue
            if parameter not in self.state:
                self.state[parameter] = {"step": 0, **self._new_averages(parameter)}
            self.state[parameter]["step"] += 1
            yield group, parameter, self.state[parameter]

    def _walk(self) -> list[tuple[dict[str, Any], Tensor]]:
        """(group, parameter) of all, in the order in which a step updates them."""
        return [(group, parameter) for group in self.param_groups for parameter in group["params"]]

    def _new_averages(self, parameter: Tensor) -> dict[str, Any]:
        if parameter.numel() < SMALL:
            zeros = torch.zeros_like(parameter)
            return {"m": zeros, "v": zeros.clone()}
        coded = {name: zero_codes(parameter.numel(), parameter.device) for name in "mv"}
        return {f"{name}_{part}": x for name, one in coded.items() for part, x in one._asdict().items()}

    def _update(self, parameter: Tensor, state: dict[str, Any], settings: dict[str, Any]) -> None:
        if "m" in state:
            tensors = (parameter, parameter.grad, state["m"], state["v"])
            best_update(tensors)(*([one] for one in tensors), **settings)
            return
        m, v = (Coded(state[f"{name}_codes"], state[f"{name}_scales"]) for name in "mv")
        with FlatWeights(parameter) as w:
            adamw_8bit(w, parameter.grad.reshape(-1), m, v, **settings)

    def _averages_of(self, index: int, parameter: Tensor, state: dict[str, Any]) -> dict[str, Any]:
        """Copies of the averages in a loaded state; ValueError for those of another optimiser or size."""
        wanted = self._new_averages(parameter)
        for name, mine in wanted.items():
            theirs = state.get(name)
            if not isinstance(theirs, Tensor) or theirs.shape != mine.shape:
                raise ValueError(
                    f"parameter {index} needs {name} {tuple(mine.shape)}, the state has {describe(theirs)}: "
                    "is it of an optimiser of other bits?"
                )
        return {name: state[name].to(mine.device, mine.dtype, copy=True) for name, mine in wanted.items()}


class FlatWeights:
    """`with FlatWeights(parameter) as w:` the weights as (n,), which are written back if they do not lie in a row."""

    def __init__(self, parameter: Tensor) -> None:
        self.parameter = parameter

    def __enter__(self) -> Tensor:
        self.flat = self.parameter.detach().reshape(-1)
        return self.flat

    def __exit__(self, *error: Any) -> None:
        if self.flat.data_ptr() != self.parameter.data_ptr():
            self.parameter.copy_(self.flat.view(self.parameter.shape))


def step_settings(group: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """What an update needs to know besides tensors."""
    names: Sequence[str] = ("lr", "betas", "eps", "weight_decay")
    return {"step": state["step"], **{name: group[name] for name in names}}
