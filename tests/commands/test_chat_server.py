"""`minillm chat --server URL`: our own server at the other end, with a tiny model."""

import io
import json
import socket
import sys
import threading

import pytest

from minillm.commands.chat_server import base_url
from minillm.inference import OpenAIChat, SamplingParams
from minillm.inference.server import Server
from tests.commands.test_generate import run
from tests.inference.server.tiny import SHORT, all_free, tiny_engine

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def server():
    with Server(tiny_engine(), port=0, model_name="tiny") as server:
        yield server
        assert all_free(server, server.loop.engine)


@pytest.fixture
def talk(server, capsys, monkeypatch):
    """talk(*lines) -> (exit code, what was answered, what was noted)."""

    def with_lines(*lines, options=("--max-tokens", 4), url=server.url):
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        return run(capsys, "chat", "--server", url, *options)

    return with_lines


def said_by(server, messages, **params):
    chat = OpenAIChat(f"{server.url}/v1", "tiny", timeout=SHORT)
    return chat.chat(messages, SamplingParams(**params)).text


def test_every_turn_holds_what_was_said_before_it(talk, server, tmp_path):
    file = tmp_path / "talk.json"
    code, out, err = talk(
        "one", "", "two", f"/save {file}", "/reset", "three",
        options=("--max-tokens", 5, "--seed", 7, "--top-k", 30, "--system", "Be short."),
    )  # fmt: skip
    assert code == 0
    system, params = {"role": "system", "content": "Be short."}, {"max_tokens": 5, "top_k": 30}
    chat, answers = [system, {"role": "user", "content": "one"}], []
    for turn in (1, 2):
        answers.append(said_by(server, chat, seed=7 + turn, **params))
        chat += [{"role": "assistant", "content": answers[-1].strip()}, {"role": "user", "content": "two"}]
    answers.append(said_by(server, [system, {"role": "user", "content": "three"}], seed=8, **params))
    assert out == "".join(f"{one}\n" for one in answers)
    assert json.loads(file.read_text(encoding="utf-8")) == chat[:-1]
    assert f"tiny at {server.url}/v1" in err
    assert "forgotten" in err


def test_an_answer_that_the_budget_cuts_is_said(talk):
    _, _, err = talk("one", options=("--max-tokens", 2, "--logit-bias", "1=-100", "--ignore-eos"))
    assert "cut off" in err


def test_ctrl_c_ends_the_answer_and_not_the_chat(talk, server, monkeypatch):
    real, turns = OpenAIChat.stream, []

    def stream(self, messages, params):
        turns.append([one["content"] for one in messages])
        pieces = real(self, messages, params)

        def until():
            try:
                yield next(pieces)
                if len(turns) == 1:
                    raise KeyboardInterrupt
                yield from pieces
            finally:
                pieces.close()

        return until()

    monkeypatch.setattr(OpenAIChat, "stream", stream)
    code, _, err = talk("one", "two", options=("--max-tokens", 60, "--ignore-eos"))
    assert code == 0
    assert "[stopped]" in err
    assert len(turns) == 2
    assert turns[1][0] == "one"  # with what was written of its answer
    assert turns[1][-1] == "two"
    assert all_free(server, server.loop.engine)


def test_a_full_window_leaves_out_the_oldest_turn_and_says_so(talk):
    questions = [f"question {n}, which is long enough to count" for n in range(4)]
    code, _, err = talk(*questions, options=("--max-tokens", 4, "--ignore-eos"))
    assert code == 0
    assert "the window is full: the oldest 2 messages are left out" in err
    _, out, err = talk("x" * 500, "short")
    assert "tokens" in err
    assert out.count("\n") >= 1


def test_what_is_wrong_is_one_plain_line(talk, server):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{free.getsockname()[1]}"
        code, _, err = talk("hi", url=nobody)
    assert code == 1
    assert f"no server answers at http://{nobody}/v1" in err
    code, _, err = talk("hi", options=("--model", "gpt-4"))
    assert code == 1
    assert "has no model 'gpt-4'; it has tiny" in err
    with Server(tiny_engine(), port=0, api_key="secret") as locked:
        code, _, err = talk("hi", url=locked.url)
        assert (code, err.count("\n")) == (1, 1)
        assert "another API key" in err
        code, _, _ = talk("hi", url=locked.url, options=("--api-key", "secret", "--max-tokens", 2))
        assert code == 0
    code, _, err = talk("hi", url="ftp://x")
    assert code == 1
    assert "--server must be an address" in err
    code, _, err = talk("hi", options=("smollm2",))
    assert code == 1
    assert "no model is opened here" in err


def test_a_server_that_ends_in_the_middle_is_said_and_the_chat_goes_on(capsys, monkeypatch):
    server = Server(tiny_engine(), port=0, model_name="tiny", end_seconds=0.1).start()
    real, stopped = OpenAIChat.stream, threading.Event()

    def stream(self, messages, params):
        pieces = real(self, messages, params)
        yield next(pieces)
        server.stop()
        stopped.set()
        yield from pieces

    engine_step = server.loop.engine.step
    server.loop.engine.step = lambda: stopped.wait(0.05) or engine_step()
    monkeypatch.setattr(OpenAIChat, "stream", stream)
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\n/quit\n"))
    code, _, err = run(capsys, "chat", "--server", server.url, "--max-tokens", 60, "--ignore-eos")
    assert code == 0
    assert "shutting down" in err


@pytest.mark.parametrize(("typed", "expected"), [
    ("127.0.0.1:8000", "http://127.0.0.1:8000/v1"), ("http://a.b/", "http://a.b/v1"),
    ("https://a.b/v1/", "https://a.b/v1"), ("http://a.b/api/v3", "http://a.b/api/v3"),
    ("http://[::1]:80", "http://[::1]:80/v1"),
])  # fmt: skip
def test_addresses(typed, expected):
    assert base_url(typed) == expected


@pytest.mark.parametrize("typed", ["", "http://", "http://a:b", "ftp://a", "http://a:99999"])
def test_addresses_that_are_none(typed):
    with pytest.raises(ValueError, match="must be an address"):
        base_url(typed)
