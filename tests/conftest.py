"""What every test shares: one thread, no network, and the folder of real data when there is one."""

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # Triton's interpreter multiplies small tiles with numpy
os.environ.pop("MPLBACKEND", None)  # the lessons' kernels inherit it, and would show no figures

import hypothesis
import pytest
import torch

if not torch.cuda.is_available():  # kernels are interpreted then; this is read when they are imported
    os.environ["TRITON_INTERPRET"] = "1"

torch.set_num_threads(int(os.environ.get("MINILLM_TEST_THREADS", "1")))  # `make portable` tries two
if seed := os.environ.get("MINILLM_JITTER"):  # `make portable` asks for the last bits of another processor
    from tests.jitter import install

    install(int(seed))
# a busy machine is slow, not wrong: no test fails for the time one example took
hypothesis.settings.register_profile("minillm", deadline=None)
hypothesis.settings.load_profile("minillm")


@pytest.fixture(scope="session")
def real_data():
    """A function from a relative name to a path below $MINILLM_DATA; the test skips when it is not there."""

    def find(name: str) -> Path:
        root = os.environ.get("MINILLM_DATA")
        if not root:
            pytest.skip("needs real data: set MINILLM_DATA to a folder laid out as README.md describes")
        path = Path(root) / name
        if not path.exists():
            pytest.skip(f"needs {name} below MINILLM_DATA")
        return path

    return find
