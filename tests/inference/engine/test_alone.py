"""One text at work: the compiled step of `generate`, and pages that hold what it wrote as soon as others may read."""

import pytest
import torch

from minillm.inference import Engine, SamplingParams, generate
from minillm.inference.fused import FusedStep
from tests.inference.engine.recurrent import recurrent
from tests.inference.test_generation_loop import gpt2, llama

MODELS = {
    "llama": lambda: llama(max_position_embeddings=300),
    "window": lambda: llama(max_position_embeddings=300, sliding_window=7),
    "gpt2": lambda: gpt2(),
}


def drawn(many):
    """Drawn texts say more than greedy ones, which fall into a circle."""
    return SamplingParams(max_tokens=many, seed=7, ignore_eos=True)


@pytest.fixture
def compiled_steps(monkeypatch):
    """How many tokens went through the compiled step."""
    calls, step = [], FusedStep.__call__
    monkeypatch.setattr(FusedStep, "__call__", lambda self, token: calls.append(token) or step(self, token))
    return calls


def run(engine, name, steps=None):
    """The next tokens of a request, to its end or so many steps."""
    tokens = []
    while engine.unfinished and (steps is None or len(tokens) < steps):
        tokens += [t for out in engine.step() if out.request_id == name for t in out.token_ids]
    return tokens


@pytest.mark.parametrize("name", MODELS)
def test_a_text_alone_goes_through_the_compiled_step(compiled_steps, name):
    model, many = MODELS[name](), 30 if name == "gpt2" else 200
    engine = Engine(model, block_size=4)
    [found] = engine.generate([[1, 2, 3]], drawn(many))
    assert len(compiled_steps) == many - 1  # all but the prompt's pass
    assert found.token_ids == generate(model, [1, 2, 3], drawn(many))


def test_others_come_and_go_and_find_what_it_wrote(compiled_steps):
    """The prompt of the second text is the first one's text so far: its blocks were written by the compiled step."""
    model = llama(max_position_embeddings=300)
    engine = Engine(model, block_size=4)
    first = engine.add_request([1, 2, 3], drawn(90))
    text = [1, 2, 3, *run(engine, first, 41)]
    computed = engine.waste.computed_tokens
    second = engine.add_request([*text, 5], drawn(4))
    outs = {first: [], second: []}
    for _ in range(4):
        for out in engine.step():
            outs[out.request_id] += out.token_ids
    assert engine.blocks.hit_tokens == 44  # the block that the first one fills in this very step, too
    assert engine.waste.computed_tokens - computed == 4 + 1 + 3
    assert outs[second] == generate(model, [*text, 5], drawn(4))
    before = len(compiled_steps)
    rest = run(engine, first)
    assert len(compiled_steps) - before == len(rest) == 90 - 41 - 4
    assert text[3:] + outs[first] + rest == generate(model, [1, 2, 3], drawn(90))
    third = engine.add_request([*text, 6], drawn(20))
    assert run(engine, third) == generate(model, [*text, 6], drawn(20))


def test_a_text_that_comes_back_is_read_anew(compiled_steps):
    model = llama()
    engine = Engine(model, prefix_caching=False)
    name = engine.add_request([1, 2, 3], drawn(30))
    text = run(engine, name, 9)
    engine.scheduler.rollback()  # as after a step that failed
    text += run(engine, name)
    assert len(compiled_steps) == 28  # the text was read twice, by the model itself
    assert text == generate(model, [1, 2, 3], drawn(30))


def test_copies_of_a_text_that_was_alone(compiled_steps):
    """n texts that end one after another: the last of them is alone, with blocks that it shared."""
    model = llama()
    params = SamplingParams(max_tokens=25, seed=5, n=3, stop_token_ids=[*range(0, 50, 9)])
    engine = Engine(model, block_size=4)
    found = [one.token_ids for one in engine.generate([[1, 2, 3, 4, 5]], params)]
    alone = [
        SamplingParams(max_tokens=25, seed=5 + i, stop_token_ids=params.stop_token_ids) for i in range(3)
    ]
    assert compiled_steps
    assert found == [generate(model, [1, 2, 3, 4, 5], one) for one in alone]


def test_a_model_that_is_watched_goes_through_its_layers(compiled_steps):
    model = llama()
    seen = []
    hook = model.body.blocks[0].register_forward_hook(lambda *_: seen.append(1))
    engine = Engine(model)
    found = engine.generate([[1, 2]], drawn(9))[0].token_ids
    hook.remove()
    assert (len(seen), compiled_steps) == (9, [])
    assert found == engine.generate([[1, 2]], drawn(9))[0].token_ids
    assert len(compiled_steps) == 8


@pytest.mark.parametrize("make", [lambda: llama().to(torch.float64), recurrent], ids=["float64", "recurrent"])
def test_other_models_go_their_own_way(compiled_steps, make):
    model = make()
    assert Engine(model).generate([[1, 2]], drawn(9))[0].token_ids == generate(model, [1, 2], drawn(9))
    assert compiled_steps == []
