"""A model with a state of fixed size: one slot a text, and every text what it would be alone."""

import pytest
import torch

from minillm.inference import Engine, PromptLookup, SamplingParams, generate, speculative_generate
from minillm.inference.engine.paged_cache import Chunk
from minillm.inference.engine.runner import Part
from minillm.inference.engine.slots import SlotCache, SlotRunner
from minillm.nn.state_cache import StateCache
from tests.inference.engine.recurrent import recurrent
from tests.inference.engine.schedules import run_schedule
from tests.inference.test_generation_loop import llama


@pytest.fixture(scope="module")
def model():
    return recurrent()


def test_every_text_is_what_it_would_be_alone(model):
    preempted = 0
    for seed in range(12):
        batching = ("continuous", "continuous", "static")[seed % 3]
        _, stats = run_schedule(model, seed, batching, slots=3 + seed % 3)
        preempted += stats["preemptions"]
        assert stats["num_blocks"] == 3 + seed % 3
        assert stats["prefix_hit_tokens"] == 0
    assert preempted > 0


def test_greedy_is_the_text_read_from_its_first_token_every_time(model):
    """Without any cache, and without the engine."""
    engine = Engine(model, max_batch_size=3)
    prompts = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10], [11, 12]]
    params = SamplingParams(max_tokens=12, temperature=0, ignore_eos=True)
    for prompt, completion in zip(prompts, engine.generate(prompts, params)):
        text = list(prompt)
        for _ in range(12):
            text.append(int(model(torch.tensor([text])).logits[0, -1].argmax()))
        assert completion.token_ids == text[len(prompt) :]


def test_a_slot_holds_a_text_of_any_length(model):
    sizes = {
        engine.runner.cache.nbytes
        for engine in (Engine(model, max_batch_size=4, block_size=b) for b in (1, 8))
    }
    state = sum(one.nbytes for one in model.new_cache(1, 40).states)
    assert sizes == {4 * state}
    engine = Engine(model, max_batch_size=4)
    assert engine.stats()["num_blocks"] == 4
    engine.add_request([1] * 30, SamplingParams(max_tokens=9, n=3, seed=0))
    engine.step()
    assert engine.stats()["free_blocks"] == 3  # the prompt, once
    engine.step()
    assert engine.stats()["free_blocks"] == 1  # copies that go their own ways


def test_parts_of_any_length_in_any_order(model):
    runner, texts = SlotRunner(model, 4), {2: [1, 2, 3, 4, 5, 6], 0: [7, 8], 3: [9, 10, 11]}
    cuts = {2: [(0, 3), (3, 4), (4, 6)], 0: [(0, 1), (1, 2)], 3: [(0, 1), (1, 2), (2, 3)]}
    found = {slot: [] for slot in texts}
    for turn in range(3):
        going = [slot for slot in texts if turn < len(cuts[slot])]
        chunks = [(slot, *cuts[slot][turn]) for slot in going]
        parts = [Part(Chunk([slot], a, b - a), texts[slot][a:b], b - a) for slot, a, b in chunks]
        for slot, scores in zip(going, runner.run(parts)):
            found[slot].append(scores)
    for slot, text in texts.items():
        torch.testing.assert_close(torch.cat(found[slot]), model(torch.tensor([text])).logits[0])


def test_a_copied_slot_goes_its_own_way(model):
    cache = SlotCache(model, 3)
    cache.states[0][1] = 5
    cache.copy([(1, 2)])
    cache.states[0][1] = 7
    assert (cache.states[0][2] == 5).all()
    cache.clear(2)
    assert cache.states[0][2].equal(model.body.first[0])
    assert model.body.first.equal(recurrent().body.first)


def test_drafts_are_refused_by_name(model):
    for target, draft in ((model, PromptLookup()), (model, model), (llama(), model)):
        with pytest.raises(ValueError, match=r"draft must be .*Recurrent"):
            Engine(target, draft=draft)
        with pytest.raises(ValueError, match=r"Recurrent.*cannot go back"):
            speculative_generate(target, draft, [1], SamplingParams(max_tokens=4))


# The cache itself


def test_a_state_cache_of_several_texts(model):
    with torch.no_grad():
        cache = model.new_cache(3, 1)
        model(torch.tensor([[1, 2], [3, 4], [5, 6]]), cache=cache)
        assert (cache.length, cache.batch_size) == (2, 3)
        cache.select([2, 0])
        scores = model(torch.tensor([[7], [8]]), cache=cache).logits[:, -1]
        alone = model(torch.tensor([[5, 6, 7], [1, 2, 8]])).logits[:, -1]
    torch.testing.assert_close(scores, alone)
    assert cache.nbytes == sum(x.nbytes for x in model.new_cache(2, 1).states)


def test_a_pass_that_fails_leaves_the_state(model):
    cache = model.new_cache(1, 1)
    before = [state.clone() for state in cache.states]
    hook = model.head.register_forward_hook(lambda *_: (_ for _ in ()).throw(MemoryError("in the middle")))
    with pytest.raises(MemoryError):
        model(torch.tensor([[1, 2]]), cache=cache)
    hook.remove()
    assert cache.length == 0
    assert all(a.equal(b) for a, b in zip(cache.states, before))


def test_what_a_state_cannot_do_is_named(model):
    cache = model.new_cache(2, 1)
    model(torch.tensor([[1, 2], [3, 4]]), torch.ones(2, 2), cache=cache)
    cache.crop(2)
    for call, message in (
        (lambda: cache.crop(1), "cannot go back from 2 tokens to 1"),
        (lambda: cache.crop(3), "length"),
        (lambda: cache.select([2]), "every row"),
        (lambda: cache.select([]), "got none"),
        (lambda: cache.extend(torch.tensor([[0, 1]] * 2), 2, 2), "leave out padding"),
        (lambda: cache.extend(None, 3, 1), "states are of 2 texts, got 3"),
        (lambda: cache.commit(cache.states[:1], 1), "keep their shapes"),
        (lambda: StateCache([]), "states must be"),
        (lambda: StateCache([torch.zeros(2), torch.zeros(3)]), "of one B"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert cache.length == 2


def test_generate_takes_the_model_as_it_is(model):
    params = SamplingParams(max_tokens=9, seed=3)
    assert generate(model, [1, 2], params) == Engine(model).generate([[1, 2]], params)[0].token_ids
