"""Text while it is written: whole characters, no part of a stop string, and in sum the text of the end."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.inference import SamplingParams, generate_batch, stream_text
from minillm.inference.stopping import Stopper
from minillm.inference.streaming import PieceReader
from minillm.models import T5, Llama, LlamaConfig, T5Config
from minillm.tokenizer import BPETokenizer
from tests.helpers import soak_count
from tests.inference.test_inference import spread
from tests.inference.test_stopping import Bytes, Model, ids_of, llama2c  # noqa: F401


def pieces_of(tokenizer, prompt, new, **params):
    """(the pieces, the stopper) of new tokens that come one by one until they are stopped."""
    stop = Stopper(Model(), SamplingParams(max_tokens=99, **params), tokenizer, prompt)
    reader, pieces = PieceReader(stop), []
    for i, token in enumerate(new, 1):
        done = stop(token)
        pieces.append(reader.next_piece(done or i == len(new)))
        if done:
            break
    return pieces, stop


def test_half_a_character_waits():
    pieces, _ = pieces_of(Bytes(), [97], list("b가😀".encode()))
    assert pieces == ["b", "", "", "가", "", "", "", "😀"]
    pieces, _ = pieces_of(Bytes(), [97, 0xEA, 0xB0], [0x80, 98])  # a character that the prompt begins
    assert pieces == ["가", "b"]
    assert pieces_of(Bytes(), [97], [98, 0xEA])[0] == ["b", "\ufffd"]  # nothing more comes: as it is
    assert pieces_of(Bytes(), [97], [0xEA, 98, 99])[0] == ["", "\ufffdb", "c"]


def test_half_a_stop_string_waits():
    assert pieces_of(Bytes(), [97], list(b"a end"), stop="end")[0] == ["a", " ", "", "", ""]
    assert pieces_of(Bytes(), [97], list(b"enend"), stop="end")[0] == ["", "", "en", "", ""]
    assert pieces_of(Bytes(), [97], list(b"ene"), stop="end")[0] == ["", "", "ene"]  # the text ends here
    assert pieces_of(Bytes(), [97], list(b"abcd"), stop=["abcx", "bcd"])[0] == ["", "", "", "a"]


def test_a_stop_string_that_a_special_token_begins():
    assert pieces_of(Bytes(), [97], [98, 256, 99, 100], stop="<|x|>cd")[0] == ["b", "", "", ""]
    assert pieces_of(Bytes(), [97], [98, 256, 99, 101], stop="<|x|>cd")[0] == ["b", "", "", "ce"]


def test_blanks_of_a_llama(llama2c):  # noqa: F811
    new = ids_of(llama2c, " a", " b", " the", "a", "<0xEA>", "<0xB0>", "<0x80>", " end.") * 3
    for prompt in (["<s>"], ["<s>", " the"], ["b"], [" the"] * 30, ["<s>"] * 30):
        pieces, stop = pieces_of(llama2c, ids_of(llama2c, *prompt), new)
        assert "".join(pieces) == stop.text()
        assert pieces[3] == "a"
        assert pieces[4:7] == ["", "", "가"]


@given(
    st.lists(st.sampled_from([*b"abc", 0xEA, 0xB0, 0x80, 256, 0xFF]), max_size=6),
    st.lists(st.sampled_from([*b"abc", 0xEA, 0xB0, 0x80, 256, 0xFF]), min_size=1, max_size=30),
    st.lists(st.text("abc가", min_size=1, max_size=4) | st.just("<|x|>a"), max_size=3),
    st.integers(0, 5),
)
@settings(max_examples=soak_count(2000), deadline=None)
def test_the_pieces_are_the_text(prompt, new, stops, least):
    pieces, stop = pieces_of(Bytes(), prompt, new, stop=stops, min_tokens=least)
    assert "".join(pieces) == stop.text()
    whole = Bytes().decode([*prompt, *stop.new], True)
    assert not any(piece.endswith("\ufffd") for piece in pieces[:-1] if not piece.strip("\ufffd"))
    assert stop.cut is not None or whole.endswith("".join(pieces))


EMOJI = st.sampled_from(["😀", "👨‍👩‍👧", "🇰🇷", "👍🏽", "한", "글", "각", "é", "e\u0301", "a", " ", "\n"])


@given(st.lists(EMOJI, max_size=4).map("".join), st.lists(EMOJI, min_size=1, max_size=10).map("".join))
@settings(max_examples=soak_count(2000), deadline=None)
def test_no_piece_holds_half_a_character(prompt, text):
    """A token a byte: every piece is whole characters, and comes with the byte that completes it."""
    data = text.encode()
    pieces, _ = pieces_of(Bytes(), list(prompt.encode()) or [97], list(data))
    assert "".join(pieces) == text
    assert "\ufffd" not in "".join(pieces)
    shown = ""
    for n, piece in enumerate(pieces, 1):
        shown += piece
        assert shown == data[:n].decode(errors="ignore")


@given(st.binary(max_size=4), st.binary(min_size=1, max_size=30))
@settings(max_examples=soak_count(2000), deadline=None)
def test_random_bytes_lose_nothing_and_tear_no_character(prompt, data):
    """What is no UTF-8 shows as U+FFFD, as Python decodes the whole; what is a character comes in one piece."""
    pieces, stop = pieces_of(Bytes(), list(prompt), list(data), ignore_eos=True)
    assert "".join(pieces) == stop.text()
    whole = (prompt + data).decode(errors="replace")
    assert whole.endswith("".join(pieces))
    # what was shown stays true: it stands at the front of what comes out in the end
    before = prompt.decode(errors="replace")
    same = next((i for i, pair in enumerate(zip(before, whole)) if pair[0] != pair[1]), len(before))
    assert "".join(pieces) == whole[min(same, len(whole)) :]


KOREAN = "가나다 끝. 그 끝이 아니라 끝나지 않은 끄트머리"


@given(st.data(), st.sampled_from(["끝", "끝.", "나지", " 끄", "다 끝"]))
@settings(max_examples=soak_count(1000), deadline=None)
def test_stop_strings_of_characters_that_tokens_cut_in_two(data, stop):
    """Tokens of one to five bytes, cut anywhere: a stop string is seen with the token that completes it."""
    text, tokens = KOREAN.encode(), []
    while sum(map(len, tokens)) < len(text):
        at = sum(map(len, tokens))
        tokens.append(text[at : at + data.draw(st.integers(1, 5))])

    class Pieces(Bytes):
        def decode_bytes(self, ids, skip_special_tokens=False):
            return b"".join(tokens[i] for i in ids)

    pieces, stopper = pieces_of(Pieces(), [], list(range(len(tokens))), stop=stop, ignore_eos=True)
    assert "".join(pieces) == KOREAN[: KOREAN.index(stop)]
    end = len(KOREAN[: KOREAN.index(stop) + len(stop)].encode())
    assert sum(map(len, tokens[: len(stopper.new) - 1])) < end <= sum(map(len, tokens[: len(stopper.new)]))


# With models


@pytest.fixture(scope="module")
def tokenizer():
    return BPETokenizer.train(["가나다 라마바 the cat 😀"] * 3, 300, min_frequency=1)


@pytest.fixture(scope="module")
def llama(tokenizer):
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
    options = {"max_position_embeddings": 80, "eos_token_id": tokenizer.token_to_id("<|endoftext|>")}
    return spread(Llama(LlamaConfig(vocab_size=tokenizer.vocab_size, **sizes, **options), seed=3))


def test_pieces_together_are_the_text_of_generate_batch(llama, tokenizer):
    held = 0
    for seed in range(soak_count(200)):
        stop = [] if seed % 2 else ["a", "가", " t"]
        params = SamplingParams(max_tokens=40, seed=seed, stop=stop)
        prompt = ["가나", "the", "라 "][seed % 3]
        text = stream_text(llama, tokenizer, prompt, params)
        pieces = list(text)
        [expected] = generate_batch(llama, [tokenizer.encode(prompt)], params, tokenizer)
        assert "".join(pieces) == text.text == expected.text
        assert (text.token_ids, text.finish_reason) == (expected.token_ids, expected.finish_reason)
        held += len(text.token_ids) - len(pieces)
    assert held


def test_a_text_can_be_left_before_its_end(llama, tokenizer):
    text = stream_text(llama, tokenizer, "the", SamplingParams(max_tokens=40, seed=1))
    first = next(text)
    assert (text.text, text.finish_reason) == (first, None)
    assert text.token_ids
    assert "".join(text) == text.text.removeprefix(first)


def test_an_encoder_decoder(tokenizer):
    model = T5(
        T5Config(vocab_size=tokenizer.vocab_size, d_model=8, d_kv=3, d_ff=12, num_heads=2, num_layers=1)
    ).eval()
    params = SamplingParams(max_tokens=9, seed=2)
    text = stream_text(model, tokenizer, "reads", params)
    [expected] = generate_batch(model, [tokenizer("reads")["input_ids"]], params, tokenizer)
    assert "".join(text) == expected.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokenizer": None}, "tokenizer must be a tokenizer"),
        ({"prompt": ""}, "at least one token"),
        ({"params": SamplingParams(n=2)}, "generate_batch"),
        ({"params": SamplingParams(beams=2)}, "known at its end only"),
        ({"params": SamplingParams(best_of=2)}, "known at its end only"),
        ({"params": {}}, "params must be SamplingParams"),
        ({"model": None}, "model must be a language model"),
    ],
)
def test_wrong_calls_are_refused_at_the_call(llama, tokenizer, change, message):
    with pytest.raises(ValueError, match=message):
        stream_text(**{"model": llama, "tokenizer": tokenizer, "prompt": "the"} | change)


def test_a_tokenizer_of_another_model(llama):
    with torch.no_grad():
        text = stream_text(
            llama, BPETokenizer.train(["a"], 257), [1, 2], SamplingParams(max_tokens=60, seed=1)
        )
        with pytest.raises(ValueError, match="do not belong together"):
            list(text)


def test_a_program_may_end_while_texts_are_written():
    """The layers of a model are put back at the end of a text; a program that ends before then has none any more."""
    code = """
from minillm.inference import Engine, SamplingParams, stream
from minillm.models import GPT2, GPT2Config
model = GPT2(GPT2Config(vocab_size=64, n_positions=32, n_embd=8, n_layer=1, n_head=2))
params = SamplingParams(max_tokens=9)
tokens = stream(model, [1, 2], params)
engine = Engine(GPT2(model.config), num_blocks=8)
engine.add_request([1, 2], params)
print(len(engine.step()), next(tokens) < 64)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr, done.returncode) == ("1 True\n", "", 0)
