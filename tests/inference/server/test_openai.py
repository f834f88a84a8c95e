"""The server as the openai client meets it, unmodified; every answer is what the engine's own model gives."""

import json
import math
import re
import time

import httpx
import pytest
from openai import (
    APIError,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    RateLimitError,
)

from minillm.inference import LocalChat, OpenAIChat, SamplingParams, generate_batch
from minillm.inference.server import Server
from minillm.inference.server.embeddings import EmbeddingsAsked
from minillm.inference.server.errors import ApiError
from minillm.inference.server.schemas import CompletionAsked, parse
from minillm.tokenizer import apply_chat_template
from tests.inference.server.tiny import SHORT, all_free, client_of, tiny_engine

pytestmark = pytest.mark.timeout(120)
ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "안녕 hello"}]


@pytest.fixture(scope="module")
def engine():
    return tiny_engine()


@pytest.fixture(scope="module")
def server(engine):
    with Server(engine, port=0, model_name="tiny", max_requests=8) as server:
        yield server
        assert all_free(server, engine)


@pytest.fixture(scope="module")
def client(server):
    with client_of(server) as client:
        yield client


def alone(engine, prompt, **params):
    """What `generate_batch` makes of it, without any engine."""
    ids = engine.tokenizer.encode(prompt) if isinstance(prompt, str) else prompt
    return generate_batch(engine.model, [ids], SamplingParams(**params), engine.tokenizer)


def of_chat(engine, **params):
    ends = [engine.tokenizer.token_to_id("<|im_end|>")]
    return alone(engine, apply_chat_template(engine.tokenizer, ASKED), stop_token_ids=ends, **params)


def test_models(client):
    [model] = client.models.list().data
    assert (model.id, model.object, model.max_model_len) == ("tiny", "model", 128)
    assert client.models.retrieve("tiny").id == "tiny"
    with pytest.raises(NotFoundError, match="does not exist"):
        client.models.retrieve("gpt-4")


@pytest.mark.parametrize("prompt", ["hello, 안녕", [1, 2, 3]], ids=["text", "ids"])
def test_a_completion_is_the_models(engine, client, prompt):
    got = client.completions.create(model="tiny", prompt=prompt, max_tokens=12, seed=5, n=2, top_p=0.9)
    expected = alone(engine, prompt, max_tokens=12, seed=5, n=2, top_p=0.9)
    assert [c.text for c in got.choices] == [c.text for c in expected]
    assert [c.finish_reason for c in got.choices] == [c.finish_reason for c in expected]
    ids = engine.tokenizer.encode(prompt) if isinstance(prompt, str) else prompt
    written = sum(len(c.token_ids) for c in expected)
    assert (got.usage.prompt_tokens, got.usage.completion_tokens) == (len(ids), written)
    assert got.usage.total_tokens == len(ids) + written


def test_several_prompts_stop_and_penalties(engine, client):
    free = alone(engine, "b", max_tokens=30, temperature=0, logit_bias={3: -100})[0].text
    stop = re.search(r"[!-~]", free[2:])[0]
    got = client.completions.create(
        model="tiny", prompt=["a", "b"], max_tokens=30, temperature=0, stop=[stop, "\x00\x01"],
        frequency_penalty=0, logit_bias={"3": -100}, extra_body={"top_k": 5},
    )  # fmt: skip
    expected = [
        alone(engine, p, max_tokens=30, temperature=0, stop=[stop, "\x00\x01"], logit_bias={3: -100}, top_k=5)
        for p in "ab"
    ]
    assert [c.text for c in got.choices] == [c.text for [c] in expected]
    assert [c.index for c in got.choices] == [0, 1]
    assert got.choices[1].finish_reason == "stop"


