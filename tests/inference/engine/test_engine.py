"""The engine's face: what it gives, what it refuses, and that nothing is lost when something goes wrong."""

import numpy as np
import pytest
import torch

from minillm.inference import Engine, SamplingParams, generate, generate_batch
from minillm.inference.engine.trace import Arrival, poisson_trace, replay
from minillm.models import T5, T5Config
from minillm.quantization import quantize
from tests.inference.engine.schedules import audit, spelling
from tests.inference.test_generation_loop import gpt2, llama

GREEDY = SamplingParams(max_tokens=8, temperature=0)


@pytest.fixture(scope="module")
def model():
    return llama()


@pytest.fixture(scope="module")
def words():
    return spelling()


def same(got, expected):
    keys = ("text", "token_ids", "finish_reason")
    return [[getattr(x, k) for k in keys] for x in got] == [[getattr(x, k) for k in keys] for x in expected]


@pytest.mark.parametrize("batching", ["continuous", "dynamic", "static"])
def test_completions_are_those_of_generate_batch(words, batching):
    model, tokenizer = words
    engine = Engine(model, tokenizer, block_size=4, max_batch_size=3, max_batch_tokens=7, batching=batching)
    prompts = ["hello there", "안녕하세요", "hello there, again", "h"]
    free = engine.generate(prompts, SamplingParams(max_tokens=30, seed=3))
    stop = next(x.text[9:11] for x in free if len(x.text) > 11)
    params = [
        GREEDY,
        SamplingParams(max_tokens=30, seed=3, n=2, stop=stop),
        SamplingParams(max_tokens=9, beams=2),
    ]
    for one in params:
        expected = [x for p in prompts for x in generate_batch(model, [tokenizer.encode(p)], one, tokenizer)]
        assert same(engine.generate(prompts, one), expected)
    assert any(x.finish_reason == "stop" for x in engine.generate(prompts, params[1]))
    mixed = engine.generate(prompts[:3], params)
    assert [len(x.token_ids) > 0 for x in mixed] == [True] * 4


def test_pieces_of_text_join_to_the_text(words):
    model, tokenizer = words
    engine = Engine(model, tokenizer, block_size=4)
    params = SamplingParams(max_tokens=40, seed=1, n=2, logprobs=1, prompt_logprobs=0)
    name, pieces, ids, outs = engine.add_request("안녕하세요 hello", params), ["", ""], [[], []], []
    while engine.unfinished:
        outs += engine.step()
    for out in outs:
        pieces[out.index] += out.text
        ids[out.index] += out.token_ids
        assert out.request_id == name
        assert len(out.logprobs) == 1
    [[*expected]] = [generate_batch(model, [tokenizer.encode("안녕하세요 hello")], params, tokenizer)]
    assert pieces == [x.text for x in expected]
    assert ids == [x.token_ids for x in expected]
    said = [out.prompt_logprobs for out in outs]
    assert [one is not None for one in said] == [True] + [False] * (len(said) - 1)
    for got, want in zip(said[0][1:], expected[0].prompt_logprobs[1:], strict=True):
        assert got == pytest.approx(want, abs=1e-4)


@pytest.mark.parametrize(
    "make",
    [gpt2, lambda: llama(model_type="mistral", sliding_window=6), lambda: quantize(llama(), "int8")],
    ids=["gpt2", "mistral with a window", "int8"],
)
def test_other_models(make):
    model = make()
    prompts = [[1, 2, 3, 4, 5, 6, 7, 8, 9], [4], list(range(20))]
    engine = Engine(model, block_size=4, max_batch_tokens=9, max_batch_size=3)
    expected = [x for p in prompts for x in generate_batch(model, [p], GREEDY)]
    assert same(engine.generate(prompts, GREEDY), expected)


def test_an_empty_engine_steps_to_nothing(model):
    engine = Engine(model)
    assert engine.step() == []
    assert engine.generate([]) == []
    assert engine.stats()["steps"] == 0


