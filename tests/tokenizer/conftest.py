"""The kernels compile on their first call, for seconds: not inside a test that watches the time of each example."""

import pytest
from hypothesis import settings

from minillm.tokenizer import BPETokenizer

settings.register_profile("compiled", deadline=None)
settings.load_profile("compiled")


@pytest.fixture(scope="session", autouse=True)
def compiled_kernels():
    BPETokenizer.train(["compile me"], 260).encode("compile me" + "x" * 200)