def test_echo_with_logprobs_scores_the_prompt(engine, client):
    got = client.completions.create(model="tiny", prompt="hello", max_tokens=3, seed=2, echo=True, logprobs=2)
    [expected] = alone(engine, "hello", max_tokens=3, seed=2, logprobs=2, prompt_logprobs=2)
    ids = [*engine.tokenizer.encode("hello"), *expected.token_ids]
    said = got.choices[0].logprobs
    assert got.choices[0].text == "hello" + expected.text
    assert said.tokens[:2] == ["h", "e"]
    assert (said.token_logprobs[0], said.top_logprobs[0]) == (None, None)
    scores = [*expected.prompt_logprobs, *expected.logprobs]
    assert said.token_logprobs[1:] == pytest.approx([s[i] for s, i in zip(scores[1:], ids[1:])], abs=1e-4)
    assert len(said.tokens) == len(said.text_offset) == len(said.top_logprobs) == len(ids)
    assert said.text_offset[:5] == [0, 1, 2, 3, 4]

    only = client.completions.create(model="tiny", prompt="hello", max_tokens=0, echo=True, logprobs=0)
    assert (only.choices[0].text, only.usage.completion_tokens) == ("hello", 0)
    assert only.choices[0].logprobs.token_logprobs[1:] == pytest.approx(said.token_logprobs[1:5], abs=1e-5)


def test_a_streamed_completion_joined_is_the_whole_one(client):
    asked = {"model": "tiny", "prompt": ["hi", "안"], "max_tokens": 10, "seed": 4, "n": 2, "logprobs": 1}
    asked["echo"] = True
    whole = client.completions.create(**asked)
    texts, offsets, ends, counted = [""] * 4, [[], [], [], []], [None] * 4, []
    for event in client.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
        counted += [event.usage] if event.usage else []
        for choice in event.choices:
            texts[choice.index] += choice.text
            offsets[choice.index] += choice.logprobs.text_offset
            ends[choice.index] = choice.finish_reason
    assert texts == [c.text for c in whole.choices]
    assert offsets == [c.logprobs.text_offset for c in whole.choices]
    assert ends == [c.finish_reason for c in whole.choices]
    assert counted == [whole.usage]


def test_chat_is_the_models_under_its_template(engine, client):
    got = client.chat.completions.create(
        model="tiny", messages=ASKED, max_completion_tokens=9, seed=3, n=2, logprobs=True, top_logprobs=2
    )
    expected = of_chat(engine, max_tokens=9, seed=3, n=2, logprobs=2)
    assert [c.message.content for c in got.choices] == [c.text for c in expected]
    assert got.choices[0].message.role == "assistant"
    for choice, one in zip(got.choices, expected):
        assert [t.logprob for t in choice.logprobs.content] == pytest.approx(
            [scores[i] for scores, i in zip(one.logprobs, one.token_ids)], abs=1e-4
        )
        spelled = b"".join(bytes(t.bytes) for t in choice.logprobs.content)
        assert spelled == engine.tokenizer.decode_bytes(one.token_ids)
        for token, scores in zip(choice.logprobs.content, one.logprobs):
            best = sorted(scores.values(), reverse=True)[:2]
            assert [t.logprob for t in token.top_logprobs] == pytest.approx(best, abs=1e-4)
    parts = [
        {"role": "user", "content": [{"type": "text", "text": "안녕 "}, {"type": "text", "text": "hello"}]}
    ]
    again = client.chat.completions.create(
        model="tiny", messages=[ASKED[0], *parts], max_tokens=9, seed=3, user="someone"
    )
    assert again.choices[0].message.content == expected[0].text


def test_a_streamed_chat_joined_is_the_whole_one(client):
    asked = {"model": "tiny", "messages": ASKED, "max_tokens": 12, "seed": 7, "n": 2}
    whole = client.chat.completions.create(**asked)
    texts, roles, ends, last = ["", ""], [[], []], [None, None], None
    for event in client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
        last = event
        for choice in event.choices:
            texts[choice.index] += choice.delta.content or ""
            roles[choice.index] += [choice.delta.role] if choice.delta.role else []
            ends[choice.index] = choice.finish_reason
    assert texts == [c.message.content for c in whole.choices]
    assert roles == [["assistant"], ["assistant"]]
    assert ends == [c.finish_reason for c in whole.choices]
    assert (last.choices, last.usage) == ([], whole.usage)


