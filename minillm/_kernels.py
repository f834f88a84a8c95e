"""The one registry of the Triton kernels of kernels/: what each one does, when it may run, and its plain version.

    rms_norm = register("rms_norm", "kernels.rms_norm:rms_norm", may_run, rms_norm_plain)
    rms_norm(x, weight, eps)      the kernel where it can run and is wanted, else rms_norm_plain(x, weight, eps)

A kernel is imported at the first call that takes it: minillm works, and imports, without Triton. It can run if
kernels/ and Triton are installed, the first argument is a float16, bfloat16 or float32 tensor on a GPU that the
kernels are made for, and its own `may_run(*args, **options)` agrees. Which of those are wanted, `use_kernels` says:

    "auto"     those that are registered with auto=True, because they are known to pay; the start
    "always"   every one that can run, timed or not; in Triton's interpreter, too (TRITON_INTERPRET=1 set before the
               first import of kernels), which runs them, slowly, on a CPU: so the tests force them without a GPU
    "never"    none

Book 8.2-8.3 (효율적인 트랜스포머 연산).
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

MODES = ("auto", "always", "never")
FLOATS = (torch.float16, torch.bfloat16, torch.float32)
_mode = "auto"
_registered: dict[str, Kernel] = {}
KERNELS: Mapping[str, Kernel] = MappingProxyType(_registered)  # what is registered, by name; read-only


def kernels_installed() -> bool:
    """Whether kernels/ and Triton are here; imports neither. Another package named `kernels` is not ours."""
    ours = importlib.util.find_spec("kernels")
    if ours is None or ours.origin is None or not Path(ours.origin).with_name("_checks.py").is_file():
        return False
    return importlib.util.find_spec("triton") is not None


INSTALLED = kernels_installed()  # asked once: it reads folders, and every layer of a model wants to know


def gpu_runs_kernels(x: Tensor) -> bool:
    """Whether x lies on a GPU that the kernels are made for: NVIDIA's, from the A100 on."""
    if x.device.type != "cuda" or torch.version.hip:  # torch calls AMD's GPUs "cuda", too
        return False
    return torch.cuda.get_device_capability(x.device) >= (8, 0)


def interpreter_takes(dtype: torch.dtype) -> bool:
    """Whether Triton's interpreter stands in for the GPU and computes this dtype rightly; imports no Triton."""
    from kernels import _checks

    return _checks.interpreter_takes(dtype)


def autocast_dtype(x: Tensor) -> torch.dtype | None:
    """What autocast narrows products of x to, None where it is off: a kernel sees its inputs as they are."""
    kind = x.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return None


@contextlib.contextmanager
def use_kernels(mode: str) -> Iterator[None]:
    """`with use_kernels("always"): model(ids)`: which kernels run inside, "auto", "always" or "never" (see the top).

    Raises ValueError for another mode. One setting a process, as torch.nn.attention.sdpa_kernel's: not for threads
    that want different ones.
    """
    global _mode
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(map(repr, MODES))}, got {mode!r}")
    before, _mode = _mode, mode
    try:
        yield
    finally:
        _mode = before


def kernels_mode() -> str:
    """What `use_kernels` says now: "auto", "always" or "never"."""
    return _mode


class Kernel:
    """A function of two versions. Made by `register`; calling it takes the kernel or the plain version.

    name, path, may_run, plain, auto: as `register` was given them.
    """

    def __init__(
        self, name: str, path: str, may_run: Callable[..., bool], plain: Callable[..., Any],
        call: Callable[..., Any] | None, auto: bool,
    ) -> None:  # fmt: skip
        self.name, self.path, self.may_run, self.plain, self.auto = name, path, may_run, plain, auto
        self._call = call
        self._function: Callable[..., Any] | None = None

    def __repr__(self) -> str:
        return f"<kernel {self.name!r}: {self.path}>"

    def __call__(self, *args: Any, **options: Any) -> Any:
        if _mode == "auto" and not self.auto:  # said first: every layer comes by here for every token
            return self.plain(*args, **options)
        run = self.kernel if self.runs(*args, **options) else self.plain
        return run(*args, **options)

    def always(self, *args: Any, **options: Any) -> Any:
        """The kernel wherever it can run, else the plain version, whatever `use_kernels` says."""
        run = self.kernel if self.can_run(*args, **options) else self.plain
        return run(*args, **options)

    def runs(self, *args: Any, **options: Any) -> bool:
        """Whether a call with these arguments takes the kernel now: it is wanted, and it can run."""
        if _mode == "auto":
            # the interpreter never runs by itself: it is hundreds of times slower than torch
            return self.auto and args[0].device.type == "cuda" and self.can_run(*args, **options)
        return _mode == "always" and self.can_run(*args, **options)

    def can_run(self, *args: Any, **options: Any) -> bool:
        """Whether the kernel is able to take these arguments here, wanted or not."""
        x = args[0]
        if not INSTALLED or x.dtype not in FLOATS:
            return False
        return (
            gpu_runs_kernels(x) or (x.device.type == "cpu" and interpreter_takes(x.dtype))
        ) and self.may_run(*args, **options)

    def kernel(self, *args: Any, **options: Any) -> Any:
        """The kernel's answer, whatever the switch says. ValueError where it cannot run."""
        if self._function is None:
            module, _, function = self.path.partition(":")
            self._function = getattr(importlib.import_module(module), function)
        if self._call is None:
            return self._function(*args, **options)
        return self._call(self._function, *args, **options)


def register(
    name: str,
    path: str,
    may_run: Callable[..., bool],
    plain: Callable[..., Any],
    call: Callable[..., Any] | None = None,
    auto: bool = False,
) -> Kernel:
    """Register a kernel, and return the function that calls it or its plain version.

    name: what it computes, once in a process ("rms_norm"). path: "kernels.rms_norm:rms_norm", imported at the first
    call that takes the kernel. may_run(*args, **options): whether the kernel takes these arguments; asked after
    device and dtype of the first one, a tensor, are known to fit, so that it says only what is special (no mask, no
    gradient, no autocast: `autocast_dtype`). plain(*args, **options): the same in torch. call(kernel, *args,
    **options): how the kernel is called where its arguments are not those of `plain`. auto: whether it runs without
    being asked for. Raises ValueError for a name that is taken by another path.
    """
    if name in _registered and _registered[name].path != path:
        raise ValueError(f"the kernel {name!r} is already {_registered[name].path}, got {path}")
    found = _registered[name] = Kernel(name, path, may_run, plain, call, auto)
    return found
