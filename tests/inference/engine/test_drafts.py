"""Drafts in the engine: the same texts in fewer steps. The random schedules of test_schedules.py have them, too."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from minillm.inference import Engine, PromptLookup, SamplingParams, generate, generate_batch
from minillm.inference.engine.choosing import Writer, draw
from minillm.inference.engine.drafts import _with_the_same_noise
from minillm.inference.loop import Row
from minillm.inference.stopping import Stopper
from minillm.models import GPT2, GPT2Config
from tests.helpers import soak_count
from tests.inference.engine.schedules import audit, close, spelling
from tests.inference.test_generation_loop import gpt2, llama
from tests.inference.test_speculative_loop import Fixed, Long, t5

GREEDY = SamplingParams(max_tokens=20, temperature=0, ignore_eos=True)


@pytest.fixture(scope="module")
def model():
    return llama()


@pytest.fixture(scope="module")
def words():
    """A tokenizer, a model of it, and a draft."""
    model, tokenizer = spelling()
    return model, tokenizer, spelling(num_hidden_layers=1)[0]


def finished(engine, names):
    """{(request, index): what it got}, all outputs of a completion joined."""
    found = {}
    while engine.unfinished:
        for out in engine.step():
            one = found.setdefault((out.request_id, out.index), {"ids": [], "text": "", "said": []})
            one["ids"] += out.token_ids
            one["text"] += out.text or ""
            one["said"] += out.logprobs or []
            one["why"] = out.finish_reason
        audit(engine)
    return [found[key] for name in names for key in sorted(found) if key[0] == name]


def test_a_draft_that_is_the_model_is_always_right(model):
    """Drawn tokens, too: the draft draws with the noise that the text will draw with."""
    for params in (GREEDY, SamplingParams(max_tokens=20, seed=3, top_p=0.9, repetition_penalty=1.2)):
        engine = Engine(model, draft=model, k=4)
        [found] = engine.generate([[1, 2, 3]], params)
        assert found.token_ids == generate(model, [1, 2, 3], params)
        assert engine.waste.drafted_tokens == engine.waste.accepted_tokens == 16
        assert engine.waste.steps == 4
        assert engine.waste.new_tokens == 20


def test_a_text_that_repeats_itself_takes_fewer_steps(model):
    plain, engine = Engine(model), Engine(model, draft=PromptLookup(), k=3)
    prompts = [[5, 6, 7] * 3, [1, 2, 3]]
    assert engine.generate(prompts, GREEDY) == plain.generate(prompts, GREEDY)
    assert engine.waste.steps < plain.waste.steps
    assert engine.waste.new_tokens == plain.waste.new_tokens == 40
    tokens = engine.waste.computed_tokens - engine.waste.drafted_tokens + engine.waste.accepted_tokens
    assert tokens == plain.waste.computed_tokens


class Any50:
    """Drafts what is never right; remembers how much it was asked for."""

    def __init__(self):
        self.asked = []

    def draft(self, row, count):
        self.asked.append(count)
        return [(49, None)] * count


def test_drafts_take_what_nobody_else_needs(model):
    """Of the tokens of a step, of the blocks, and of what is left to write."""
    drafter = Any50()
    params = SamplingParams(max_tokens=9, temperature=0, ignore_eos=True, logit_bias={49: -100})
    engine = Engine(model, draft=drafter, k=6, max_batch_size=2, max_batch_tokens=5, prefix_caching=False)
    engine.generate([[1, 2, 3, 4, 5, 6, 7]], params)
    assert drafter.asked == [
        3,
        4,
        4,
        4,
        4,
        3,
        2,
        1,
    ]  # 5 tokens, then 2 and 3 drafts; later 8 - what is written
    drafter.asked.clear()
    engine = Engine(model, draft=drafter, k=6, block_size=2, num_blocks=7)
    engine.generate([[1, 2, 3, 4, 5]], params)  # 14 tokens are 7 blocks: nothing to spare
    assert drafter.asked == [6, 6, 6, 5, 4, 3, 2, 1]
    drafter.asked.clear()
    engine = Engine(model, draft=drafter, max_batch_size=2, max_batch_tokens=2)
    engine.generate([[1], [2]], params)
    assert drafter.asked == []
    assert engine.waste.preemptions == 0


def test_both_models_find_a_shared_beginning(model):
    """A request that drafts nothing has been read by the draft model, too."""
    engine, beginning = Engine(model, block_size=4, draft=model), [*range(1, 14)]
    engine.generate([beginning], SamplingParams(max_tokens=1))
    engine.generate([[*beginning, 20], [*beginning, 21]], GREEDY)
    assert engine.blocks.hit_tokens == 24
    assert engine.waste.drafted_tokens == engine.waste.accepted_tokens > 20


class Known:
    """Drafts texts that it knows, {prompt: texts}, every fourth token wrong."""

    def __init__(self, texts):
        self.texts = texts

    def draft(self, row, count):
        new = row.stop.new
        for text in self.texts[tuple(row.prompt)]:
            if text[: len(new)] == new:
                places = range(len(new), min(len(new) + count, len(text)))
                return [(text[i] if i % 4 else (text[i] + 1) % 280, None) for i in places]
        return []


@pytest.mark.parametrize("which", ["model", "known"])
def test_stop_strings_pieces_and_log_probabilities(words, which):
    model, tokenizer, draft = words
    prompts = ["hello there", "안녕하세요, 안녕하세요, 안녕"]
    ids = [tokenizer.encode(prompt) for prompt in prompts]
    params = SamplingParams(max_tokens=40, seed=2, n=2, logprobs=2, frequency_penalty=0.5)
    [free, *_] = generate_batch(model, ids[:1], params, tokenizer)
    stop = next(free.text[i : i + 3] for i in range(12, 40) if free.text[i : i + 3].isascii())
    params = replace(params, stop=stop)
    each = [generate_batch(model, [text], params, tokenizer) for text in ids]
    if which == "known":
        draft = Known({tuple(text): [one.token_ids for one in found] for text, found in zip(ids, each)})
    engine = Engine(model, tokenizer, block_size=4, draft=draft, k=5)
    found = finished(engine, [engine.add_request(prompt, params) for prompt in prompts])
    assert any(one["why"] == "stop" for one in found)
    assert 0 < engine.waste.accepted_tokens < engine.waste.drafted_tokens
    for got, want in zip(found, [one for some in each for one in some], strict=True):
        assert (got["ids"], got["text"], got["why"]) == (want.token_ids, want.text, want.finish_reason)
        assert close(got["said"], want.logprobs)


@pytest.mark.parametrize("which", ["model", "lookup"])
def test_drafts_follow_a_schema(words, which):
    model, tokenizer, draft = words
    schema = {"type": "object", "properties": {"a": {"enum": ["yes", "no"]}, "b": {"type": "integer"}},
              "required": ["a", "b"], "additionalProperties": False}  # fmt: skip
    params = [SamplingParams(max_tokens=60, seed=seed, json_schema=schema) for seed in range(6)]
    engine = Engine(model, tokenizer, draft=draft if which == "model" else PromptLookup())
    found = engine.generate(['hello {"a": "yes"} '] * 6, params)
    plain = Engine(model, tokenizer).generate(['hello {"a": "yes"} '] * 6, params)
    assert [one.text for one in found] == [one.text for one in plain]
    assert engine.waste.accepted_tokens > 6
    whole = [json.loads(one.text) for one in found if one.finish_reason == "stop"]
    assert whole
    assert all(one["a"] in ("yes", "no") and isinstance(one["b"], int) for one in whole)


def test_how_often_the_same_noise_draws_the_same_token():
    """Against the closed form, and the tokens against their distribution."""
    rng, V, many = np.random.default_rng(0), 6, max(3000, soak_count(20_000))
    scores = [torch.tensor(rng.normal(size=V) * 1.3, dtype=torch.float32) for _ in range(2)]
    p, q = (one.softmax(-1).double().numpy() for one in scores)
    params = SamplingParams(max_tokens=1)
    model = llama()
    rows = [Row([1], Stopper(model, params), torch.Generator().manual_seed(i)) for i in range(many)]
    drafts = [Writer(_with_the_same_noise(row, params), params, scores[1][None]) for row in rows]
    texts = [Writer(row, params, scores[0][None]) for row in rows]
    draw(drafts), draw(texts)
    same = sum(a.tokens == b.tokens for a, b in zip(drafts, texts))
    chance = sum(1 / np.maximum(p / p[i], q / q[i]).sum() for i in range(V))
    distance = np.abs(p - q).sum() / 2
    assert (1 - distance) / (1 + distance) <= chance <= 1 - distance
    assert stats.binomtest(same, many, chance).pvalue > 1e-3
    for writers, expected in ((texts, p), (drafts, q)):
        counts = np.bincount([writer.tokens[0] for writer in writers], minlength=V)
        assert stats.chisquare(counts, many * expected / expected.sum()).pvalue > 1e-3


@pytest.mark.parametrize(("draft", "k", "message"), [
    ("gpt2", 4, "draft must be a model, a drafter or None"), (PromptLookup(), 0, "k must be"),
    (GPT2(GPT2Config(vocab_size=51, n_embd=8, n_layer=1, n_head=1)), 4, "vocabulary of 50 tokens, got 51"),
    (nn.Linear(2, 2), 4, "vocabulary of 50 tokens, got None"), (t5(), 4, "decoder-only"),
    (gpt2().to("meta"), 4, "must be on the model's device cpu"),
])  # fmt: skip
def test_what_cannot_guess_is_refused(model, draft, k, message):
    with pytest.raises(ValueError, match=message):
        Engine(model, draft=draft, k=k)


@pytest.mark.parametrize(
    ("drafter", "message"), [(Long(), "4 tokens at most, it gave 9"), (Fixed([50] * 9), "draft")]
)
def test_a_drafter_that_gives_nonsense_is_named(model, drafter, message):
    engine = Engine(model, draft=drafter)
    engine.add_request([1, 2], GREEDY)
    with pytest.raises(ValueError, match=message):
        engine.step()
    audit(engine)
    engine.drafts.drafter = PromptLookup()
    assert [t for _ in range(20) for out in engine.step() for t in out.token_ids] == generate(
        model, [1, 2], GREEDY
    )


def test_the_shorter_window_counts(model):
    draft = spread_short()
    engine = Engine(model, draft=draft)
    assert engine.window == 12
    with pytest.raises(ValueError, match="the engine serves 12"):
        engine.add_request([1] * 8, SamplingParams(max_tokens=5))
    params = SamplingParams(max_tokens=4, temperature=0)
    assert engine.generate([[1] * 8], params)[0].token_ids == generate(model, [1] * 8, params)


def spread_short():
    """A draft with a window of 12 tokens."""
    return GPT2(GPT2Config(vocab_size=50, n_positions=12, n_embd=8, n_layer=1, n_head=1))
