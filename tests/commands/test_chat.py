"""`minillm chat`: what the model is given at each turn, the commands, Ctrl-C, and a window that is full."""

import io
import json
import re
import sys

import pytest

import minillm.inference
from minillm.models import Llama, LlamaConfig
from minillm.tokenizer import BPETokenizer, load_tokenizer
from tests.commands.test_generate import folder, run  # noqa: F401  (folder is a fixture)


@pytest.fixture
def talk(folder, capsys, monkeypatch):  # noqa: F811
    """talk(*lines) -> (what was answered, what was noted, the text that the model was given at each turn)."""
    tokenizer, real = load_tokenizer(folder), minillm.inference.stream_text

    def with_lines(*lines, options=("--max-tokens", 4), stream=real):
        given = []

        def watched(model, tokenizer, ids, params, cache):
            given.append(tokenizer.decode(ids))
            return stream(model, tokenizer, ids, params, cache)

        monkeypatch.setattr(minillm.inference, "stream_text", watched)
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        code, out, err = run(capsys, "chat", folder, *options)
        assert code == 0, err
        return out, err, given

    with_lines.tokenizer = tokenizer
    return with_lines


class Scripted:
    """A stream that writes what a test wants, and is interrupted where the piece is an exception."""

    def __init__(self, *pieces):
        self.pieces, self.text, self.token_ids, self.finish_reason = iter(pieces), "", [1], "stop"

    def __iter__(self):
        return self

    def __next__(self):
        piece = next(self.pieces)
        if piece is KeyboardInterrupt:
            raise KeyboardInterrupt
        self.text += piece
        return piece


def scripted(*answers):
    """A stream_text that gives these answers, one a turn."""
    left = iter(answers)
    return lambda *_: Scripted(*next(left))


def test_every_turn_holds_what_was_said_before_it(talk):
    out, err, given = talk("one", "", "  two ", stream=scripted(["fir", "st"], ["second"]))
    assert (out, err) == ("first\nsecond\n", "")
    start = "<|im_start|>user\none<|im_end|>\n<|im_start|>assistant\n"
    assert given[0] == start
    assert given[1] == f"{start}first<|im_end|>\n<|im_start|>user\ntwo<|im_end|>\n<|im_start|>assistant\n"


def test_a_model_answers_and_the_same_seed_says_the_same(talk):
    first, second = (talk("one", "two", options=("--max-tokens", 6, "--seed", 3)) for _ in range(2))
    assert first == second
    assert len(first[2]) == 2


def test_a_system_prompt_stands_first_and_outlives_a_reset(talk):
    options = ("--max-tokens", 4, "--system", "Be short.")
    _, err, given = talk("one", "/reset", "two", options=options, stream=scripted(["a"], ["b"]))
    system = "<|im_start|>system\nBe short.<|im_end|>\n"
    assert [text.startswith(system) for text in given] == [True, True]
    assert "one" not in given[1]
    assert err == "[forgotten]\n"


def test_the_conversation_is_saved_and_no_file_of_somebody_else_is_written_over(talk, tmp_path):
    mine, others = tmp_path / "talk.json", tmp_path / "notes.txt"
    others.write_text("mine", encoding="utf-8")
    lines = (
        "하나",
        f"/save {mine}",
        "two",
        f"/save {mine}",
        f"/save {others}",
        f"/save {tmp_path / 'no' / 'x'}",
        "/save",
    )
    _, err, _ = talk(*lines, stream=scripted(["첫째"], ["b"]))
    said = json.loads(mine.read_text(encoding="utf-8"))
    assert [(one["role"], one["content"]) for one in said] == [
        ("user", "하나"), ("assistant", "첫째"), ("user", "two"), ("assistant", "b"),
    ]  # fmt: skip
    assert others.read_text(encoding="utf-8") == "mine"
    assert re.search(r"2 messages are in .*talk\.json\]\n\[4 messages are in", err)
    assert "notes.txt is there already" in err
    assert "name the file: /save FILE" in err


def test_quit_ends_it_and_an_unknown_command_is_named(talk):
    out, err, given = talk("/dance", "/quit", "never asked")
    assert (out, given) == ("", [])
    assert "there is no /dance" in err


def test_ctrl_c_ends_the_answer_and_not_the_chat(talk):
    stream = scripted(["half an ", KeyboardInterrupt], [KeyboardInterrupt], ["whole"])
    out, err, given = talk("one", "two", "three", stream=stream)
    assert out == "half an \n\nwhole\n"
    assert err == "[stopped]\n[stopped]\n"
    assert "half an<|im_end|>" in given[2]  # what was written stays part of what was said
    assert "two" not in given[2]  # nothing was answered: the question is forgotten


