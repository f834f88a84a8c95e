"""Adapters in the engine: each text goes through its own, side by side with others, and no prefix crosses over."""

import pytest

from minillm.inference import Engine, SamplingParams, generate_batch
from minillm.training import adapters_off, apply_lora, delete_adapter, merge_lora, set_adapter
from tests.inference.engine.schedules import audit
from tests.inference.test_generation_loop import gpt2, llama

GREEDY = SamplingParams(max_tokens=8, temperature=0)
PROMPTS = [[1, 2, 3, 4, 5, 6, 7, 8, 9], [4], list(range(20)), [1, 2, 3, 4, 5, 6, 7, 8, 10]]


def with_adapters(make=llama, parts=()):
    model = make()
    for seed, (name, targets) in enumerate([("a", ["q_proj", "v_proj"]), ("b", ["o_proj", "up_proj"])]):
        apply_lora(model, 4, 24, targets, init="random", seed=seed, name=name, modules_to_save=parts)
    set_adapter(model, None)
    return model


def alone(model, prompt, adapter, params=GREEDY):
    set_adapter(model, adapter)
    [*found] = generate_batch(model, [prompt], params)
    set_adapter(model, None)
    return [x.token_ids for x in found]


@pytest.mark.parametrize("make", [llama, gpt2])
@pytest.mark.parametrize("batching", ["continuous", "static"])
def test_each_text_is_what_it_is_alone(make, batching):
    model = with_adapters(make)
    engine = Engine(model, block_size=4, max_batch_tokens=9, max_batch_size=3, batching=batching)
    adapters = ["a", None, "b", "__base__", "b", "a", "__base__", None]
    wanted = [
        alone(model, prompt, None if one == "__base__" else one)[0]
        for prompt, one in zip(PROMPTS * 2, adapters)
    ]
    assert len({tuple(one) for one in wanted}) > 4  # they do say different things
    found = engine.generate(PROMPTS * 2, GREEDY, adapters)
    assert [x.token_ids for x in found] == wanted
    audit(engine)
    assert model.adapters.active == "__base__"


def test_a_prefix_is_shared_within_an_adapter_and_never_across():
    model = with_adapters()
    engine = Engine(model, block_size=4)
    prompt, hits = list(range(1, 14)), []
    wanted = {one: alone(model, prompt, one)[0] for one in ("a", "b", None)}
    for one in ("a", "b", None, "a", "b", None):
        before = engine.stats()["prefix_hit_tokens"]
        [found] = engine.generate([prompt], GREEDY, "__base__" if one is None else one)
        assert found.token_ids == wanted[one]
        hits.append(engine.stats()["prefix_hit_tokens"] - before)
    assert hits == [0, 0, 0, 12, 12, 12]
    # another adapter under an old name is another adapter
    delete_adapter(model, "a")
    apply_lora(model, 2, 30, ["k_proj"], init="random", seed=7, name="a")
    set_adapter(model, None)
    wanted, before = alone(model, prompt, "a")[0], engine.stats()["prefix_hit_tokens"]
    assert engine.generate([prompt], GREEDY, "a")[0].token_ids == wanted
    assert engine.stats()["prefix_hit_tokens"] == before


def test_texts_that_lose_their_blocks_come_back_to_their_adapter():
    model = with_adapters()
    engine = Engine(model, block_size=2, num_blocks=16, max_batch_size=4, max_batch_tokens=8)
    adapters, prompts = ["a", "b", "a", "__base__"], [[i, i + 1, i + 2] for i in range(4)]
    params = SamplingParams(max_tokens=12, temperature=0)
    wanted = [
        alone(model, p, None if one == "__base__" else one, params)[0] for p, one in zip(prompts, adapters)
    ]
    assert [x.token_ids for x in engine.generate(prompts, params, adapters)] == wanted
    assert engine.stats()["preemptions"] > 0


def test_copies_and_beams_and_a_trained_head():
    model = with_adapters(parts=["head"])
    for params in (
        SamplingParams(max_tokens=6, seed=1, n=3),
        SamplingParams(max_tokens=6, beams=3, temperature=0),
    ):
        engine = Engine(model, block_size=4)
        wanted = [ids for one in ("a", "b") for ids in alone(model, [1, 2, 3, 4, 5], one, params)]
        found = engine.generate([[1, 2, 3, 4, 5]] * 2, params, ["a", "b"])
        assert [x.token_ids for x in found] == wanted


