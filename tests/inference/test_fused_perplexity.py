"""SmolLM2 from its own codes, token by token through the compiled step: the perplexity of its float32 weights."""

from pydoc_data.topics import topics

import pytest
import torch
import torch.nn.functional as F

from minillm.data import fetch
from minillm.inference.fused import FusedStep
from minillm.models import load_model
from minillm.quantization import load_packed
from minillm.tokenizer import load_tokenizer
from tests.helpers import needs_model

TEXT = "\n".join(topics[name] for name in sorted(topics))[:40_000]


@needs_model("smollm2")
@pytest.mark.parametrize("tokens", [200, pytest.param(2048, marks=pytest.mark.soak)])
def test_perplexity_is_that_of_float32(tokens):
    path = fetch("smollm2")
    ids = load_tokenizer(path).encode(TEXT)[: tokens + 1]
    assert len(ids) == tokens + 1
    packed = load_packed(path)
    step = FusedStep.of(packed, packed.new_cache(1, tokens))
    with torch.inference_mode():
        ours = torch.cat([step(i) for i in ids[:-1]])
        theirs = load_model(path)(torch.tensor([ids[:-1]])).logits[0]
    following = torch.tensor(ids[1:])
    change = (F.cross_entropy(ours, following) - F.cross_entropy(theirs, following)).exp() - 1
    assert abs(change.item()) < 1e-3
