"""ChatModel: what LocalChat makes of an engine, the arithmetic of `choose`, and the script of tests."""

import subprocess
import sys

import pytest
import torch

from minillm.inference import (
    ChatModel,
    LocalChat,
    OpenAIChat,
    Reply,
    SamplingParams,
    ScriptedChat,
    generate_batch,
)
from minillm.tokenizer import apply_chat_template
from tests.inference.server.tiny import tiny_engine

ASKED = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def local():
    return LocalChat(tiny_engine())


def test_a_reply_is_the_models_own(local):
    params = SamplingParams(max_tokens=9, seed=4)
    ids = local.tokenizer.encode(apply_chat_template(local.tokenizer, ASKED))
    [expected] = generate_batch(local.engine.model, [ids], params, local.tokenizer)
    reply = local.chat(ASKED, params)
    assert reply == Reply(
        expected.text,
        {
            "prompt_tokens": len(ids),
            "completion_tokens": len(expected.token_ids),
            "total_tokens": len(ids) + len(expected.token_ids),
        },
        expected.finish_reason,
    )
    assert "".join(local.stream(ASKED, params)) == reply.text
    assert 1 <= local.chat(ASKED).usage["completion_tokens"] <= 128


def test_a_stream_that_is_closed_frees_its_blocks(local):
    stream = local.stream(ASKED, SamplingParams(max_tokens=50, ignore_eos=True))
    next(stream)
    stream.close()
    now = local.engine.stats()
    assert (local.engine.unfinished, now["free_blocks"]) == (0, now["num_blocks"])


def test_choose_is_the_softmax_of_the_options_log_probabilities(local):
    tokenizer, model = local.tokenizer, local.engine.model
    before = tokenizer.encode(apply_chat_template(tokenizer, ASKED))
    options, sums = ["yes", "no", "안녕"], []
    for one in options:
        ids = tokenizer.encode(apply_chat_template(tokenizer, ASKED) + one)
        assert ids[: len(before)] == before
        with torch.inference_mode():
            scores = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        sums.append(sum(scores[i - 1, ids[i]] for i in range(len(before), len(ids))))
    at, probabilities = local.choose(ASKED, options)
    expected = torch.stack(sums).softmax(0)
    assert probabilities == pytest.approx(expected.tolist(), abs=1e-4)
    assert at == int(expected.argmax())
    assert local.choose(ASKED, ["only"]) == (0, [1.0])


@pytest.mark.parametrize("options", [[], "yes", ["a", "a"], ["a", ""], [1]])
def test_options_that_are_none(local, options):
    for model in (local, ScriptedChat(["a"])):
        with pytest.raises(ValueError, match="options must"):
            model.choose(ASKED, options)


def test_what_a_chat_does_not_take(local):
    with pytest.raises(ValueError, match="n must be 1"):
        local.chat(ASKED, SamplingParams(n=2))
    with pytest.raises(ValueError, match="must be SamplingParams"):
        local.chat(ASKED, {"temperature": 0})
    with pytest.raises(ValueError, match="chat template"):
        LocalChat(local.engine.model)
    there = OpenAIChat("http://127.0.0.1:9/v1", "none", timeout=1)
    for params, word in ((SamplingParams(n=2), "n must be 1"), (SamplingParams(stop=[5]), "ids in stop"),
                         (SamplingParams(best_of=2), "best_of")):  # fmt: skip
        with pytest.raises(ValueError, match=word):
            there.chat(ASKED, params)


def test_a_server_without_prompt_logprobs_is_named(monkeypatch):
    there = OpenAIChat("http://127.0.0.1:9/v1", "gpt", timeout=1)
    monkeypatch.setattr(there.client.chat.completions, "create", lambda **_: object())
    with pytest.raises(ValueError, match=r"127\.0\.0\.1:9/v1/? gives none for 'gpt'"):
        there.choose(ASKED, ["a", "b"])


