"""AdamW: steps of equal size in every direction, and weight decay that stays out of the averages.

    m <- b1 m + (1 - b1) g            average of gradients (momentum)
    v <- b2 v + (1 - b2) g^2          average of squared gradients
    w <- w - lr * decay * w           decoupled decay: on the weight itself, never through g
    w <- w - lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

The divisions by 1 - b^t undo the zero start of both averages. m / sqrt(v) is about +-1 whatever the scale of
the gradient, so one learning rate serves an embedding and a norm alike. The price: two more numbers a weight.

Book: 3.4 모델 학습시키기. Papers: Kingma & Ba 2015 (Adam); Loshchilov & Hutter 2019 (decoupled decay).
Held against: torch.optim.AdamW. Leaves out: AMSGrad, sparse gradients, learning rates that are tensors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from minillm._checks import check_flag, check_int, check_number, describe, is_listing

Tensors = Sequence[Tensor]
TINY = torch.finfo(torch.float32).tiny


def adamw_plain(
    weights: Tensors, gradients: Tensors, firsts: Tensors, seconds: Tensors,
    step: int, lr: float, betas: tuple[float, float], eps: float, weight_decay: float,
) -> None:  # fmt: skip
    """The formula above: update number `step` (1 for the first) of weights and averages, in place.

    The four sequences run in parallel; each weight, gradient and average has the same shape.
    """
    b1, b2 = betas
    for w, g, m, v in zip(weights, gradients, firsts, seconds):
        m.mul_(b1).add_(g, alpha=1 - b1)
        v.mul_(b2).addcmul_(g, g, value=1 - b2)
        unbiased_m = m / (1 - b1**step)
        unbiased_v = v / (1 - b2**step)
        w.mul_(1 - lr * weight_decay)
        w.sub_(lr * unbiased_m / (unbiased_v.sqrt() + eps))


def adamw_foreach(
    weights: Tensors, gradients: Tensors, firsts: Tensors, seconds: Tensors,
    step: int, lr: float, betas: tuple[float, float], eps: float, weight_decay: float, good: Tensor | None = None,
) -> None:  # fmt: skip
    """The same update for a GPU. Fast because each line is one launch for all tensors, not one a tensor.

    good: a 0-d bool tensor there; False leaves weights and averages as they were, bit for bit, and the gradients 0.
    The host does not wait to hear which it is: every factor becomes 1, every summand 0.
    """
    b1, b2 = betas
    root_bias = math.sqrt(1 - b2**step)
    keep1, keep2, keep, floor, divisor = b1, b2, 1 - lr * weight_decay, eps * root_bias, root_bias
    if good is not None:
        for gradient in gradients:
            gradient.masked_fill_(~good, 0.0)  # not a product: NaN times 0 is NaN
        keep1, keep2, keep = (torch.where(good, factor, 1.0) for factor in (b1, b2, keep))
        floor, divisor = max(floor, TINY), good * root_bias  # 0 / 0 would be NaN
    torch._foreach_mul_(firsts, keep1)
    torch._foreach_add_(firsts, gradients, alpha=1 - b1)
    torch._foreach_mul_(seconds, keep2)
    torch._foreach_addcmul_(seconds, gradients, gradients, value=1 - b2)
    roots = torch._foreach_sqrt(seconds)
    # sqrt(v / (1 - b2^t)) + eps; of a bad step 1 / 0 = infinite, and m over that is 0
    torch._foreach_add_(roots, floor)
    torch._foreach_div_(roots, divisor)
    torch._foreach_mul_(weights, keep)
    torch._foreach_addcdiv_(weights, firsts, roots, value=-lr / (1 - b1**step))


@njit(cache=True, error_model="numpy", nogil=True)
def _compiled_update(w, g, m, v, keep, b1, rest1, b2, rest2, size, root_bias, eps):  # pragma: no cover
    for i in range(w.size):
        m[i] = b1 * m[i] + rest1 * g[i]
        v[i] = b2 * v[i] + rest2 * g[i] * g[i]
        w[i] = keep * w[i] - size * m[i] / (np.sqrt(v[i]) / root_bias + eps)


def adamw_compiled(
    weights: Tensors, gradients: Tensors, firsts: Tensors, seconds: Tensors,
    step: int, lr: float, betas: tuple[float, float], eps: float, weight_decay: float,
) -> None:  # fmt: skip
    """The same update for contiguous float32 tensors on a CPU.

    Fast because one compiled pass reads and writes each number once; the plain way walks memory ten times.
    """
    b1, b2 = betas
    keep, size, root_bias = 1 - lr * weight_decay, lr / (1 - b1**step), math.sqrt(1 - b2**step)
    numbers = (keep, b1, 1 - b1, b2, 1 - b2, size, root_bias, eps)
    constants = [np.float32(number) for number in numbers]  # one float64 would make the whole loop float64
    for tensors in zip(weights, gradients, firsts, seconds):
        _compiled_update(*(tensor.detach().view(-1).numpy() for tensor in tensors), *constants)
        torch.autograd.graph.increment_version(tensors[0])  # as torch's own operations do


class AdamW:
    """The optimiser: holds the averages of every parameter and updates parameters from their `.grad`.

    `params` is an iterable of parameters, or of dicts `{"params": [...], "lr": ..., "weight_decay": ...}`
    whose other keys override the defaults for that group, as in torch. A schedule sets `group["lr"]` of
    `param_groups`: `rate = schedule("cosine", steps)`, then `group["lr"] = rate(step)`; torch.optim.lr_scheduler
    takes torch's own optimisers alone. Parameters whose `.grad` is None are left alone and keep their own count of
    updates.
    Source: the formula on top.

    Raises ValueError for no parameters, one given twice, a parameter that is no leaf tensor, or numbers out
    of range (lr, eps, weight_decay >= 0; betas in [0, 1)).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        self.param_groups = [_checked_group(group, defaults) for group in _as_groups(params)]
        every = [parameter for group in self.param_groups for parameter in group["params"]]
        if not every:
            raise ValueError("AdamW needs at least one parameter, got none")
        if len({id(parameter) for parameter in every}) != len(every):
            raise ValueError("a parameter was given twice: it would be updated twice a step")
        self.state: dict[Tensor, dict[str, Any]] = {}

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients (set to None, so that the next backward pass writes instead of adds).

        set_to_none: False fills them with zeros, as in torch; a step then still moves its parameters."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if check_flag("set_to_none", set_to_none):
                    parameter.grad = None
                elif parameter.grad is not None:
                    parameter.grad = torch.zeros_like(parameter.grad)

    @torch.no_grad()
    def step(self, good: Tensor | None = None) -> None:
        """One update of every parameter that has a gradient, in place.

        good: a 0-d bool tensor on the parameters' device. False: weights and averages stay as they are, though the
        update is counted (see `uncount`); on a GPU, where it may not be known yet, the host does not wait for it.
        ValueError for a function, torch's closure: it would never be called.
        """
        if callable(good):
            raise ValueError(
                f"step takes no closure: call backward() first, then step(), got {describe(good)}"
            )
        for group in self.param_groups:
            settings = {name: group[name] for name in ("lr", "betas", "eps", "weight_decay")}
            for (count, update), tensors in self._alike(group["params"]).items():
                if update is adamw_foreach:
                    update(*zip(*tensors), step=count, good=good, **settings)
                elif good is None or good:
                    update(*zip(*tensors), step=count, **settings)

    def uncount(self, steps: int) -> None:
        """Take back the count of the last `steps` updates, which were not good."""
        for state in self.state.values():
            state["step"] = max(0, state["step"] - steps)

    def _alike(self, params: list[Tensor]) -> dict[tuple[int, Any], list[tuple[Tensor, ...]]]:
        """(weight, gradient, m, v) of every parameter with a gradient, by update number and function."""
        alike: dict[tuple[int, Any], list[tuple[Tensor, ...]]] = {}
        for parameter in params:
            if parameter.grad is None:
                continue
            if parameter.grad.is_sparse:
                raise ValueError("AdamW has no sparse gradients, got one; use a dense embedding")
            state = self.state.get(parameter)
            if state is None:
                zeros = torch.zeros_like(parameter, memory_format=torch.preserve_format)
                state = self.state[parameter] = {"step": 0, "m": zeros, "v": zeros.clone()}
            state["step"] += 1
            tensors = (parameter, parameter.grad, state["m"], state["v"])
            alike.setdefault((state["step"], best_update(tensors)), []).append(tensors)
        return alike

    def state_dict(self) -> dict[str, Any]:
        """{"state": {index: {"step", "m", "v"}}, "param_groups": [settings with parameter indices]}.

        The tensors are shared. Parameters are numbered in the order of the groups, as in torch.
        """
        index = {id(p): i for i, p in enumerate(p for group in self.param_groups for p in group["params"])}
        groups = [{**group, "params": [index[id(p)] for p in group["params"]]} for group in self.param_groups]
        return {
            "state": {index[id(p)]: dict(state) for p, state in self.state.items()},
            "param_groups": groups,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over copies of what `state_dict` returned; a ValueError, if it does not fit, changes nothing."""
        try:
            groups, states = state_dict["param_groups"], state_dict["state"]
            sizes = [len(group["params"]) for group in groups]
        except (TypeError, KeyError, IndexError):
            raise ValueError(f"expected what state_dict() returned, got {describe(state_dict)}") from None
        if sizes != [len(group["params"]) for group in self.param_groups]:
            raise ValueError(
                f"the optimiser has groups of {[len(g['params']) for g in self.param_groups]} parameters, "
                f"the state has groups of {sizes}"
            )
        every = [parameter for group in self.param_groups for parameter in group["params"]]
        loaded = {}
        for index, state in sorted(states.items()):
            parameter = every[check_int("parameter index", index, 0, len(every) - 1)]
            averages = self._averages_of(index, parameter, state)
            loaded[parameter] = {"step": check_int("step", state["step"], 0), **averages}
        checked = [
            _checked_group({**new, "params": old["params"]}, {})
            for new, old in zip(groups, self.param_groups)
        ]
        self.state, self.param_groups = loaded, checked

    def _averages_of(self, index: int, parameter: Tensor, state: dict[str, Any]) -> dict[str, Any]:
        """Copies of the averages in a loaded state; ValueError for those of another parameter or optimiser."""
        if not {"step", "m", "v"} <= set(state):  # torch calls them exp_avg and exp_avg_sq
            raise ValueError(
                f"the state of parameter {index} must have step, m and v, got {', '.join(state)}"
            )
        if any(getattr(state.get(name), "shape", None) != parameter.shape for name in "mv"):
            raise ValueError(f"parameter {index} has shape {tuple(parameter.shape)}, its averages do not")
        return {name: state[name].to(parameter.device, parameter.dtype, copy=True) for name in "mv"}


def best_update(tensors: Sequence[Tensor]) -> Any:
    """Which of the three functions above suits (weight, gradient, m, v)."""
    if tensors[0].device.type != "cpu":
        return adamw_foreach
    plain_memory = all(tensor.dtype == torch.float32 and tensor.is_contiguous() for tensor in tensors)
    return adamw_compiled if plain_memory else adamw_plain


def _as_groups(params: Iterable[Any]) -> list[dict[str, Any]]:
    if isinstance(params, (Tensor, dict)) or not is_listing(params):
        raise ValueError(f"params must be an iterable of parameters or of groups, got {describe(params)}")
    listed = list(params)
    return listed if listed and all(isinstance(item, dict) for item in listed) else [{"params": listed}]


def _checked_group(group: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    unknown = set(group) - {"params", "lr", "betas", "eps", "weight_decay"}
    if unknown or "params" not in group:
        raise ValueError(f"a group has the keys params, lr, betas, eps, weight_decay, got {sorted(group)}")
    merged = {**defaults, **group}
    params = merged["params"]
    merged["params"] = [params] if isinstance(params, Tensor) else list(params)
    for parameter in merged["params"]:
        if not (isinstance(parameter, Tensor) and parameter.is_leaf and parameter.is_floating_point()):
            raise ValueError(f"a parameter must be a leaf tensor of floats, got {describe(parameter)}")
    for name in ("lr", "eps", "weight_decay"):
        merged[name] = check_number(name, merged[name], 0)
    betas = merged["betas"]
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise ValueError(f"betas must be a pair of numbers, got {describe(betas)}")
    merged["betas"] = tuple(check_number("beta", beta, 0, math.nextafter(1, 0)) for beta in betas)
    return merged
