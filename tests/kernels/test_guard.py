"""Our top-level package `kernels` shares its name with a Hugging Face package that transformers looks for.

transformers must find ours harmless: it imports, and tiny random models run, with our folder first on the path.
"""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SCRIPT = """
import kernels, torch, transformers
from pathlib import Path
assert Path(kernels.__file__).resolve().parent == Path({root!r}).resolve() / "kernels", kernels.__file__
small = dict(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2)
llama = transformers.LlamaForCausalLM(transformers.LlamaConfig(**small))
small = dict(vocab_size=64, n_embd=32, n_layer=1, n_head=2, n_positions=16)
gpt2 = transformers.GPT2LMHeadModel(transformers.GPT2Config(**small))
ids = torch.arange(8)[None]
print(tuple(llama(ids).logits.shape), tuple(gpt2(ids).logits.shape))
"""


def test_transformers_runs_with_our_kernels_first_on_the_path():
    pytest.importorskip("transformers", reason="the guard is about transformers; install the parity extra")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(root=str(ROOT))], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "(1, 8, 64) (1, 8, 64)"


def test_versions_stay_below_the_ones_transformers_asks_for():
    import kernels

    for found in (kernels.__version__, version("minillm")):
        assert [int(part) for part in found.split(".")[:2]] < [0, 9]


def test_the_hugging_face_package_is_not_installed_beside_ours():
    from importlib.metadata import packages_distributions

    assert set(packages_distributions().get("kernels", ["minillm"])) == {"minillm"}


def test_importing_kernels_imports_nothing():
    code = "import sys; before = set(sys.modules); import kernels; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['kernels']"