@pytest.mark.parametrize(("prompt", "params", "message"), [
    ([], GREEDY, "at least one token id"),
    ([50], GREEDY, "between 0 and 49"),
    ("text", GREEDY, "no tokenizer"),
    ([1] * 39, GREEDY, "context window is 40"),
    ([1] * 20, GREEDY, "may need 7 blocks of 4 tokens, the engine has 6"),
    ([1], SamplingParams(n=5), "asks for 5 texts at a time"),
    ([1], SamplingParams(beams=5), "asks for 5 texts at a time"),
    ([1], SamplingParams(stop="x"), "need a tokenizer"),
    ([1], {"n": 1}, "must be SamplingParams"),
])  # fmt: skip
def test_what_cannot_run_is_refused_at_once(model, prompt, params, message):
    engine = Engine(model, block_size=4, num_blocks=6, max_batch_size=4)
    with pytest.raises(ValueError, match=message):
        engine.add_request(prompt, params)
    with pytest.raises(ValueError, match=message):
        engine.generate([[1], prompt], [GREEDY, params])
    assert engine.unfinished == 0
    assert engine.step() == []


@pytest.mark.parametrize(("options", "message"), [
    ({"block_size": 0}, "block_size"),
    ({"num_blocks": 0}, "num_blocks"),
    ({"max_batch_size": 8, "max_batch_tokens": 7}, "at least max_batch_size"),
    ({"batching": "eager"}, "batching must be one of"),
    ({"prefix_caching": 1}, "prefix_caching"),
    ({"tokenizer": 5}, "tokenizer"),
])  # fmt: skip
def test_settings_are_checked(model, options, message):
    with pytest.raises(ValueError, match=message):
        Engine(model, **options)


def test_other_kinds_of_models_are_refused():
    config = T5Config(
        vocab_size=30, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, feed_forward_proj="gated-gelu"
    )
    for one in (T5(config), llama().body, torch.nn.Linear(2, 2)):
        with pytest.raises(ValueError, match="decoder-only"):
            Engine(one)


def test_ids_of_requests(model):
    engine = Engine(model)
    assert engine.add_request([1], GREEDY, "mine") == "mine"
    with pytest.raises(ValueError, match="'mine' is in use"):
        engine.add_request([1], GREEDY, "mine")
    assert engine.add_request([1], GREEDY, "0") == "0"
    assert len({engine.add_request([1], GREEDY) for _ in range(3)} | {"0", "mine"}) == 5
    assert engine.abort("mine") is True
    assert engine.abort("mine") is False
    assert engine.add_request([1], GREEDY, "mine") == "mine"


def break_down(*_):
    raise MemoryError("in the middle")


@pytest.mark.parametrize("drafts", [False, True])
def test_a_failed_step_loses_nothing(model, drafts):
    draft = llama(num_hidden_layers=1) if drafts else None
    parts = [model.body.blocks[1], model.head, *([draft.head] if drafts else [])]
    engine = Engine(model, block_size=2, draft=draft, k=3)
    prompts = [[1, 2, 3, 4, 5], [1, 2, 3, 4, 6], [9]]
    params = SamplingParams(max_tokens=9, seed=4)
    expected = [x.token_ids for p in prompts for x in generate_batch(model, [p], params)]
    names = [engine.add_request(p, params) for p in prompts]
    got = {name: [] for name in names}
    for step in range(40):
        hook = parts[step % len(parts)].register_forward_hook(break_down)
        with pytest.raises(MemoryError):
            engine.step()
        hook.remove()
        audit(engine)
        for out in engine.step():
            got[out.request_id] += out.token_ids
        if not engine.unfinished:
            break
    assert [got[name] for name in names] == expected
    assert engine.stats()["free_blocks"] == engine.stats()["num_blocks"]


