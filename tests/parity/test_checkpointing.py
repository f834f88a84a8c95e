"""Gradient checkpointing against torch.utils.checkpoint: the same bits, the same bytes."""

from functools import partial

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from minillm.models import GPT2, GPT2Config, Llama, LlamaConfig
from minillm.training import (
    CausalLMObjective,
    SavedMemory,
    checkpointed,
    checkpointed_blocks,
    checkpointed_plain,
)

MODELS = {
    "GPT-2": lambda: GPT2(GPT2Config(vocab_size=60, n_positions=40, n_embd=32, n_layer=5, n_head=4, resid_pdrop=0.1)),
    "Llama": lambda: Llama(LlamaConfig(vocab_size=60, hidden_size=32, intermediate_size=80, num_hidden_layers=5,
                                       num_attention_heads=4, num_key_value_heads=2)),
}  # fmt: skip


def theirs_around(forward, reentrant, x, **options):
    """torch's checkpoint, whose older form takes no named arguments."""
    return checkpoint(partial(forward, **options), x, use_reentrant=reentrant)


def measured(model, batch):
    torch.manual_seed(0)
    model.train(), model.zero_grad()
    with SavedMemory(model) as memory:
        loss = CausalLMObjective()(model, batch).loss
        loss.backward()
    return loss.detach(), [p.grad.clone() for p in model.parameters()], memory.peak


@pytest.mark.parametrize("form", [checkpointed_plain, checkpointed])
@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_gradients_and_bytes_are_torchs(name, reentrant, form, monkeypatch):
    monkeypatch.setattr("minillm.training.checkpointing_blocks.checkpointed", form)
    model = MODELS[name]()
    ids = torch.randint(0, 60, (4, 33), generator=torch.Generator().manual_seed(0))
    batch = {"input_ids": ids, "labels": ids}
    with checkpointed_blocks(model):
        ours = measured(model, batch)
    for block in model.body.blocks:
        block.forward = partial(theirs_around, block.forward, reentrant)
    theirs = measured(model, batch)
    assert torch.equal(ours[0], theirs[0])
    assert all(map(torch.equal, ours[1], theirs[1]))
    if reentrant:  # hooks of ours do not see what torch's other form keeps in hooks of its own
        assert ours[2] == theirs[2]


def test_layers_run_as_often_as_under_torchs_and_second_derivatives_are_its():
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    net = torch.nn.Sequential(*(torch.nn.Linear(5, 5) for _ in range(3)), torch.nn.Tanh()).double()
    ends = []
    for layer in net:
        layer.register_forward_hook(lambda *_: ends.append(_[0]))
    found = []
    for call in (checkpointed, partial(checkpoint, use_reentrant=False)):
        ends.clear()
        (first,) = torch.autograd.grad(call(net, x).square().sum(), x, create_graph=True)
        found.append((torch.autograd.grad(first.square().sum(), [x, *net.parameters()]), list(ends)))
    assert found[0][1] == found[1][1]
    assert len(found[0][0]) == 7
    assert all(map(torch.equal, found[0][0], found[1][0]))
