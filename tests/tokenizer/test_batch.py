"""Batches: shapes, masks and what is refused. Equality with transformers is in tests/parity."""

import itertools
import unicodedata

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.tokenizer import BPETokenizer
from minillm.tokenizer.batch import SIDES
from minillm.tokenizer.normalizers import build_normalizer
from minillm.tokenizer.truncation import rooms, windows


@pytest.fixture(scope="module")
def tokenizer():
    return BPETokenizer.train([], 258, special_tokens=("<|endoftext|>", "<pad>"))


def ids(text):
    return BPETokenizer.train([], 258, special_tokens=("<|endoftext|>", "<pad>")).encode(text)


def test_one_text_and_many(tokenizer):
    assert tokenizer("ab") == {"input_ids": ids("ab"), "attention_mask": [1, 1], "token_type_ids": [0, 0]}
    batch = tokenizer(["ab", "c"], padding=True)
    assert batch["input_ids"] == [ids("ab"), [*ids("c"), 1]]
    assert batch["attention_mask"] == [[1, 1], [1, 0]]
    assert tokenizer(["ab", "c"])["input_ids"] == [ids("ab"), ids("c")]
    assert tokenizer([]) == {"input_ids": [], "attention_mask": [], "token_type_ids": []}


def test_tensors(tokenizer):
    batch = tokenizer(["한국", "c", ""], padding=True, return_tensors="pt")
    assert {name: (value.shape, value.dtype) for name, value in batch.items()} == dict.fromkeys(
        ("input_ids", "attention_mask", "token_type_ids"), (torch.Size([3, 6]), torch.int64)
    )
    assert batch["attention_mask"].sum(1).tolist() == [6, 1, 0]
    assert tokenizer("ab", return_tensors="pt")["input_ids"].tolist() == [ids("ab")]
    assert tokenizer([], padding=True, return_tensors="pt")["input_ids"].shape == (0, 0)


def test_padding_to_a_length_and_truncation(tokenizer):
    batch = tokenizer(["abcdef", "c"], padding="max_length", truncation=True, max_length=4)
    assert batch["input_ids"] == [ids("abcd"), [*ids("c"), 1, 1, 1]]
    assert tokenizer("abcdef", padding="max_length", max_length=4)["input_ids"] == ids("abcdef")


def test_windows():
    assert windows(7, 4, 1) == [(0, 4), (3, 7)]
    assert windows(7, 4) == [(0, 4), (4, 7)]
    assert windows(7, 4, 2, "left") == [(3, 7), (1, 5), (0, 3)]
    assert windows(3, 4, 1) == [(0, 3)]


@settings(deadline=None)
@given(
    length=st.integers(1, 40), room=st.integers(1, 12), stride=st.integers(0, 11), side=st.sampled_from(SIDES)
)
def test_windows_cover_everything_and_share_the_stride(length, room, stride, side):
    stride = min(stride, room - 1)
    found = sorted(windows(length, room, stride, side))
    assert sorted({place for start, end in found for place in range(start, end)}) == list(range(length))
    assert all(end - start <= room for start, end in found)
    assert all(before[1] - after[0] == stride for before, after in itertools.pairwise(found))


