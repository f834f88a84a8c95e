"""The parts of a tokenizer one by one, on examples whose answers are written in the tokenizers library's guide or in
the standards they follow; random pipelines against the library itself are in tests/parity."""

import pytest

from minillm.tokenizer import BPETokenizer
from minillm.tokenizer.added import AddedToken
from minillm.tokenizer.bpe_encode import BPE
from minillm.tokenizer.decoders import build_decoder
from minillm.tokenizer.normalizers import build_normalizer
from minillm.tokenizer.post_processors import build_post_processor
from minillm.tokenizer.pre_tokenizers import build_pre_tokenizer


@pytest.mark.parametrize(
    ("layout", "text", "expected"),
    [
        ({"type": "NFC"}, "e\u0301 \u1112\u1161\u11ab", "é 한"),
        ({"type": "NFC"}, "\uf914\uf95c\uf9bf", "\u6a02\u6a02\u6a02"),  # 樂 for 낙, 락, 요: hanja change, too
        ({"type": "NFD"}, "한", "\u1112\u1161\u11ab"),
        ({"type": "NFKC"}, "ﬁ ① Ａ", "fi 1 A"),
        ({"type": "Lowercase"}, "ΣΊΣΥΦΟΣ À", "σίσυφοσ à"),
        ({"type": "Strip", "strip_left": True, "strip_right": False}, "\u3000 a ", "a "),
        (
            {"type": "Strip", "strip_left": True, "strip_right": True},
            "\x1c a \x1c",
            "\x1c a \x1c",
        ),  # no blank
        ({"type": "StripAccents"}, "e\u0301a", "ea"),
        ({"type": "Replace", "pattern": {"String": "."}, "content": "\\1"}, "a.b", "a\\1b"),
        ({"type": "Replace", "pattern": {"Regex": " +"}, "content": " "}, "a   b", "a b"),
        ({"type": "Prepend", "prepend": "▁"}, "a", "▁a"),
        ({"type": "Prepend", "prepend": "▁"}, "", ""),
        ({"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}]}, "éà", "ea"),
    ],
)
def test_normalizers(layout, text, expected):
    assert build_normalizer(layout)(text) == expected


@pytest.mark.parametrize(
    ("behavior", "pieces"),  # from the guide of tokenizers, on SplitDelimiterBehavior
    [
        ("Removed", ["the", "final", "countdown"]),
        ("Isolated", ["the", "-", "final", "-", "-", "countdown"]),
        ("MergedWithPrevious", ["the-", "final-", "-", "countdown"]),
        ("MergedWithNext", ["the", "-final", "-", "-countdown"]),
        ("Contiguous", ["the", "-", "final", "--", "countdown"]),
    ],
)
@pytest.mark.parametrize("pattern", [{"String": "-"}, {"Regex": "-"}])
def test_what_becomes_of_a_match(behavior, pieces, pattern):
    layout = {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": False}
    assert build_pre_tokenizer(layout)("the-final--countdown") == pieces


@pytest.mark.parametrize(
    ("layout", "text", "pieces"),
    [
        (None, "a b", ["a b"]),
        ({"type": "Whitespace"}, "Hey friend!  How", ["Hey", "friend", "!", "How"]),
        ({"type": "WhitespaceSplit"}, "Hey friend! ", ["Hey", "friend!"]),
        ({"type": "Punctuation"}, "Hey! ok?", ["Hey", "!", " ok", "?"]),
        ({"type": "Digits", "individual_digits": True}, "a911", ["a", "9", "1", "1"]),
        ({"type": "Digits", "individual_digits": False}, "a911", ["a", "911"]),
        ({"type": "Metaspace", "replacement": "▁"}, "Hey friend", ["▁Hey", "▁friend"]),
        (
            {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never"},
            "Hey friend",
            ["Hey", "▁friend"],
        ),
        ({"type": "Metaspace", "replacement": "▁", "split": False}, "Hey friend", ["▁Hey▁friend"]),
        ({"type": "ByteLevel", "add_prefix_space": True}, "Hi 한", ["ĠHi", "Ġíķľ"]),
        ({"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}, "a b", ["aĠb"]),
    ],
)
def test_pre_tokenizers(layout, text, pieces):
    assert build_pre_tokenizer(layout)(text) == pieces


def test_first_means_the_beginning_of_the_text():
    first = build_pre_tokenizer({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"})
    assert first("a b", starts=True) == ["▁a", "▁b"]
    assert first("a b", starts=False) == ["a", "▁b"]
    dropped = build_normalizer({"type": "Strip", "strip_left": True, "strip_right": False})
    assert dropped.drops_front(" a")
    assert not dropped.drops_front("a ")


@pytest.mark.parametrize(
    ("layout", "tokens", "text"),
    [
        ({"type": "ByteLevel", "add_prefix_space": True}, ["ĠH", "i", "íķ", "ľ", "<끝>"], " Hi한<끝>"),
        ({"type": "Metaspace", "replacement": "▁"}, ["▁a", "▁b"], "a b"),
        ({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never"}, ["▁a", "▁b"], " a b"),
        ({"type": "ByteFallback"}, ["a", "<0xED>", "<0x95>", "<0x9C>", "<0xED>"], "a" + "\ufffd" * 4),
        ({"type": "ByteFallback"}, ["<0xED>", "<0x95>", "<0x9C>", "b", "<0x9C>"], "한b\ufffd"),
        ({"type": "Strip", "content": " ", "start": 1, "stop": 1}, ["  a ", " "], " a"),
        ({"type": "BPEDecoder", "suffix": "</w>"}, ["lo", "w</w>", "a</w>"], "low a"),
        ({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, ["▁a", "▁b"], " a b"),
        ({"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
         [" ", " a"], " a"),
    ],
)  # fmt: skip
def test_decoders(layout, tokens, text):
    assert "".join(build_decoder(layout)(tokens)) == text


def test_what_one_token_adds_inside_a_text():
    """Its bytes, whatever stands around it: the blank at a text's front and half a character included."""
    sentencepiece = [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ]
    inside = build_decoder({"type": "Sequence", "decoders": sentencepiece}).inside
    assert [inside(token) for token in ("▁a", "<0xED>", "한▁")] == [b" a", b"\xed", "한 ".encode()]
    assert build_decoder({"type": "Metaspace", "replacement": "▁"}).inside("▁a") == b" a"
    clip = [{"type": "ByteLevel", "add_prefix_space": True}, {"type": "BPEDecoder", "suffix": "</w>"}]
    assert build_decoder({"type": "Sequence", "decoders": clip}).inside("íķ</w>") == b"\xed\x95 "


def test_post_processors():
    bert = build_post_processor({"type": "BertProcessing", "sep": ["[SEP]", 102], "cls": ["[CLS]", 101]})
    assert bert([7], None) == ([101, 7, 102], [0, 0, 0])
    assert bert([7], [8, 9]) == ([101, 7, 102, 8, 9, 102], [0, 0, 0, 1, 1, 1])
    assert (bert.added(pair=False), bert.added(pair=True)) == (2, 3)
    roberta = build_post_processor({"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0]})
    assert roberta([7], [8]) == ([0, 7, 2, 2, 8, 2], [0] * 6)
    assert build_post_processor(None)([7], [8]) == ([7, 8], [0, 1])


def characters(options=(), added=(), **layout):
    """A tokenizer of characters: l o w and the merges lo, low."""
    vocab = {token: index for index, token in enumerate(["<unk>", "l", "o", "w", "lo", "low", "▁"])}
    return BPETokenizer.from_parts(BPE(vocab, [("l", "o"), ("lo", "w")], dict(options)), added, layout)


def test_what_is_no_token_is_dropped_unknown_or_one_unknown():
    assert characters().encode("low!?lo") == [5, 4]
    assert characters({"unk_token": "<unk>"}).encode("low!?lo") == [5, 0, 0, 4]
    assert characters({"unk_token": "<unk>", "fuse_unk": True}).encode("low!?lo") == [5, 0, 4]
    with pytest.raises(ValueError, match="unk_token '<x>' is not in the vocabulary"):
        characters({"unk_token": "<x>"})


def test_ignore_merges_takes_a_whole_piece():
    vocab = {"a": 0, "b": 1, "c": 2, "bc": 3, "abc": 4}
    merges = [("b", "c")]
    assert BPETokenizer.from_parts(BPE(vocab, merges)).encode("abc") == [0, 3]
    assert BPETokenizer.from_parts(BPE(vocab, merges, {"ignore_merges": True})).encode("abc") == [4]


def test_added_tokens_keep_their_flags():
    def ids(text, **flags):
        tokens = [AddedToken(7, "wo", **flags), AddedToken(8, " ")]
        return characters(added=tokens).encode(text)

    assert ids("lowo wo") == [4, 7, 8, 7]
    assert ids("lowo wo", single_word=True) == [5, 2, 8, 7]
    assert ids("w  wo  w") == [3, 8, 8, 7, 8, 8, 3]
    assert ids("w  wo  w", lstrip=True) == [3, 8, 8, 7, 8, 8, 3]  # those blanks were tokens before
    unknown = {"unk_token": "<unk>"}
    assert characters(unknown, [AddedToken(7, "wo", lstrip=True)]).encode("w  wo w") == [3, 7, 0, 3]
    assert characters(unknown, [AddedToken(7, "wo", rstrip=True)]).encode("w wo  w") == [3, 0, 7, 3]
    for special, expected in ((True, [3, 2]), (False, [7])):
        assert characters(added=[AddedToken(7, "wo", special=special)]).encode("wo", ()) == expected


def test_a_token_may_be_looked_for_in_normalised_text():
    lower = {"normalizer": {"type": "Lowercase"}}
    assert characters(added=[AddedToken(7, "LOW", normalized=True)], **lower).encode("LOWlow") == [7, 7]
    assert characters(added=[AddedToken(7, "LOW", normalized=False)], **lower).encode("LOWlow") == [7, 5]


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ([AddedToken(3, "new")], "ids 0 to 7"),
        ([AddedToken(9, "new")], "ids 0 to 7"),
        ([AddedToken(5, "lo")], "two ids, 4 and 5"),
    ],
)
def test_added_tokens_that_do_not_fit_are_refused(added, message):
    with pytest.raises(ValueError, match=message):
        characters(added=added)


def test_a_token_of_blanks_that_the_token_in_front_has_taken_is_not_there():
    """As in tokenizers 0.23: with lstrip nothing is left of it."""
    tokens = [AddedToken(7, "wo", rstrip=True), AddedToken(8, "  ", lstrip=True)]
    assert characters(added=tokens).encode("wo  w") == [7, 3]
    assert characters(added=tokens).encode("w  wo") == [3, 8, 7]
