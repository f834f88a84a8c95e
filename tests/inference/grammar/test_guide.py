"""Masks token by token against a plain walk; texts of random models against jsonschema, alone, in a batch, as beams."""

import json
from dataclasses import replace

import jsonschema
import numpy as np
import pytest

from minillm.inference import Engine, SamplingParams, generate, generate_batch, stream
from minillm.inference.grammar.guide import json_guide
from minillm.tokenizer import BPETokenizer, UnigramTokenizer
from tests.helpers import soak_count
from tests.inference.grammar.schemas import hostile_root, random_schema
from tests.inference.test_generation_loop import llama

SCHEMA = {
    "type": "object", "required": ["name", "tags"],
    "properties": {
        "name": {"type": "string", "maxLength": 6}, "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "tags": {"type": "array", "items": {"enum": ["한", "b"]}, "maxItems": 2},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer():
    texts = [
        '{"name": "가람", "age": 17, "tags": ["한", "b"]}',
        '"a", "b": true}, {"',
        "hello there, 안녕하세요",
    ] * 4
    return BPETokenizer.train(texts, vocab_size=380)


@pytest.fixture(scope="module")
def model(tokenizer):
    built = llama(vocab_size=tokenizer.vocab_size + 3, max_position_embeddings=512)
    built.config.eos_token_id = tokenizer.token_to_id("<|endoftext|>")
    return built


def plainly(guide, tokenizer, state):
    """The mask, each token walked on its own."""
    special = {tokenizer.token_to_id(name) for name in tokenizer.special_tokens}
    allowed = np.zeros(tokenizer.vocab_size, bool)
    for i in set(range(tokenizer.vocab_size)) - special:
        end = state
        for byte in tokenizer.decode_bytes([i]):
            end = guide.table[end, byte] if end >= 0 else -1
        allowed[i] = end >= 0 and len(tokenizer.decode_bytes([i])) > 0
    return allowed


def test_the_mask_is_that_of_a_plain_walk(tokenizer):
    rng = np.random.default_rng(0)
    for schema in (SCHEMA, *(random_schema(rng) for _ in range(6))):
        guide = json_guide(schema, tokenizer)
        for state in rng.integers(len(guide.table), size=8).tolist():
            assert np.array_equal(guide.allowed(state), plainly(guide, tokenizer, state))


def finished(text, schema):
    jsonschema.validate(json.loads(text), schema)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0, 5.0])
def test_every_finished_output_validates(model, tokenizer, temperature):
    """1,000 random schemas at each temperature in `make soak`, every second one with the rarer parts."""
    rng, done, refused = np.random.default_rng(7), 0, 0
    many, prompt = soak_count(1000), tokenizer.encode("hello there")
    for seed in range(many):
        schema = hostile_root(rng) if seed % 2 else random_schema(rng)
        try:
            guide = json_guide(schema, tokenizer)
        except ValueError:  # no text at all, or too many states
            refused += 1
            continue
        large = len(guide.table) > 1000  # then the exact number takes seconds
        least = guide.shortest(enough=10**6 if large else 0)
        params = SamplingParams(max_tokens=least + 60, temperature=temperature, seed=seed, json_schema=schema)
        if least > 1 and not large:
            with pytest.raises(ValueError, match=f"must be at least {least} "):
                generate(model, prompt, replace(params, max_tokens=least - 1), tokenizer=tokenizer)
        [completion] = generate_batch(model, [prompt], params, tokenizer)
        if completion.finish_reason == "stop":
            finished(completion.text, schema)
            done += 1
        else:
            ids = completion.token_ids
            guide.after(0, tokenizer.decode_bytes(ids))  # raises where it leads out
            assert len(ids) == params.max_tokens
    assert done > many // 3
    assert refused < many // 10


def test_alone_in_a_batch_and_in_the_engine(model, tokenizer):
    params = SamplingParams(max_tokens=80, seed=3, temperature=0.8, json_schema=SCHEMA)
    prompts = ["hello there", "안녕하세요, hello", "h"]
    together = generate_batch(model, [tokenizer.encode(one) for one in prompts], params, tokenizer)
    for prompt, completion in zip(prompts, together):
        alone = generate(model, tokenizer.encode(prompt), params, tokenizer=tokenizer)
        assert (
            alone
            == completion.token_ids
            == list(stream(model, tokenizer.encode(prompt), params, tokenizer=tokenizer))
        )
        assert alone == generate(model, tokenizer.encode(prompt), params, cache=False, tokenizer=tokenizer)
    served = Engine(model, tokenizer, block_size=4, max_batch_size=2).generate(prompts, params)
    assert [one.token_ids for one in served] == [one.token_ids for one in together]
    for completion in together:
        if completion.finish_reason == "stop":
            finished(completion.text, SCHEMA)