@pytest.mark.parametrize(
    ("lengths", "room", "strategy", "kept"),
    [
        ((5, None), 3, "longest_first", (3, 0)),
        ((2, 9), 6, "longest_first", (2, 4)),
        ((9, 2), 6, "longest_first", (4, 2)),
        ((9, 9), 7, "longest_first", (3, 4)),
        ((9, 4), 10, "only_first", (6, 4)),
        ((9, 4), 10, "only_second", (9, 1)),
        ((3, 4), 10, "only_second", (3, 4)),
    ],
)
def test_which_text_is_cut(lengths, room, strategy, kept):
    assert rooms(*lengths, room, strategy) == kept


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: windows(10, 4, 4),
            "stride must be between 0 and 3, got 4",
        ),  # no window would have anything new
        (lambda: windows(10, 4, 9), "stride must be between 0 and 3, got 9"),
        (lambda: windows(10, 4, -1), "stride must be at least 0"),
        (lambda: windows(-1, 4), "length must be at least 0"),
        (lambda: windows(10.0, 4), "length must be an integer"),
        (lambda: windows(10, 4, side="middle"), "side must be one of"),
        (lambda: rooms(10, 50, 40, "longest-first"), "strategy must be one of"),
        (lambda: rooms(10, 50, -1, "longest_first"), "room must be at least 0"),
        (lambda: rooms(10, -5, 3, "longest_first"), "second must be at least 0"),
    ],
)
def test_windows_and_rooms_refuse(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_overflow_comes_back_as_rows(tokenizer):
    batch = tokenizer(
        ["abcdef", "g"], truncation=True, max_length=4, stride=1, padding=True, return_overflowing_tokens=True,
        return_offsets_mapping=True, return_tensors="pt",
    )  # fmt: skip
    assert batch.overflow_to_sample_mapping.tolist() == [0, 0, 1]
    assert batch.offset_mapping[1].tolist() == [[3, 4], [4, 5], [5, 6], [0, 0]]
    assert batch.sequence_ids(1) == [0, 0, 0, None]
    assert batch.to("cpu")["attention_mask"].sum(1).tolist() == [4, 3, 1]
    with pytest.raises(AttributeError, match="a batch has no entry 'labels'"):
        batch.labels  # noqa: B018


def test_words_and_sides(tokenizer):
    batch = tokenizer(["ab", "c"], is_split_into_words=True, return_offsets_mapping=True)
    assert batch.input_ids == ids("abc")
    assert batch.word_ids() == [0, 0, 1]
    assert batch.offset_mapping == [(0, 1), (1, 2), (0, 1)]
    left = tokenizer(["ab", "c"], padding=True, padding_side="left", return_special_tokens_mask=True)
    assert left["attention_mask"] == [[1, 1], [0, 1]]
    assert left["special_tokens_mask"] == [[0, 0], [1, 0]]
    assert tokenizer("abc", padding=True, pad_to_multiple_of=4)["attention_mask"] == [1, 1, 1, 0]


def test_a_side_that_is_none_does_not_pad_in_silence():
    tokenizer = BPETokenizer.train([], 257)
    tokenizer.padding_side = "rigth"
    assert tokenizer("ab")["attention_mask"] == [1, 1]  # nothing to pad
    with pytest.raises(
        ValueError, match="the tokenizer's padding_side must be one of 'right', 'left', got 'rigth'"
    ):
        tokenizer(["ab", "c"], padding=True)


def test_offsets_point_at_the_source():
    """NFC joins three letters of Hangul, a bare accent and its letter; the text of each token is found again."""
    text = "\u1100\u1161\u11a8 e\u0301! 한"
    tokenizer = BPETokenizer.train([], 257)
    assert tokenizer.encode_with_offsets(text)[1][:9] == [(0, 1)] * 3 + [(1, 2)] * 3 + [(2, 3)] * 3
    found, places = [], build_normalizer({"type": "NFC"}).origins(text)
    for place in places:
        found.append(text[place])
    assert len(places) == len(unicodedata.normalize("NFC", text))
    assert found == ["\u1100", " ", "e", "!", " ", "한"]


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        ((None,), {}, "texts must be"),
        ((b"ab",), {}, "texts must be"),
        ((["a", 1],), {}, "texts must be"),
        (({"a"},), {}, "texts must be"),
        (("a", ["b"]), {}, "same kind"),
        ((["a"], "b"), {}, "same kind"),
        ((["a"], ["b", "c"]), {}, "as many"),
        (("a",), {"padding": "longest_one"}, "padding"),
        (("a",), {"padding": 1}, "padding"),
        (("a",), {"truncation": "first"}, "truncation"),
        (("a",), {"truncation": "only_second", "max_length": 4}, None),
        (("abcdef",), {"truncation": "only_second", "max_length": 4}, "needs a text_pair"),
        (
            ("ab", "cdefg"),
            {"truncation": "only_first", "max_length": 4},
            "cannot take 3 tokens from a text of 2",
        ),
        (("abcdef",), {"truncation": True, "max_length": 4, "stride": 4}, "stride must be less"),
        (("abcdef",), {"truncation": True, "max_length": 4, "stride": -1}, "stride"),
        (("a",), {"padding": True, "padding_side": "top"}, "padding_side"),
        (("a",), {"padding": True, "pad_to_multiple_of": 0}, "pad_to_multiple_of"),
        (("a",), {"return_offsets_mapping": 1}, "return_offsets_mapping"),
        (("a",), {"is_split_into_words": True}, "a list of words"),
        (("a",), {"return_lengths": True}, "'return_lengths' is no option here"),
        (("a",), {"truncation": True}, "max_length must be given"),
        (("a",), {"padding": "max_length"}, "max_length must be given"),
        (("a",), {"max_length": 0}, "max_length"),
        (("a",), {"max_length": 2.5}, "max_length"),
        (("a",), {"return_tensors": "np"}, "return_tensors"),
        ((["a", "bc"],), {"return_tensors": "pt"}, "padding=True"),
    ],
)
def test_refusals(tokenizer, args, options, message):
    if message is None:  # nothing to cut, so nothing to refuse
        assert tokenizer(*args, **options)["input_ids"] == ids("a")
        return
    with pytest.raises(ValueError, match=message):
        tokenizer(*args, **options)


def test_padding_without_a_special_token_is_refused():
    bare = BPETokenizer.train([], 256, special_tokens=())
    assert bare.pad_token_id is None
    with pytest.raises(ValueError, match="special token to pad with"):
        bare(["a"], padding=True)