def of_schema(schema):
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}


def test_answers_follow_a_schema(client):
    schema = {"type": "object", "properties": {"이름": {"enum": ["a", "한"]}}, "required": ["이름"]}
    asked = {"model": "tiny", "messages": ASKED, "max_tokens": 60, "temperature": 1.5, "n": 3, "seed": 1}
    whole = client.chat.completions.create(**asked, response_format=of_schema(schema))
    assert [choice.finish_reason for choice in whole.choices] == ["stop"] * 3
    assert all(json.loads(choice.message.content)["이름"] in ("a", "한") for choice in whole.choices)
    texts = [""] * 3
    for event in client.chat.completions.create(
        **asked, response_format={"type": "json_object"}, stream=True
    ):
        for choice in event.choices:
            texts[choice.index] += choice.delta.content or ""
    assert all(text.startswith("{") for text in texts)


@pytest.mark.parametrize(("more", "kind", "words"), [
    ({"model": "gpt-4"}, NotFoundError, "'gpt-4' does not exist"),
    ({"max_tokens": -1}, BadRequestError, "max_tokens"),
    ({"max_tokens": 0}, BadRequestError, "max_tokens"),
    ({"max_tokens": 1000}, BadRequestError, "128 tokens at most"),
    ({"temperature": "hot"}, BadRequestError, "temperature"),
    ({"temperature": -1}, BadRequestError, "temperature"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, BadRequestError,
     "messages.0.content.0: Input tag 'image_url' .*'text', 'refusal'"),
    ({"messages": [{"role": "assistant", "content": [{"type": "refusal"}]}]}, BadRequestError,
     "messages.0.content.0.*refusal: Field required"),
    ({"n": 10**12}, BadRequestError, "1000000000000 texts at a time"),
    ({"n": 0}, BadRequestError, "n:"),
    ({"n": 17}, BadRequestError, "17 texts at a time"),
    ({"seed": 2**63}, BadRequestError, "seed"),
    ({"logit_bias": {"9999": 5}}, BadRequestError, "logit_bias"),
    ({"max_completion_tokens": 1000}, BadRequestError, "max_completion_tokens is 1,000"),
    ({"reasoning_effort": "high"}, BadRequestError, "reasoning_effort is not supported"),
    ({"extra_body": {"temprature": 0}}, BadRequestError, "temprature"),
    ({"stop": ["x"] * 17}, BadRequestError, "stop"),
    ({"stream": "yes"}, BadRequestError, "stream"),
    ({"top_logprobs": 2}, BadRequestError, "needs logprobs"),
    ({"logit_bias": {"a": 1}}, BadRequestError, "logit_bias"),
    ({"messages": []}, BadRequestError, "messages"),
    ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}, BadRequestError, "no tool call '1'"),
    ({"messages": [{"role": "user"}]}, BadRequestError, "needs content"),
    ({"messages": [{"role": "user", "content": "word " * 200}]}, BadRequestError, "127 tokens here"),
    ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, BadRequestError, "tools.0. must be"),
    ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, BadRequestError, "name must be 1 to 64"),
    ({"tool_choice": "required"}, BadRequestError, "tool_choice names no function"),
    ({"tool_choice": "sometimes"}, BadRequestError, "tool_choice must be"),
    ({"response_format": {"type": "json_schema"}}, BadRequestError, "needs json_schema.schema"),
    ({"response_format": {"type": "yaml"}}, BadRequestError, "response_format"),
    ({"response_format": of_schema({"type": "strange"})}, BadRequestError, "type must be one of"),
    ({"response_format": of_schema({"type": "string", "minLength": 60}), "max_tokens": 2}, BadRequestError, "at least"),
    ({"extra_body": {"beams": 2}}, BadRequestError, "beams"),
])  # fmt: skip
def test_what_is_wrong_is_an_error_of_the_client(client, more, kind, words):
    for stream in (False, True):
        with pytest.raises(kind, match=words) as raised:
            client.chat.completions.create(**{"model": "tiny", "messages": ASKED, "stream": stream} | more)
        assert set(raised.value.body) == {"message", "type", "param", "code"}