def test_scores_that_are_no_numbers_are_said_and_draw_nothing(model):
    engine = Engine(model)
    params = SamplingParams(max_tokens=6, seed=4)
    engine.add_request([1], params, "good")
    hook = model.head.register_forward_hook(lambda m, i, out: torch.full_like(out, torch.nan))
    try:
        with pytest.raises(ValueError, match="no token can be drawn"):
            engine.step()
    finally:
        hook.remove()
    ids = [t for _ in range(6) for out in engine.step() for t in out.token_ids]
    assert ids == generate_batch(model, [[1]], params)[0].token_ids


def test_generate_keeps_what_others_got_meanwhile(model):
    engine = Engine(model)
    name = engine.add_request([7], SamplingParams(max_tokens=4, temperature=0))
    engine.generate([[1]], GREEDY)
    outs = engine.step()
    assert [out.request_id for out in outs] == [name] * 4
    assert [t for out in outs for t in out.token_ids] == generate_batch(model, [[7]], GREEDY)[0].token_ids[:4]


def test_the_model_is_left_as_it_was(model):
    engine, before = Engine(model), [dict(vars(m)).keys() for m in model.modules()]
    model.train()
    engine.generate([[1]], GREEDY)
    assert model.training
    model.eval()
    assert [dict(vars(m)).keys() for m in model.modules()] == before


def test_a_shared_beginning_is_computed_once(model):
    beginning = list(range(1, 17))
    counts = {}
    for caching in (True, False):
        engine = Engine(model, block_size=4, prefix_caching=caching)
        engine.generate([[*beginning, i] for i in range(5)], SamplingParams(max_tokens=1, temperature=0))
        counts[caching] = engine.waste.computed_tokens
    assert counts == {True: 17 + 4, False: 5 * 17}  # in the same step, too


def test_copies_share_the_prompt_and_write_apart(model):
    engine = Engine(model, block_size=4, num_blocks=40)
    engine.add_request(list(range(13)), SamplingParams(max_tokens=8, seed=0, n=4, ignore_eos=True))
    engine.step()
    assert engine.stats()["free_blocks"] == 40 - 4
    engine.step()
    assert engine.stats()["free_blocks"] == 40 - (3 + 4)  # three full ones together, the fourth one each


def test_static_waits_for_a_full_batch_dynamic_for_a_while_continuous_not_at_all(model):
    begun = {}
    for batching in ("static", "dynamic", "continuous"):
        engine = Engine(model, max_batch_size=4, batching=batching)
        engine.add_request([1], GREEDY)
        begun[batching] = next(step for step in range(100) if engine.step())
    assert begun == {"continuous": 0, "dynamic": 3, "static": 63}


def test_a_trace_is_the_same_again_and_shows_who_sat_where(model):
    trace = poisson_trace(12, 0.5, (2, 6), (2, 20), vocabulary=50, seed=3)
    assert trace == poisson_trace(12, 0.5, (2, 6), (2, 20), vocabulary=50, seed=3)
    assert [one.step for one in trace] == sorted(one.step for one in trace)
    found = {b: replay(Engine(model, max_batch_size=4, batching=b), trace) for b in ("continuous", "static")}
    for batching, one in found.items():
        seats = [np.flatnonzero((one.slots == i).any(axis=0)).tolist() for i in range(12)]
        assert all(len(seat) == 1 for seat in seats), "a request keeps its slot"
        steps = [(one.slots == i).sum() for i in range(12)]
        enough = [arrival.new_tokens for arrival in trace]
        assert steps == enough if batching == "continuous" else all(a >= b for a, b in zip(steps, enough))
        assert min(one.waited) >= 1
    a, b = found["continuous"], found["static"]
    assert a.steps < b.steps
    assert sum(a.waited) < sum(b.waited)
    assert a.stats["kept_slots"] == 0 < b.stats["kept_slots"]
    for one in (a, b):
        assert one.stats["cached_tokens"] <= one.stats["block_tokens"] <= one.stats["reserved_tokens"] * 2
        assert one.stats["new_tokens"] == sum(arrival.new_tokens for arrival in trace)