def test_the_active_adapter_is_meant_where_none_is_named():
    model = with_adapters()
    wanted = alone(model, [1, 2, 3], "b")[0]
    set_adapter(model, "b")
    engine = Engine(model)
    assert engine.generate([[1, 2, 3]], GREEDY)[0].token_ids == wanted
    with adapters_off(model):
        base = generate_batch(model, [[1, 2, 3]], GREEDY)[0].token_ids
    assert engine.generate([[1, 2, 3]], GREEDY, "__base__")[0].token_ids == base


@pytest.mark.parametrize(
    ("adapter", "message"), [("c", "adapter must be one of"), (3, "adapter must be one of")]
)
def test_an_adapter_that_is_not_there(adapter, message):
    engine = Engine(with_adapters())
    with pytest.raises(ValueError, match=message):
        engine.add_request([1], GREEDY, adapter=adapter)
    with pytest.raises(ValueError, match="adapters must be one or 2"):
        engine.generate([[1], [2]], GREEDY, ["a"])
    assert engine.unfinished == 0


def test_models_without_adapters_and_with_merged_ones():
    engine = Engine(llama())
    with pytest.raises(ValueError, match="has no adapters"):
        engine.add_request([1], GREEDY, adapter="a")
    model = with_adapters()
    set_adapter(model, "a")
    merge_lora(model, keep=True)
    engine = Engine(model)
    assert (
        engine.generate([[1, 2]], GREEDY)[0].token_ids == generate_batch(model, [[1, 2]], GREEDY)[0].token_ids
    )
    with pytest.raises(ValueError, match="lies in the weights"):
        engine.add_request([1], GREEDY, adapter="b")


def test_a_request_whose_adapter_is_gone_or_another_by_now_is_refused_until_it_is_aborted():
    model = with_adapters()
    engine, wanted = Engine(model, block_size=4), alone(model, PROMPTS[0], "b")[0]
    lost = engine.add_request(PROMPTS[2], GREEDY, adapter="a")
    engine.step()
    delete_adapter(model, "a")
    for again in (False, True):
        if again:
            apply_lora(model, 2, 30, ["k_proj"], init="random", seed=7, name="a")
        with pytest.raises(ValueError, match="'a' of request '0' is gone or another by now"):
            engine.step()
    engine.abort(lost)
    assert engine.generate([PROMPTS[0]], GREEDY, "b")[0].token_ids == wanted
    audit(engine)


def test_a_text_of_the_base_stays_one_when_adapters_come_and_go():
    model = llama()
    prompt = PROMPTS[2]
    wanted = generate_batch(model, [prompt], GREEDY)[0].token_ids
    engine = Engine(model, block_size=4, max_batch_tokens=8, max_batch_size=8)
    engine.add_request(prompt, GREEDY)
    engine.step()
    apply_lora(model, 4, 24, ["q_proj", "v_proj"], init="random", seed=1, name="a")
    engine.step()
    delete_adapter(model, "a")
    found = [one for _ in range(40) for one in engine.step()]
    assert [token for one in found for token in one.token_ids][-len(wanted) :] == wanted
    # its blocks hold the base's keys: who finds them says the same
    assert engine.generate([prompt], GREEDY)[0].token_ids == wanted
    assert engine.stats()["prefix_hit_tokens"] > 0


@pytest.mark.parametrize("same", [False, True])
def test_drafts_do_not_change_what_an_adapter_says(same):
    model, draft = with_adapters(), llama()
    draft = draft if same else with_adapters()
    adapters = ["a", "b", "__base__", "a"]
    wanted = [alone(model, p, None if one == "__base__" else one)[0] for p, one in zip(PROMPTS, adapters)]
    engine = Engine(model, block_size=4, draft=draft, k=3, num_blocks=14, max_batch_size=4)
    for _ in range(2):
        assert [x.token_ids for x in engine.generate(PROMPTS, GREEDY, adapters)] == wanted
    audit(engine)