def test_beams_follow_the_schema(model, tokenizer):
    schema = {
        "type": "object",
        "properties": {"a": {"type": "boolean"}, "b": {"enum": ["한", "b"]}},
        "required": ["b"],
    }
    params = SamplingParams(max_tokens=40, temperature=0, beams=3, n=3, json_schema=schema)
    for completion in generate_batch(model, [tokenizer.encode("hello")], params, tokenizer):
        assert completion.finish_reason == "stop"
        finished(completion.text, schema)


def test_other_penalties_cannot_lead_out(model, tokenizer):
    params = SamplingParams(
        max_tokens=80, temperature=2.0, top_k=3, top_p=0.5, repetition_penalty=5.0, presence_penalty=2.0, seed=0,
        logit_bias={tokenizer.encode("}")[0]: 100.0}, json_schema=SCHEMA,
    )  # fmt: skip
    ends = []
    for completion in generate_batch(model, [tokenizer.encode("hello")] * 8, replace(params, n=4), tokenizer):
        ends.append(completion.finish_reason)
        if ends[-1] == "stop":
            finished(completion.text, SCHEMA)
        else:  # raises where it leads out
            json_guide(SCHEMA, tokenizer).after(0, tokenizer.decode_bytes(completion.token_ids))
    assert len(ends) == 32
    assert "stop" in ends


def test_a_model_that_scores_a_wrong_token_best_is_held_back(model, tokenizer):
    """Without a schema it would write that token for ever."""
    bias = {tokenizer.encode("h")[0]: 100.0}
    params = SamplingParams(max_tokens=30, temperature=0, logit_bias=bias)
    assert set(generate(model, [5], params)) == set(bias)
    boolean = SamplingParams(max_tokens=30, temperature=0, logit_bias=bias, json_schema={"type": "boolean"})
    assert tokenizer.decode(generate(model, [5], boolean, tokenizer=tokenizer)) in ("true", "false")


def test_budgets_and_settings_that_leave_no_text_are_refused(model, tokenizer):
    least = json_guide(SCHEMA, tokenizer).shortest(enough=0)
    walked = SamplingParams(max_tokens=least, temperature=0, json_schema=SCHEMA)
    assert generate(model, [5], walked, tokenizer=tokenizer)
    short = SamplingParams(max_tokens=least - 1, json_schema=SCHEMA)
    with pytest.raises(ValueError, match=f"max_tokens must be at least {least}"):
        generate(model, [5], short, tokenizer=tokenizer)
    with pytest.raises(ValueError, match="max_tokens must be at least"):
        Engine(model, tokenizer).add_request([5], short)
    with pytest.raises(ValueError, match="needs a tokenizer"):
        generate(model, [5], walked)
    for settings in ({"stop": "x"}, {"min_tokens": 2}, {"no_repeat_ngram_size": 2}):
        with pytest.raises(ValueError, match=next(iter(settings))):
            SamplingParams(json_schema=SCHEMA, **settings)
    with pytest.raises(ValueError, match="cannot end its text"):
        generate(
            model,
            [5],
            SamplingParams(max_tokens=90, stop_token_ids=[5], json_schema=SCHEMA),
            tokenizer=tokenizer,
        )
    with pytest.raises(ValueError, match="type must be one of"):
        SamplingParams(json_schema={"type": "strange"})
    with pytest.raises(ValueError, match="JSON schema"):
        SamplingParams(json_schema={"type": {1, 2}})


def test_a_vocabulary_that_cannot_write_it_is_refused():
    unable = UnigramTokenizer.from_vocab([("<unk>", 0.0), ("▁a", -1.0), ("b", -2.0)])
    with pytest.raises(ValueError, match="no text at all"):
        json_guide({"type": "boolean"}, unable)


def test_the_shortest_text(tokenizer):
    guide = json_guide({"enum": ["aaaaaaaa", "한"]}, tokenizer)
    spelled = [tokenizer.decode_bytes([i]) for i in range(tokenizer.vocab_size)]
    best = {b"": 0}  # the fewest tokens of every beginning of the two texts, by dynamic programming
    for text in (b'"aaaaaaaa"', '"한"'.encode()):
        for end in range(1, len(text) + 1):
            ways = [best[text[:i]] + 1 for i in range(end) if text[i:end] in spelled and text[:i] in best]
            if ways:
                best[text[:end]] = min(ways)
    assert guide.shortest(enough=0) == min(best[b'"aaaaaaaa"'], best['"한"'.encode()])