def test_a_replay_says_when_and_what_each_request_was_given(model):
    trace = poisson_trace(9, 0.4, (2, 6), (2, 9), vocabulary=50, seed=5)
    for batching in ("static", "dynamic", "continuous"):
        one = replay(Engine(model, max_batch_size=3, batching=batching, prefix_caching=False), trace)
        for number, arrival in enumerate(trace):
            params = SamplingParams(max_tokens=arrival.new_tokens, temperature=0, ignore_eos=True)
            assert one.texts[number] == generate(model, arrival.prompt, params)
            steps = one.token_steps[number]
            assert steps == list(range(steps[0], steps[0] + arrival.new_tokens))
            assert one.waited[number] == one.in_line[number] + 1 == steps[0] + 1 - arrival.step
            assert one.latency[number] == one.waited[number] + arrival.new_tokens - 1
            assert (one.slots[steps[0] : steps[-1] + 1] == number).any(axis=1).all()
        prompts = sum(len(arrival.prompt) for arrival in trace)
        kept = (one.slots >= 0).sum() - sum(arrival.new_tokens for arrival in trace)
        assert sum(one.tokens) == prompts + sum(arrival.new_tokens - 1 for arrival in trace) + kept
        assert len(one.seconds) == len(one.tokens) == one.steps
        assert all(seconds > 0 for seconds in one.seconds)


def test_a_replay_needs_an_engine_without_work(model):
    engine = Engine(model)
    assert replay(engine, []).slots.shape == (0, 64)
    engine.add_request([1], GREEDY)
    with pytest.raises(ValueError, match="must have nothing to do, it has 1"):
        replay(engine, [])


@pytest.mark.parametrize(
    "bad",
    [
        None, iter([]), [(0, [1], 2)], [Arrival(-1, [1], 2)], [Arrival(0.5, [1], 2)], [Arrival("0", [1], 2)],
        [Arrival(10**12, [1], 2)], [Arrival(0, [1], 0)], [Arrival(0, [1], 2.0)], [Arrival(0, [], 2)],
        [Arrival(0, [1, 2], 5), Arrival(2, [1] * 10_000, 2)],
    ],
)  # fmt: skip
def test_a_trace_that_cannot_be_replayed_is_refused_before_the_first_step(model, bad):
    engine = Engine(model)
    with pytest.raises(ValueError, match=r"trace must be|arrival|prompt"):
        replay(engine, bad)
    assert engine.unfinished == engine.scheduler.clock == 0
    assert replay(engine, [Arrival(0, [1], 2)]).steps == 2


def test_a_request_can_be_checked_before_it_comes(model):
    engine = Engine(model)
    assert engine.check_request([1, 2], GREEDY) is None
    with pytest.raises(ValueError, match="prompt"):
        engine.check_request([], GREEDY)
    assert engine.unfinished == 0
    assert engine.add_request([1], GREEDY) == "0"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"prompt_tokens": 5}, "prompt_tokens must be two numbers"),
        ({"new_tokens": None}, "new_tokens must be two numbers"),
        ({"new_tokens": (1, 2, 3)}, "new_tokens must be two numbers"),
        ({"prompt_tokens": (5, 3)}, "at least 5"),
        ({"rate": 1e-9}, "rate must let 3 requests come within"),
        ({"rate": 1e-320}, "rate must let 3 requests come within"),
        ({"rate": -1.0}, "rate"),
    ],
)
def test_bad_arguments_of_a_trace(change, says):
    with pytest.raises(ValueError, match=says):
        poisson_trace(**{"requests": 3, "rate": 0.1} | change)


def test_arrivals_are_poisson():
    steps = np.array([one.step for one in poisson_trace(4000, 0.25, (1, 1), (1, 1), seed=1)])
    counts = np.bincount(steps // 8)[:-1]  # of a window of 8 steps: mean 2, variance 2
    assert counts.mean() == pytest.approx(2, rel=0.1)
    assert counts.var() == pytest.approx(2, rel=0.2)