def test_json_is_read_or_refused(local):
    assert local.json(ASKED, {"enum": [{"a": 1}]}) == {"a": 1}
    with pytest.raises(ValueError, match="cut off"):
        ScriptedChat([Reply('{"b": [2', {}, "length")]).json(ASKED, {"type": "object"})
    with pytest.raises(ValueError, match="type must be one of"):
        local.json(ASKED, {"type": "strange"})
    assert ScriptedChat(['{"b": [2]}']).json(ASKED, {"type": "object"}) == {"b": [2]}


def test_a_script_says_what_it_holds():
    model = ScriptedChat(["one\ntwo", Reply("three", {}, "length"), "b", "c"])
    assert isinstance(model, ChatModel)
    assert list(model.stream(ASKED)) == ["one\n", "two"]
    assert model.chat(ASKED).finish_reason == "length"
    assert model.choose(ASKED, ["a", "b"]) == (1, [0.0, 1.0])
    with pytest.raises(ValueError, match="none of"):
        model.choose(ASKED, ["a", "b"])
    with pytest.raises(ValueError, match="has 4 replies"):
        model.chat(ASKED)
    assert model.asked == [ASKED] * 4


@pytest.mark.parametrize("replies", ["yes", None, (one for one in ["yes"])])
def test_a_script_is_a_list_of_replies(replies):
    """A text alone would be said letter by letter."""
    with pytest.raises(ValueError, match="replies must be a list of texts or Replies, got "):
        ScriptedChat(replies)


@pytest.mark.parametrize("messages", ["hello", {"role": "user", "content": "hello"}, ["hello"], None])
def test_a_conversation_is_a_list_of_dicts(local, messages):
    model = ScriptedChat(["yes"])
    asks = [
        model.chat,
        model.stream,
        lambda said: model.choose(said, ["yes", "no"]),
        local.chat,
        local.stream,
    ]
    asks += [OpenAIChat("http://127.0.0.1:9/v1", "none").chat]
    for ask in asks:
        with pytest.raises(ValueError, match="messages must be a list of dicts with role and content, got "):
            ask(messages)
    assert model.asked == []


@pytest.mark.parametrize(
    "message", [{"content": "hi"}, {"role": "user"}, {"role": "user", "contents": "hi"}, {"role": 1, "content": "hi"},
                {"role": "user", "content": None}, {"role": "user", "content": 5}]
)  # fmt: skip
def test_a_message_that_says_nothing_is_refused(local, message):
    """A template would leave it out, or write "None", and the model would answer that."""
    for model in (local, ScriptedChat(["yes"])):
        with pytest.raises(ValueError, match="a message must have a role and a content, got "):
            model.chat([message])


@pytest.mark.parametrize("reply", [None, 5, b"yes"])
def test_a_reply_is_a_text_or_a_reply(reply):
    with pytest.raises(ValueError, match="every reply must be a text or a Reply, got "):
        ScriptedChat(["yes", reply])


def test_an_answer_that_is_no_json_is_shown():
    """A server that does not hold its model to a schema."""
    with pytest.raises(ValueError, match=r"the answer is no JSON .*: 'Sure! Here it is'"):
        ScriptedChat(["Sure! Here it is"]).json(ASKED, {"type": "object"})


def test_importing_minillm_needs_none_of_the_extras():
    code = (
        "import sys\n"
        "for name in ('uvicorn', 'starlette', 'pydantic', 'prometheus_client', 'openai'): sys.modules[name] = None\n"
        "import minillm.inference as room, minillm.cli\n"
        "assert 'serve' in room.__all__\n"
        "for make in (lambda: room.serve, lambda: room.OpenAIChat('http://x/v1', 'm')):\n"
        "    try: make()\n"
        "    except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert [line.split("pip install ")[1] for line in done.stdout.splitlines()] == [
        "'minillm[serve]'",
        "'minillm[openai]'",
    ]
