"""A model, a store, an encoder and an engine that are traced answer as before, and leave OpenTelemetry's attributes."""

import gc
import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from minillm.apps.guardrails import Guard, GuardedChat, PhraseRail
from minillm.apps.llm_cache import CachedChat, LLMCache
from minillm.apps.tracing import TracedChat, Tracer, traced_encoder, traced_engine, traced_store
from minillm.inference import ChatModel, LocalChat, OpenAIChat, Reply, SamplingParams, ScriptedChat
from minillm.search.store import VectorStore
from tests.inference.server.tiny import SHORT, tiny_engine

ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "안녕 hello"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.fixture
def tracer(tmp_path):
    with Tracer(tmp_path / "run.jsonl") as tracer:
        yield tracer
    assert tracer.lost == 0


def spans(tracer):
    return tracer.read().records


def test_a_chat_leaves_messages_answer_tokens_and_settings(tracer):
    replies = [Reply("네.", {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}, "stop")]
    replies += [Reply("", {}, "tool_calls", (CALL,))]
    model = TracedChat(ScriptedChat(replies), tracer, "tiny")
    assert isinstance(model, ChatModel)
    assert model.chat(ASKED, SamplingParams(max_tokens=5, temperature=0, top_p=0.5)) == replies[0]
    assert model.chat(ASKED, tools=[TOOL]) == replies[1]
    first, second = spans(tracer)
    assert (first.name, first.kind, first.status) == ("chat tiny", "internal", "ok")
    assert first.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "minillm",
        "gen_ai.request.model": "tiny",
        "gen_ai.request.max_tokens": 5,
        "gen_ai.request.temperature": 0,
        "gen_ai.request.top_p": 0.5,
        "gen_ai.input.messages": [
            {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
            {"role": "user", "parts": [{"type": "text", "content": "안녕 hello"}]},
        ],
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 2,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.output.messages": [
            {"role": "assistant", "parts": [{"type": "text", "content": "네."}], "finish_reason": "stop"}
        ],
    }
    assert second.attributes["gen_ai.tool.definitions"][0]["function"]["name"] == "f"
    [said] = second.attributes["gen_ai.output.messages"]
    assert said["parts"] == [{"type": "tool_call", "id": "1", "name": "f", "arguments": "{}"}]
    assert "gen_ai.usage.input_tokens" not in second.attributes  # nobody counted


def test_streams_of_a_chat(tracer):
    model = TracedChat(ScriptedChat(["한 줄\n두 줄", "a\nb\nc", "x\ny", "never"]), tracer)
    assert list(model.stream(ASKED)) == ["한 줄\n", "두 줄"]
    early = model.stream(ASKED)
    next(early)
    early.close()
    dropped = model.stream(ASKED)
    del dropped
    gc.collect()
    unread = model.stream(ASKED)
    unread.close()
    unread.close()
    with pytest.raises(ValueError, match="the script has 4 replies"):
        model.stream(ASKED)
    whole, cut, *never, failed = spans(tracer)
    [said] = whole.attributes["gen_ai.output.messages"]
    assert said == {"role": "assistant", "parts": [{"type": "text", "content": "한 줄\n두 줄"}]}
    assert (whole.attributes["minillm.pieces"], whole.attributes["gen_ai.request.stream"]) == (2, True)
    for one in (cut, *never):
        assert (one.status, one.attributes["minillm.closed_early"]) == ("ok", True)
    assert len(never) == 2
    assert (failed.status, failed.attributes["error.type"]) == ("error", "ValueError")
    assert tracer.open_span is None


def test_choices_and_json_of_a_chat(tracer):
    model = TracedChat(ScriptedChat(["b", '{"a": 1}', "{"]), tracer)
    assert model.choose(ASKED, ["a", "b"]) == (1, [0.0, 1.0])
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert model.json(ASKED, schema) == {"a": 1}
    with pytest.raises(ValueError, match="Expecting"):
        model.json(ASKED, schema)
    chosen, valued, garbage = spans(tracer)
    assert chosen.attributes["minillm.probabilities"] == [0.0, 1.0]
    assert valued.attributes["gen_ai.output.type"] == "json"
    assert garbage.attributes["gen_ai.output.messages"][0]["parts"][0]["content"] == "{"