def test_fields_that_change_no_text_and_fields_that_are_null(client):
    """What any client of OpenAI's may send along; None is sent as null."""
    asked = {"model": "tiny", "messages": ASKED, "max_completion_tokens": 6, "seed": 3}
    plain = client.chat.completions.create(**asked)
    more = {
        "user": "me", "store": True, "metadata": {"a": "b"}, "service_tier": "auto", "safety_identifier": "x",
        "prompt_cache_key": "k", "verbosity": "medium", "reasoning_effort": "none", "modalities": ["text"],
        "prediction": {"type": "content", "content": "hello"}, "tools": [],
    }  # fmt: skip
    nothing = dict.fromkeys(
        ("stream", "stream_options", "stop", "n", "logit_bias", "logprobs", "top_logprobs", "temperature", "top_p",
         "max_tokens", "frequency_penalty", "presence_penalty", "response_format", "tool_choice"),
    )  # fmt: skip
    for given in (more, nothing):
        again = client.chat.completions.create(**asked, **given)
        assert again.choices[0].message.content == plain.choices[0].message.content
    stream = client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": None})
    assert (
        "".join(c.delta.content or "" for e in stream for c in e.choices) == plain.choices[0].message.content
    )


def test_parts_of_messages_with_what_clients_put_beside_them(client):
    """Marks of a provider's cache, annotations, an answer that refused: the texts alone are read."""
    parts = [
        {"type": "text", "text": "안녕", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": " a"},
    ]
    refused = {
        "role": "assistant",
        "content": [{"type": "refusal", "refusal": "no"}],
        "annotations": [],
        "audio": None,
    }
    asked = {"model": "tiny", "max_tokens": 5, "temperature": 0}
    first, again = (
        client.chat.completions.create(messages=messages, **asked)
        for messages in (
            [{"role": "user", "content": parts, "name": "me"}, refused, {"role": "user", "content": "b"}],
            [{"role": "user", "content": "안녕 a"}, {"role": "assistant", "content": "no"},
             {"role": "user", "content": "b"}],
        )
    )  # fmt: skip
    assert first.choices[0].message.content == again.choices[0].message.content
    assert first.usage.prompt_tokens == again.usage.prompt_tokens


def test_tokens_that_were_there_already_are_counted():
    """Whole blocks of 8; the last token is always computed."""
    with Server(tiny_engine(), port=0, model_name="tiny") as server, client_of(server) as client:
        asked = {"model": "tiny", "max_tokens": 2, "prompt": [[5] * 17, [6] * 9]}
        cached = []
        for _ in range(2):
            usage = client.completions.create(**asked).usage
            cached.append(usage.prompt_tokens_details.cached_tokens)
            assert usage.prompt_tokens == 26
        *_, last = client.completions.create(**asked, stream=True, stream_options={"include_usage": True})
        assert [*cached, last.usage.prompt_tokens_details.cached_tokens] == [0, 24, 24]
        chat = {"model": "tiny", "max_tokens": 2, "messages": ASKED}
        first, again = (client.chat.completions.create(**chat).usage for _ in range(2))
        assert first.prompt_tokens_details.cached_tokens == 0
        assert again.prompt_tokens_details.cached_tokens == (first.prompt_tokens - 1) // 8 * 8


def test_every_answer_bears_an_id(server, client):
    ids = {
        client.chat.completions.create(model="tiny", messages=ASKED, max_tokens=1)._request_id for _ in "ab"
    }
    assert len(ids) == 2
    assert None not in ids
    with httpx.Client(base_url=server.url, timeout=SHORT) as http:
        for path in ("/health", "/nope"):
            assert http.get(path, headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
        for strange in ("a b", "x" * 129, ""):
            assert re.fullmatch(
                "[0-9a-f]{32}", http.get("/health", headers={"x-request-id": strange}).headers["x-request-id"]
            )


@pytest.mark.parametrize(("more", "param"), [
    ({"logit_bias": {"5": 200}}, "logit_bias"), ({"min_tokens": 9}, "min_tokens"), ({"temperature": -1}, "temperature"),
    ({"response_format": of_schema({"type": "string", "pattern": "(a|b)*a(a|b){20}"})}, "response_format"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
])  # fmt: skip
def test_an_error_names_the_field(client, more, param):
    asked = {"model": "tiny", "messages": ASKED, "max_tokens": 4}
    with pytest.raises(BadRequestError) as raised:
        client.chat.completions.create(**asked, extra_body=more)
    assert raised.value.param == param


def test_a_negative_seed_and_a_nucleus_of_nothing(engine, client):
    ask = {"model": "tiny", "prompt": "hi", "max_tokens": 12}
    first, again, other = (
        client.completions.create(**ask, seed=seed).choices[0].text for seed in (-1, -1, -(2**63))
    )
    assert first == again != other
    greedy = client.completions.create(**ask, top_p=0).choices[0].text
    assert greedy == alone(engine, "hi", max_tokens=12, temperature=0)[0].text


def test_stream_options_without_a_stream(client):
    with pytest.raises(BadRequestError, match="needs stream: true"):
        client.completions.create(model="tiny", prompt="a", stream_options={"include_usage": True})


def test_usage_in_streams(client):
    """Without include_usage no piece has it; with it every piece but the last says null, and the last has no choice."""
    asked = {"model": "tiny", "prompt": ["a", "b"], "max_tokens": 3, "stream": True}
    assert [
        e.usage for e in client.completions.create(**asked) if e.usage or "usage" in e.model_fields_set
    ] == []
    pieces = list(client.completions.create(**asked, stream_options={"include_usage": True}))
    assert all("usage" in one.model_fields_set for one in pieces)
    assert [one.usage is None for one in pieces] == [True] * (len(pieces) - 1) + [False]
    assert pieces[-1].choices == []
    assert len({(one.id, one.created, one.model) for one in pieces}) == 1


@pytest.mark.parametrize(("body", "status"), [
    (b"{", 400), (b"[]", 400), (b"\xff\xfe", 400), (b'{"model": "\xed\xa0\x80"}', 400), (b"null", 400),
    (b'{"model": "\\ud800", "prompt": "a"}', 400), (b'{"model": "tiny", "prompt": "\\udfff"}', 400),
    (b'{"model": "tiny", "prompt": NaN}', 400), (b"[" * 100_000, 400), (b'{"prompt": 1' + b"0" * 5000 + b"}", 400),
    (b'{"model": "tiny", "prompt": "a", "temperature": 1e999}', 400), (b"", 400), (b" " * (2**20 + 1), 413),
    (b'{"model": "tiny", "prompt": []}', 400), (b'{"model": "tiny", "prompt": ""}', 400),
    (b'{"model": "tiny", "prompt": [[1], []]}', 400), (b'{"model": "tiny", "prompt": [99999]}', 400),
    (b'{"model": "tiny", "prompt": ["a", "a", "a", "a", "a", "a", "a", "a", "a"]}', 400),
])  # fmt: skip
def test_bodies_that_will_not_do(server, body, status):
    got = httpx.post(f"{server.url}/v1/completions", content=body, timeout=SHORT)
    assert got.status_code == status
    assert set(got.json()["error"]) == {"message", "type", "param", "code"}


def test_pages_that_are_not_there(server):
    with httpx.Client(base_url=server.url, timeout=SHORT) as http:
        assert (http.get("/nope").status_code, http.get("/v1/completions").status_code) == (404, 405)
        assert "message" in http.get("/nope").json()["error"]
        assert http.get("/health").json() == {"status": "ok"}
        text = http.get("/metrics").text
    assert 'minillm_requests_total{path="/v1/models",status="200"}' in text
    assert "minillm_engine_free_blocks 200.0" in text
    assert "minillm_time_to_first_token_seconds_bucket" in text


def test_a_key_is_asked_for(engine):
    with Server(tiny_engine(), port=0, model_name="tiny", api_key="secret") as server:
        with client_of(server, "wrong") as client, pytest.raises(AuthenticationError, match="API key"):
            client.models.list()
        assert httpx.get(f"{server.url}/v1/models", timeout=SHORT).status_code == 401
        assert httpx.get(f"{server.url}/health", timeout=SHORT).status_code == 200
        with client_of(server, "secret") as client:
            assert client.models.list().data[0].id == "tiny"
            assert client.completions.create(model="tiny", prompt="a", max_tokens=1).usage.total_tokens == 2


def test_limits_are_said_and_a_full_server_refuses_at_once():
    engine = tiny_engine()
    limits = {"max_prompt_tokens": 5, "max_tokens": 100, "max_requests": 1}
    with Server(engine, port=0, model_name="tiny", **limits) as server, client_of(server) as client:
        ask = client.completions.create
        with pytest.raises(BadRequestError, match="5 tokens here, got 6"):
            ask(model="tiny", prompt=[1] * 6)
        with pytest.raises(BadRequestError, match="max_tokens may be 100 here"):
            ask(model="tiny", prompt=[1], max_tokens=101)
        asked = {"model": "tiny", "prompt": [1], "max_tokens": 100, "extra_body": {"ignore_eos": True}}
        real = engine.step
        engine.step = lambda: time.sleep(0.02) or real()
        with ask(**asked, stream=True) as stream:
            next(iter(stream))
            with pytest.raises(RateLimitError, match="try again") as raised:
                ask(model="tiny", prompt=[1], max_tokens=1)
            assert raised.value.response.headers["retry-after"] == "1"
        engine.step = real
        assert all_free(server, engine)
        assert ask(model="tiny", prompt=[1], max_tokens=1).usage.completion_tokens == 1


def test_defaults_stand_beside_what_a_client_asks(engine):
    """What the makers of a model set in generation_config.json: stops count, and nothing of it refuses a request."""
    free = alone(engine, "hello", temperature=0, max_tokens=12)[0]
    first, later = free.text[2:4], free.text[5:7]
    assert later not in free.text[:5]
    defaults = SamplingParams(temperature=0, stop=[later], min_tokens=3, max_tokens=9, no_repeat_ngram_size=9)
    asked = {"model": "tiny", "prompt": "hello", "max_tokens": 12}
    with Server(engine, port=0, model_name="tiny", defaults=defaults) as server, client_of(server) as client:

        def says(**more):
            choice = client.completions.create(**asked | more).choices[0]
            return choice.text, choice.finish_reason

        assert says() == (free.text[: free.text.index(later)], "stop")
        assert (
            says(stop=first)[0]
            == alone(engine, "hello", temperature=0, max_tokens=12, min_tokens=3, stop=[later, first])[0].text
        )
        assert says(max_tokens=2)[1] == "length"  # fewer than the default's min_tokens
        schema = {"name": "a", "schema": {"type": "integer", "minimum": 1, "maximum": 9}}
        shape = {"response_format": {"type": "json_schema", "json_schema": schema}}
        answer = client.chat.completions.create(model="tiny", messages=ASKED, max_tokens=12, **shape)
        assert answer.choices[0].message.content in "123456789"


def test_a_failed_step_is_500_and_the_next_request_is_answered():
    engine = tiny_engine()
    with Server(engine, port=0, model_name="tiny") as server, client_of(server) as client:
        real = engine.step
        calls = []

        def failing():
            calls.append(1)
            if len(calls) in (1, 4):  # at once, and in the middle of a stream
                raise RuntimeError("the device is on fire")
            return real()

        engine.step = failing
        asked = {"model": "tiny", "prompt": "a", "max_tokens": 20, "extra_body": {"ignore_eos": True}}
        with pytest.raises(APIError, match="on fire") as raised:
            client.completions.create(**asked)
        assert raised.value.status_code == 500
        with pytest.raises(APIError, match="on fire"):
            list(client.completions.create(**asked, stream=True))
        assert client.completions.create(**asked).usage.completion_tokens == 20
        assert all_free(server, engine)
        assert server.loop.failed_steps == 2


def test_what_a_server_cannot_be_made_of(engine):
    for wrong in (
        {"api_key": ""},
        {"model_name": ""},
        {"port": 70_000},
        {"max_requests": 0},
        {"end_seconds": -1},
        {"read_seconds": float("nan")},
        {"max_tokns": 3},
        {"defaults": {"temperature": 0}},
        {"defaults": SamplingParams(logit_bias={5: 1})},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Server(engine, **{"port": 0} | wrong)
    with pytest.raises(ValueError, match="Engine"):
        Server(engine.model)
    with Server(tiny_engine(), port=0) as server, pytest.raises(OSError):
        Server(engine, port=server.port)


def test_openai_chat_and_local_chat_say_the_same(server):
    here, there = LocalChat(tiny_engine()), OpenAIChat(f"{server.url}/v1", "tiny", timeout=SHORT)
    params = SamplingParams(max_tokens=10, seed=3, top_k=20, temperature=0.8)
    assert there.chat(ASKED, params) == here.chat(ASKED, params)
    assert "".join(there.stream(ASKED, params)) == there.chat(ASKED, params).text
    parts = [ASKED[0], {"role": "user", "content": [{"type": "text", "text": t} for t in ("안녕 ", "hello")]}]
    assert there.chat(parts, params) == here.chat(parts, params) == here.chat(ASKED, params)
    for chat in (here, there):
        with pytest.raises(
            ValueError, match="messages must be a list of dicts with role and content, got 'hi'"
        ):
            chat.chat("hi", params)
    options = ["yes", "no", "perhaps 안녕"]
    (at, one), (same, other) = here.choose(ASKED, options), there.choose(ASKED, options)
    assert at == same
    assert one == pytest.approx(other, abs=1e-4)
    assert math.fsum(one) == pytest.approx(1)
    schema = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 4}}, "required": ["a"]}
    for settings in (
        SamplingParams(max_tokens=40, seed=2),
        SamplingParams(max_tokens=40, temperature=3.0, seed=5),
    ):
        found = here.json(ASKED, schema, settings)
        assert found == there.json(ASKED, schema, settings)
        assert isinstance(found["a"], str)
    with pytest.raises(ValueError, match="beams"):
        there.chat(ASKED, SamplingParams(beams=2, temperature=0))


@pytest.mark.parametrize(("kind", "given", "words"), [
    (CompletionAsked, {"prompt": ["a", ""]}, "prompt.1: String should have at least 1 character"),
    (CompletionAsked, {"prompt": ["a", "b", 5]}, "prompt.2: Input should be a valid string, got 5"),
    (CompletionAsked, {"prompt": [1, "a"]}, "prompt.1: Input should be a valid integer, got 'a'"),
    (CompletionAsked, {"prompt": [[1], []]}, "prompt.1: List should have at least 1 item"),
    (CompletionAsked, {"prompt": []}, "prompt: List should have at least 1 item"),
    (CompletionAsked, {"prompt": "a", "stop": ["x"] * 17}, "stop: List should have at most 16 items"),
    (EmbeddingsAsked, {"input": ["a", None]}, "input.1: Input should be a valid string, got None"),
])  # fmt: skip
def test_what_is_wrong_in_a_list_is_said_of_the_type_that_it_is(kind, given, words):
    with pytest.raises(ApiError, match=re.escape(words)):
        parse(kind, {"model": "tiny"} | given)
