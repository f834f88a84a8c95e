"""What the tests of the row kernels share: errors against float64, poisoned memory, the GPU's block sizes."""

from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import HealthCheck, settings
from torch import Tensor

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
some = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def tensors(
    generator: torch.Generator, device: str, *shapes: Sequence[int], dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    """Normal random numbers of these shapes, each a leaf that requires a gradient."""
    return [torch.randn(shape, generator=generator).to(device, dtype).requires_grad_() for shape in shapes]


def with_gradients(function: Callable, inputs: Sequence[Tensor], upstream: Sequence[Tensor]) -> list[Tensor]:
    """Outputs of function(*inputs), then the gradients of the inputs when `upstream` comes in for the outputs."""
    outputs = function(*inputs)
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    return [x.detach() for x in outputs] + list(torch.autograd.grad(outputs, inputs, upstream))


def doubled(inputs: Sequence[Tensor]) -> list[Tensor]:
    """The same numbers in float64, as leaves."""
    return [x.detach().double().requires_grad_() for x in inputs]


def again(inputs: Sequence[Tensor]) -> list[Tensor]:
    """The same numbers, as leaves of another graph."""
    return [x.detach().clone().requires_grad_() for x in inputs]


def apart(x: Tensor) -> Tensor:
    """The same numbers in memory where each row is followed by NaN: the row stride is not the width."""
    return torch.cat([x, torch.full_like(x[..., :3], float("nan"))], dim=-1)[..., : x.shape[-1]]


def largest(x: Tensor) -> float:
    return float(x.detach().abs().max()) if x.numel() else 0.0


def distance(got: Tensor, expected: Tensor) -> float:
    """‖got - expected‖ in float64; infinite if a NaN is in it."""
    assert got.shape == expected.shape
    error = (got.detach().double() - expected.detach().double()).norm()
    return float(torch.nan_to_num(error, nan=float("inf")))


def assert_exact(
    got: Sequence[Tensor], expected: Sequence[Tensor], scales: Sequence[float] | None = None
) -> None:
    """float32 results within 1e-5 of float64 ones, in the largest error and in the Frobenius norm.

    scales: what to measure an error by instead of the results, where these are small differences of large terms.
    """
    for i, (x, y) in enumerate(zip(got, expected, strict=True)):
        x, y = x.detach(), y.detach()
        assert x.dtype == torch.float32
        error = torch.nan_to_num(x.double() - y, nan=float("inf"))
        if scales is None:
            assert largest(error) <= 1e-5 * largest(y), i
            assert distance(x, y) <= 1e-5 * float(y.norm()), i
        else:
            assert largest(error) <= 1e-5 * max(scales[i], largest(y)), i


def assert_no_worse(got: Sequence[Tensor], of_torch: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    """Results in 16 bits whose distance to float64 is at most 1.5 times that of torch's own."""
    for i, (x, y, z) in enumerate(zip(got, of_torch, expected, strict=True)):
        assert x.dtype == y.dtype != torch.float32
        assert distance(x, z) <= 1.5 * distance(y, z), i


def assert_like_torch(
    function: Callable, of_torch: Callable, inputs: Sequence[Tensor], upstream: Sequence[Tensor]
) -> None:
    """Outputs and gradients: exact in float32, else no worse than torch's."""
    got = with_gradients(function, inputs, upstream)
    expected = with_gradients(of_torch, doubled(inputs), [x.double() for x in upstream])
    if inputs[0].dtype == torch.float32:
        assert_exact(got, expected)
    else:
        assert_no_worse(got, with_gradients(of_torch, again(inputs), upstream), expected)


def assert_repeats(function: Callable, inputs: Sequence[Tensor], upstream: Sequence[Tensor]) -> None:
    """Two launches give equal bits."""
    first, second = (with_gradients(function, inputs, upstream) for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))


def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh memory holds NaN from here on: what a kernel leaves unwritten is seen."""
    for name in ("empty", "empty_permuted"):
        fresh = getattr(torch, name)

        def poisoned(*arguments, fresh=fresh, **options):
            x = fresh(*arguments, **options)
            return x.fill_(float("nan")) if x.is_floating_point() else x

        monkeypatch.setattr(torch, name, poisoned)


def ship(monkeypatch: pytest.MonkeyPatch, *modules) -> None:
    """The block sizes of a GPU from here on, also in the interpreter."""
    for module in modules:
        monkeypatch.setattr(module, "INTERPRETED", False)


# numpy, the interpreter's arithmetic, warns where a GPU computes inf - inf or exp of a large number in silence
hostile = pytest.mark.filterwarnings("ignore:(invalid value|overflow|divide by zero):RuntimeWarning")
