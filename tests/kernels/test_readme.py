"""What README.md says of the kernels: its example runs, and its table names every function there is."""

import importlib
import pkgutil
import re
from pathlib import Path

import torch
import torch.nn.functional as F

import kernels

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SECTION = README[README.index("## GPU kernels") :].split("\n## ")[0]


def test_the_example_is_torchs_attention(device):
    (code,) = re.findall(r"^```python\n(.*?)^```", SECTION, re.M | re.S)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    q, k, v, out = (names[name] for name in ("q", "k", "v", "out"))
    assert out.device.type == device
    expected = F.scaled_dot_product_attention(
        *(x.double() for x in (q, k, v)), is_causal=True, enable_gqa=True
    )
    assert (out - expected).norm() <= (1e-5 if out.dtype == torch.float32 else 1e-2) * expected.norm()


def test_the_table_names_every_file_with_a_public_kernel():
    listed = {
        name for row in re.findall(r"^\| (`.*?) \|", SECTION, re.M) for name in re.findall(r"`(\w+)`", row)
    }
    there = set()
    for module in pkgutil.iter_modules(kernels.__path__):
        if not module.name.startswith("_") and hasattr(
            importlib.import_module(f"kernels.{module.name}"), module.name
        ):
            there.add(module.name)
    assert listed >= there
    for name in listed:
        assert importlib.util.find_spec(f"kernels.{name}"), name
