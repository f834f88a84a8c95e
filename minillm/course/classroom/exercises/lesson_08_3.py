"""Checkers of lesson 08_3, kernel fusion."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from minillm.course import exercise


@exercise("08-3-a", points=2)
def trips(answer):
    """Launches and bytes of bias, GELU and residual."""
    found = answer(8, 100, 2, fused=True)
    assert len(found) == 2, f"return (launches, bytes), got {found!r}"
    assert found[0] == 1, f"fused is one launch, got {found[0]}"
    unfused = answer(8, 100, 2, fused=False)
    assert unfused[0] == 3, "unfused: x + bias, gelu, + residual are three launches"
    tensor, bias = 8 * 100 * 2, 100 * 2
    for moved, right, hint in (
        (found[1], 3, "fused: what must come in, and what must go out?"),
        (unfused[1], 7, "unfused: what does each of the three launches read, and what does it write?"),
    ):
        assert moved == right * tensor + bias, (
            f"{hint} x has {tensor} bytes, the bias {bias}: your {moved} bytes are the bias once and "
            f"{(moved - bias) / tensor:g} times x"
        )
    assert answer(8, 100, 4, fused=True)[1] == 2 * found[1], "float32 is 4 bytes a number: twice float16"


class Watch(TorchDispatchMode):
    """Counts kernel launches, notes what torch computes itself, fills new memory with NaN, and stops a program before
    it touches memory outside the tensors it was given: in the interpreter that may end the whole process."""

    ROOM = ("empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided")

    def __init__(self):
        super().__init__()
        self.launches, self.torch_ran, self.astray = 0, [], ""

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        result, name = op(*args, **(kwargs or {})), op.overloadpacket.__name__
        if name in self.ROOM and result.is_floating_point():
            result.fill_(float("nan"))
        elif name not in self.ROOM and not op.is_view:
            self.torch_ran.append(name)
        return result

    def guarded(self, access: Callable, verb: str, rooms: list[tuple[int, int]]) -> Callable:
        """One of the interpreter's two ways to memory, for addresses within `rooms` only."""

        def create(builder, pointers, *rest, **options):
            mask = rest[0 if verb == "reads" else 1]  # a store's value stands before its mask
            size = pointers.get_element_ty().primitive_bitwidth // 8
            used = pointers.data[np.broadcast_to(mask.data, pointers.data.shape).astype(bool)]
            inside = np.zeros(used.shape, dtype=bool)
            for start, end in rooms:
                inside |= (used >= start) & (used + size <= end)
            if not inside.all():
                self.astray = f"a program {verb} outside the tensors it was given"
                raise IndexError(self.astray)
            return access(builder, pointers, *rest, **options)

        return create

    def run(self, answer: Callable, *inputs: Tensor) -> Tensor | None:
        """The answer's result, its launches counted; None if a program went astray."""
        # here, not above: the other exercises need no Triton
        from triton.runtime.interpreter import InterpretedFunction, InterpreterBuilder

        launch = InterpretedFunction.run
        load, store = InterpreterBuilder.create_masked_load, InterpreterBuilder.create_masked_store

        def counted(kernel, *args, **kwargs):
            self.launches += 1
            given = [x.untyped_storage() for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
            rooms = [(memory.data_ptr(), memory.data_ptr() + memory.nbytes()) for memory in given]
            ways = {
                "create_masked_load": self.guarded(load, "reads", rooms),
                "create_masked_store": self.guarded(store, "writes", rooms),
            }
            with mock.patch.multiple(InterpreterBuilder, **ways), _disable_current_modes():
                return launch(kernel, *args, **kwargs)

        try:
            with mock.patch.object(InterpretedFunction, "run", counted), self:
                return answer(*inputs)
        except Exception:
            if self.astray:
                return None
            raise


@exercise("08-3-b", points=3)
def bias_gelu(answer):
    """A kernel of the student's own: gelu(x + bias), one launch."""
    generator = torch.Generator().manual_seed(0)
    for rows, width, dtype in (
        (4, 32, torch.float32),
        (3, 7, torch.float32),
        (5, 100, torch.float32),
        (1, 257, torch.float32),
        (6, 200, torch.float16),
        (2, 1100, torch.float32),
    ):
        name = f"x {(rows, width)} {str(dtype).removeprefix('torch.')}"
        x, bias = (2 * torch.randn(shape, generator=generator) for shape in ((rows, width), (width,)))
        x, bias, watch = x.to(dtype), bias.to(dtype), Watch()
        before = x.clone()
        found = watch.run(answer, x, bias)
        assert not watch.astray, (
            f"{name}: {watch.astray}. Is every load and every store masked, and is there one program a row?"
        )
        assert isinstance(found, Tensor), f"{name}: return the tensor y, got {found!r}"
        assert found.shape == x.shape, f"{name}: y has the shape of x, got {tuple(found.shape)}"
        assert found.dtype == dtype, f"{name}: y has the dtype of x, got {found.dtype}"
        assert watch.launches, f"{name}: no kernel was launched"
        assert not watch.torch_ran, (
            f"{name}: torch itself ran {', '.join(watch.torch_ran)}: let the kernel do it, into torch.empty_like(x)"
        )
        assert watch.launches == 1, f"{name}: {watch.launches} launches, one is enough"
        assert torch.equal(x, before), f"{name}: x is only read; write to a new tensor"
        check_values(name, found, F.gelu(x.double() + bias.double()))


def check_values(name: str, found: Tensor, wanted: Tensor) -> None:
    """Every number within float32's rounding, or, in float16, the number nearest to the exact one."""
    missing = found.isnan()
    assert not missing.any(), (
        f"{name}: {int(missing.sum())} of {found.numel()} numbers are NaN: never written, or computed from what "
        "was never written"
    )
    allowed = torch.full_like(wanted, 2e-6)
    if found.dtype == torch.float16:  # half the distance of neighbouring float16 numbers
        allowed += 0.51 * torch.exp2(torch.floor(torch.log2(wanted.abs().clamp(min=2.0**-14))) - 10)
    difference = (found.double() - wanted).abs()
    worst = int((difference / allowed).argmax())
    row, column = divmod(worst, found.shape[1])
    assert difference.flatten()[worst] <= allowed.flatten()[worst], (
        f"{name}: y[{row}, {column}] is {found[row, column]:.5f}, gelu(x + bias) with the erf is "
        f"{wanted[row, column]:.5f}. Is bias read by column, is it the erf form, is all of it computed in float32?"
    )


class ByHand(TorchDispatchMode):
    """Refuses torch's own loss; `stop`, as the hook of what autograd wants to keep, refuses torch's gradients."""

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        name = op.overloadpacket.__name__
        return self.stop() if "nll_loss" in name or "cross_entropy" in name else op(*args, **(kwargs or {}))

    @staticmethod
    def stop(*_):
        raise AssertionError("by hand: without F.cross_entropy, F.nll_loss and autograd")


@exercise("08-3-c", points=3)
def loss_and_gradient(answer):
    """Cross-entropy and its gradient, by hand."""
    generator = torch.Generator().manual_seed(0)

    for rows, width, smoothing, skipped in (
        (1, 3, 0.0, ()),
        (4, 5, 0.0, ()),
        (4, 5, 0.1, ()),
        (5, 7, 0.0, (1, 3)),
        (6, 9, 0.2, (0,)),
    ):
        name = f"logits {(rows, width)}, smoothing {smoothing}, {len(skipped)} of {rows} rows ignored"
        hint = "wanted is smoothing / V of every word, and 1 - smoothing more of the target"
        logits = 3 * torch.randn(rows, width, generator=generator, dtype=torch.float64)
        targets = torch.randint(width, (rows,), generator=generator)
        targets[list(skipped)] = -100
        with ByHand(), torch.autograd.graph.saved_tensors_hooks(ByHand.stop, ByHand.stop):
            found = answer(logits.clone(), targets.clone(), smoothing)
        assert isinstance(found, tuple), f"{name}: return (loss, gradient), got {type(found).__name__}"
        assert len(found) == 2, f"{name}: return (loss, gradient), got {len(found)} values"
        leaf = logits.clone().requires_grad_()
        loss = F.cross_entropy(leaf, targets, label_smoothing=smoothing)
        loss.backward()
        assert abs(float(found[0]) - loss.item()) < 1e-6, (
            f"{name}: the loss is {loss.item():.4f}, got {float(found[0]):.4f}: the mean over the rows that count of "
            f"-Σ wanted · log softmax; {hint}"
        )
        assert found[1].shape == logits.shape, f"{name}: the gradient is shaped as the logits"
        assert not found[1][list(skipped)].any(), f"{name}: an ignored row has gradient zero"
        worst = (found[1] - leaf.grad).abs().max()
        assert worst < 1e-6, (
            f"{name}: the gradient is off by up to {worst:.4f}: (softmax - wanted) / number of rows that count; {hint}"
        )
    loss, gradient = answer(torch.tensor([[1000.0, 0.0]]), torch.tensor([1]))
    hint = "logits of 1,000: subtract the largest before exp, or use logsumexp"
    assert abs(float(loss) - 1000) < 1e-3, f"{hint}; the loss is 1000, got {float(loss):.3f}"
    assert torch.allclose(gradient.float(), torch.tensor([[1.0, -1.0]])), (
        f"{hint}; the gradient is [[1, -1]], got {gradient.tolist()}"
    )


PEAK, BANDWIDTH = 312e12, 2.0e12  # of an A100, a second
MATRIX = 4096 * 4096
OPERATIONS = {  # (floating-point operations, bytes)
    "residual": (8192 * 4096, 3 * 2 * 8192 * 4096),
    "batch": (2 * 128 * MATRIX, 2 * MATRIX + 2 * 2 * 128 * 4096),
    "batch8": (2 * 128 * MATRIX, MATRIX + 2 * 2 * 128 * 4096),
    "prompt": (2 * 1024 * MATRIX, 2 * MATRIX + 2 * 2 * 1024 * 4096),
    "attention": (4 * 256 * 256 * 128, 2 * 4 * 256 * 128),
}


@exercise("08-3-d", points=1)
def memory_bound(answer):
    """Which operations lie under the slanted roof."""
    assert isinstance(answer, (set, frozenset, list, tuple)), (
        f'a set of names such as {{"residual"}}, got {answer!r}'
    )
    unknown = set(answer) - set(OPERATIONS)
    assert not unknown, f"unknown names: {', '.join(sorted(map(str, unknown)))}"
    for name, (operations, moved) in OPERATIONS.items():
        assert (operations / moved < PEAK / BANDWIDTH) == (name in answer), (
            f"count {name!r} again: a multiply-add is two operations; the ridge is at 312 / 2.0 = 156 a byte"
        )