def test_a_full_window_leaves_out_the_oldest_turn_and_says_so(talk):
    questions = [f"question {n}, which is long enough to count" for n in range(6)]
    _, err, given = talk(*questions, stream=scripted(*[["ok"]] * 6))
    assert "the window is full: the oldest 2 messages are left out" in err
    assert questions[0] not in given[-1]
    assert questions[-1] in given[-1]
    assert all(len(talk.tokenizer.encode(text)) <= 128 - 4 for text in given)
    _, err, given = talk("x" * 500, "short", stream=scripted(["ok"]))
    assert "shorten it" in err
    assert len(given) == 1


def test_an_answer_that_the_budget_cuts_is_said(talk):
    cut = Scripted("a b")
    cut.finish_reason = "length"
    _, err, _ = talk("one", stream=lambda *_: cut)
    assert "--max-tokens allows more" in err


def test_a_model_that_was_not_taught_to_answer_is_refused(tmp_path, capsys):
    tokenizer = BPETokenizer.train(["to be or not to be"], 260)
    tokenizer.save(tmp_path)
    Llama(LlamaConfig(vocab_size=tokenizer.vocab_size, hidden_size=16, intermediate_size=24, num_hidden_layers=1,
                      num_attention_heads=2, max_position_embeddings=32)).save_pretrained(tmp_path)  # fmt: skip
    code, _, err = run(capsys, "chat", tmp_path)
    assert code == 1
    assert "has no chat template" in err


def test_no_room_for_a_question_is_said_at_once(folder, capsys):  # noqa: F811
    code, _, err = run(capsys, "chat", folder, "--max-tokens", 128)
    assert code == 1
    assert "--max-tokens must be below 128" in err


@pytest.mark.parametrize(
    "lines", [["one", "two", "three"], ["one", "/reset", "one"], [f"{n} " * 9 for n in range(7)]]
)
@pytest.mark.parametrize("options", [(), ("--system", "Be short."), ("--temperature", 0)])
def test_the_cache_of_the_turns_before_changes_no_answer(talk, lines, options):
    """Held against a cache of its own for every turn; among them a reset and a window that is full."""
    real, read = minillm.inference.stream_text, []

    def without(model, tokenizer, ids, params, cache):
        if cache is not True:
            read.append((len(ids), cache.length))
        return real(model, tokenizer, ids, params)

    options = ("--max-tokens", 6, *options)
    expected = talk(*lines, options=options, stream=without)
    assert talk(*lines, options=options) == expected
    assert len(read) == len([line for line in lines if line != "/reset"])


def test_only_what_is_new_is_read(talk, monkeypatch):
    widths, real = [], minillm.models.Llama.forward

    def watched(self, input_ids, *rest, **options):
        widths.append(input_ids.shape[1])
        return real(self, input_ids, *rest, **options)

    monkeypatch.setattr(minillm.models.Llama, "forward", watched)
    _, _, given = talk("one", "two", options=("--max-tokens", 20, "--temperature", 0))
    before, whole = (len(talk.tokenizer.encode(text)) for text in given)
    wide = [width for width in widths if width > 1]
    assert len(wide) == 2
    assert wide[0] == before
    assert 0 < wide[1] <= whole - before  # the question, what stands around it, at most the answer


def interrupted(stream, after):
    """A stream_text whose first answer Ctrl-C ends after so many pieces."""
    turns = []

    def pieces(text):
        for n, piece in enumerate(text):
            if n == after:
                raise KeyboardInterrupt
            yield piece

    class Text:
        def __init__(self, text):
            self.text_stream, self.pieces = text, pieces(text)

        def __iter__(self):
            return self.pieces

        def __getattr__(self, name):
            return getattr(self.text_stream, name)

    def started(*arguments):
        turns.append(stream(*arguments))
        return Text(turns[0]) if len(turns) == 1 else turns[-1]

    return started


@pytest.mark.parametrize("after", range(3))
def test_a_cache_that_an_interrupted_answer_left_serves_the_next(talk, after):
    """Held against a chat that reads everything anew."""
    real, options = minillm.inference.stream_text, ("--max-tokens", 20)
    kept = talk("one", "two", "three", options=options, stream=interrupted(real, after))
    anew = interrupted(lambda *arguments: real(*arguments[:4]), after)
    assert kept == talk("one", "two", "three", options=options, stream=anew)
    assert "[stopped]" in kept[1]


def test_ctrl_c_before_the_first_piece_ends_no_chat(talk):
    real, turns = minillm.inference.stream_text, []

    def stream(*arguments):
        turns.append(1)
        if len(turns) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    _, err, given = talk("one", "two", "three", stream=stream)
    assert "[stopped]" in err
    assert len(given) == 3
    assert "two" not in given[2]
