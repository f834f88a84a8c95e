"""minillm/_kernels.py: who computes, the kernel or the plain version; nothing is imported before it is needed."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("minillm", reason="this environment holds the kernels' requirements only")

from minillm import _kernels
from minillm._kernels import KERNELS, autocast_dtype, register, use_kernels
from tests.kernels.conftest import DEVICE

PATH = "tests.kernels.test_registry:by_kernel"


def by_kernel(*args, **options):
    return "kernel", args, options


def by_torch(*args, **options):
    return "plain", args, options


@pytest.fixture
def made(monkeypatch):
    """A function that registers a kernel for this test alone."""
    monkeypatch.setattr(_kernels, "_registered", {})

    def make(may_run=lambda *args, **options: True, **rest):
        return register("name", PATH, may_run, by_torch, **rest)

    return make


def test_the_switch_decides_who_computes(made):
    x = torch.ones(2, device=DEVICE)
    asked, wanted = made(), made(auto=True)
    assert asked(x)[0] == "plain"
    assert wanted(x)[0] == ("kernel" if DEVICE == "cuda" else "plain")  # never the interpreter by itself
    with use_kernels("always"):
        assert asked(x, 2, c=3) == ("kernel", (x, 2), {"c": 3})
        assert wanted.runs(x)
        with use_kernels("never"):
            assert asked(x, 2, c=3) == ("plain", (x, 2), {"c": 3})
            assert asked.always(x)[0] == "kernel"
            assert not asked.runs(x)
            assert asked.can_run(x)
        assert asked(x)[0] == "kernel"
    assert asked(x)[0] == "plain"


def test_an_error_gives_the_switch_back_and_a_wrong_mode_is_named(made):
    x = torch.ones(2, device=DEVICE)
    with pytest.raises(ZeroDivisionError), use_kernels("always"):
        raise ZeroDivisionError
    assert made()(x)[0] == "plain"
    with pytest.raises(ValueError, match="'auto', 'always', 'never', got 'on'"), use_kernels("on"):
        pass


def test_the_plain_version_takes_what_the_kernel_cannot(made, monkeypatch):
    x = torch.ones(2, device=DEVICE)
    picky = made(lambda x, mask=None: mask is None)
    with use_kernels("always"):
        assert picky(x)[0] == "kernel"
        assert picky(x, mask=1)[0] == picky.always(x, mask=1)[0] == "plain"
        assert picky(x.double())[0] == picky(x.int())[0] == "plain"
        monkeypatch.setattr(_kernels, "INSTALLED", False)
        assert picky(x)[0] == "plain"


def test_may_run_is_not_asked_about_tensors_that_no_kernel_reaches(made):
    asked = []
    kernel = made(lambda x: asked.append(x) or True)
    with use_kernels("always"):
        kernel(torch.ones(2).double())
        kernel(torch.ones(2, device="meta"))
    assert asked == []


@pytest.mark.parametrize(("capability", "taken"), [((7, 5), False), ((8, 0), True), ((12, 0), True)])
def test_gpus_from_the_a100_on(made, monkeypatch, capability, taken):
    x = SimpleNamespace(device=torch.device("cuda"), dtype=torch.bfloat16)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert made(auto=True).runs(x) == made().can_run(x) == taken
    assert not made().runs(x)  # not by itself
    monkeypatch.setattr(torch.version, "hip", "6.4")  # AMD's GPUs are "cuda", too
    assert not made().can_run(x)


def test_a_kernel_with_other_arguments_is_called_as_it_wants(made):
    kernel = made(call=lambda kernel, x, *rest: kernel(x, late=rest))
    with use_kernels("always"):
        assert kernel(torch.ones(1, device=DEVICE), 5)[2] == {"late": (5,)}


def test_names_are_taken_once_and_read_only(made):
    kernel = made()
    assert made() is not kernel  # a module that is loaded again
    with pytest.raises(ValueError, match=f"'name' is already {PATH}, got kernels.other:f"):
        register("name", "kernels.other:f", by_torch, by_torch)
    with pytest.raises(TypeError):
        KERNELS["name"] = kernel


def test_every_path_that_is_registered_names_a_function():
    import importlib

    for room in ("quantization", "training"):  # they register theirs when they are imported
        importlib.import_module(f"minillm.{room}")
    assert {"int8_linear", "w4a16_linear", "cross_entropy", "linear_cross_entropy"} <= set(KERNELS)
    for kernel in KERNELS.values():
        module, _, function = kernel.path.partition(":")
        assert callable(getattr(importlib.import_module(module), function)), kernel


def test_autocast_is_seen():
    x = torch.ones(1)
    assert autocast_dtype(x) is None
    with torch.autocast("cpu", torch.bfloat16):
        assert autocast_dtype(x) == torch.bfloat16
        assert autocast_dtype(torch.ones(1, device="meta")) is None


def test_nothing_is_imported_before_a_kernel_runs():
    code = """
import sys, torch, minillm.nn, minillm.models, minillm.training, minillm.quantization
from minillm import _kernels
with _kernels.use_kernels("always"):
    torch.nn.functional.relu(torch.ones(2))
print("triton" in sys.modules, _kernels.INSTALLED)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True"], done.stderr