def test_the_same_with_an_engine_and_behind_a_server(tracer):
    """Text and tokens of the trace are those of the untraced model."""
    from minillm.inference.server import Server

    params = SamplingParams(max_tokens=6, temperature=0)
    plain = LocalChat(tiny_engine())
    expected = plain.chat(ASKED, params)
    pieces = "".join(plain.stream(ASKED, params))
    with Server(tiny_engine(), model_name="tiny") as server:
        for model in (plain, OpenAIChat(f"{server.url}/v1", "tiny", timeout=SHORT)):
            traced = TracedChat(model, tracer)
            assert traced.chat(ASKED, params) == expected
            assert "".join(traced.stream(ASKED, params)) == pieces
    here, streamed, there, sent = spans(tracer)
    for one in (here, there):
        assert one.attributes["gen_ai.usage.input_tokens"] == expected.usage["prompt_tokens"]
        assert one.attributes["gen_ai.usage.output_tokens"] == expected.usage["completion_tokens"]
    assert [one.name for one in (here, there)] == ["chat LocalChat", "chat tiny"]
    assert (there.kind, there.attributes["gen_ai.provider.name"]) == ("client", "openai")
    for one in (streamed, sent):
        assert one.attributes["gen_ai.output.messages"][0]["parts"][0]["content"] == pieces
    assert sent.attributes["gen_ai.response.finish_reasons"] == [expected.finish_reason]
    gone = TracedChat(OpenAIChat(f"{server.url}/v1", "tiny", timeout=SHORT), tracer)
    gone.inner.client = gone.inner.client.with_options(max_retries=0)
    with pytest.raises(Exception, match="onnect"):
        gone.chat(ASKED)
    assert spans(tracer)[-1].attributes["error.type"] == "openai.APIConnectionError"


def test_a_store_and_its_encoder(tracer):
    encoder = SimpleNamespace(
        dim=2, encode=lambda texts: np.eye(2, dtype=np.float32)[[len(t) % 2 for t in texts]]
    )
    counted = traced_encoder(encoder, tracer, "parity")
    store = VectorStore(2, encoder=counted)
    store.upsert([{"id": "a", "values": [1, 0], "metadata": {"x": 1}}, {"id": "b", "values": [0, 1]}])
    traced = traced_store(store, tracer, "shop")
    assert traced.query("even", top_k=2) == store.query("even", top_k=2)
    assert traced.query([1, 0], 1, filter={"x": 1})["matches"][0]["id"] == "a"
    assert traced.list() == ["a", "b"]
    with pytest.raises(ValueError, match="top_k"):
        traced.query([1, 0], top_k=0)
    words, numbers, failed = (one for one in spans(tracer) if one.name == "retrieval shop")
    *_, embedded = (
        one for one in spans(tracer) if one.parent_id == words.span_id
    )  # the store tries it out first
    assert embedded.attributes["gen_ai.operation.name"] == "embeddings"
    assert embedded.attributes["gen_ai.embeddings.dimension.count"] == 2
    assert words.name == "retrieval shop"
    assert words.attributes["gen_ai.retrieval.query.text"] == "even"
    assert words.attributes["gen_ai.retrieval.documents"] == [
        {"id": "a", "score": 1.0},
        {"id": "b", "score": 0.0},
    ]
    assert numbers.attributes["minillm.filter"] == {"x": 1}
    assert failed.status == "error"


def test_an_engine(tracer):
    engine = tiny_engine()
    params = SamplingParams(max_tokens=4, temperature=0)
    expected = engine.generate(["hello", "hi"], params)
    traced = traced_engine(engine, tracer, "tiny")
    assert traced.generate(["hello", "hi"], params) == expected
    assert traced.window == engine.window
    [one] = spans(tracer)
    assert one.attributes["gen_ai.usage.output_tokens"] == sum(len(done.token_ids) for done in expected)
    assert one.attributes["input.value"] == ["hello", "hi"]


def test_garbage_from_a_model_does_not_break_the_trace(tracer):
    class Garbage(ChatModel):
        def chat(self, messages, params=None, **functions):
            return Reply(None, None, 3, ("x", {"function": None}))

        _reply = stream = choose = None

    model = TracedChat(type("G", (Garbage,), {"__abstractmethods__": frozenset()})(), tracer)
    for messages in (ASKED, "text", [1, None], [{"role": 3, "tool_calls": 5}], None):
        assert model.chat(messages).finish_reason == 3
    assert len(spans(tracer)) == 5


@pytest.mark.parametrize(
    "wrong", [(None, Tracer()), (ScriptedChat([]), None), (ScriptedChat([]), Tracer(), 3)]
)
def test_what_is_no_model_or_tracer(wrong):
    with pytest.raises(ValueError, match=r"TracedChat takes|model_name must be"):
        TracedChat(*wrong)


def test_behind_rails_a_model_is_traced_and_cached_all_the_same(tracer):
    """Whatever stands in whatever: a question leaves one span for each call of the model, and is asked once."""
    rails, greedy = Guard([PhraseRail(["forbidden"])]), SamplingParams(temperature=0)
    wrap = {
        "guarded": lambda model: GuardedChat(model, rails, rails),
        "traced": lambda model: TracedChat(model, tracer, "m"),
        "cached": lambda model: CachedChat(model, LLMCache(), "kim"),
    }
    for order in itertools.permutations(wrap):
        model = ScriptedChat(["first", "with a tool", "second"])
        for name in order:
            model = wrap[name](model)
        before = len(spans(tracer))
        for _ in range(2):
            assert model.chat(ASKED, greedy).text == "first", order
            assert model.chat(ASKED, greedy, tools=[TOOL], parallel_tool_calls=False).text == "with a tool", (
                order
            )
        # a cache around the tracer keeps the second round from it
        assert len(spans(tracer)) - before == (2 if order.index("cached") > order.index("traced") else 4), (
            order
        )
    assert "gen_ai.tool.definitions" in spans(tracer)[1].attributes
