"""tokenizer.json files made with the tokenizers library: 30 pipelines, hostile strings, equal ids and equal text."""

import json
import unicodedata

import pytest

from minillm.data import korean_documents, python_docs
from minillm.tokenizer import load_tokenizer
from minillm.tokenizer.normalizers import build_normalizer
from minillm.tokenizer.pre_tokenizers import build_pre_tokenizer
from tests.tokenizer.hostile import hostile

tokenizers = pytest.importorskip("tokenizers", reason="the peer: pip install -e '.[parity]'")
N, P, D, T = (
    getattr(tokenizers, name) for name in ("normalizers", "pre_tokenizers", "decoders", "processors")
)
Token = tokenizers.AddedToken

GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|"
    r"\s+(?!\S)|\s+"
)
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BYTES = P.ByteLevel(add_prefix_space=False, use_regex=False)


def regex_split(pattern, behavior="isolated", invert=False):
    return P.Split(tokenizers.Regex(pattern), behavior, invert)


def sentencepiece():
    return D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)])


FLAGS = [
    Token("lo", single_word=True, special=False, normalized=False),
    Token("<mask>", lstrip=True, special=True),
    Token("[CLS]", rstrip=True, lstrip=True, special=True),
    Token("Ünï", normalized=True, special=False),
    Token("<|끝|>", normalized=True, special=True),
]
FALLBACK = {"byte_fallback": True, "unk_token": "<unk>", "fuse_unk": True}

# name: (normalizer, pre-tokenizer, decoder, options of the model, added tokens)
PIPELINES = {
    "gpt2": (None, P.ByteLevel(add_prefix_space=False), D.ByteLevel(), {}, []),
    "gpt2 prefix": (None, P.ByteLevel(add_prefix_space=True), D.ByteLevel(), {}, FLAGS),
    "gpt4": (None, P.Sequence([regex_split(GPT4), BYTES]), D.ByteLevel(), {}, []),
    "o200k": (None, P.Sequence([regex_split(O200K), BYTES]), D.ByteLevel(), {}, FLAGS),
    "llama3": (None, P.Sequence([regex_split(GPT4), BYTES]), D.ByteLevel(), {"ignore_merges": True}, []),
    "qwen2": (N.NFC(), P.Sequence([regex_split(GPT4), BYTES]), D.ByteLevel(), {}, FLAGS),
    "deepseek": (
        N.Sequence([]),
        P.Sequence(
            [
                regex_split(r"[\r\n]"),
                regex_split(r"\s?\p{L}+"),
                regex_split(r"\s?\p{P}+"),
                regex_split(r"[一-龥ࠀ-一가-퟿]+"),
                P.Digits(individual_digits=True),
                BYTES,
            ]
        ),
        D.ByteLevel(),
        {},
        [],
    ),
    "starcoder": (
        None,
        P.Sequence([P.Digits(individual_digits=True), P.ByteLevel(False)]),
        D.ByteLevel(),
        {},
        FLAGS,
    ),
    "lower bytes": (N.Sequence([N.NFKC(), N.Lowercase()]), P.ByteLevel(False), D.ByteLevel(), {}, FLAGS),
    "words": (None, P.Sequence([regex_split(r"\w+|\s+|."), BYTES]), D.ByteLevel(), {}, []),
    "removed": (None, P.Sequence([regex_split(r"\s+", "removed"), BYTES]), D.ByteLevel(), {}, []),
    "inverted": (None, P.Sequence([regex_split(r"\S+", "removed", True), BYTES]), None, {}, []),
    "previous": (
        None,
        P.Sequence([regex_split(r"[\s\p{P}]", "merged_with_previous"), BYTES]),
        D.ByteLevel(),
        {},
        [],
    ),
    "next": (None, P.Sequence([P.Split(" ", "merged_with_next"), BYTES]), D.ByteLevel(), {}, FLAGS),
    "contiguous": (None, P.Sequence([regex_split(r"\p{L}", "contiguous"), BYTES]), D.ByteLevel(), {}, []),
    "lines": (None, P.Sequence([regex_split(r"^.*$|\h{2,3}"), BYTES]), D.ByteLevel(), {}, []),
    "llama2": (
        N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")]),
        None,
        sentencepiece(),
        FALLBACK,
        FLAGS,
    ),
    "gemma": (
        N.Replace(" ", "▁"),
        P.Split(" ", "merged_with_previous"),
        D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse()]),
        FALLBACK,
        [Token("\n\n", normalized=False, special=False), Token("   ", normalized=False, special=False)],
    ),
    "metaspace always": (None, P.Metaspace(), D.Metaspace(), {"unk_token": "<unk>"}, FLAGS),
    "metaspace first": (
        N.Strip(),
        P.Metaspace(prepend_scheme="first", split=False),
        D.Metaspace(prepend_scheme="first", split=False),
        FALLBACK,
        FLAGS,
    ),
    "metaspace never": (
        N.NFD(),
        P.Metaspace(prepend_scheme="never"),
        D.Metaspace(prepend_scheme="never"),
        {},
        [],
    ),
    "word start": (
        N.StripAccents(),
        P.Sequence([P.WhitespaceSplit(), P.Metaspace(prepend_scheme="first")]),
        D.Metaspace(),
        {"unk_token": "<unk>"},
        FLAGS,
    ),
    "whitespace": (N.NFKD(), P.Whitespace(), None, {"unk_token": "<unk>", "fuse_unk": True}, []),
    "whitespace split": (N.Lowercase(), P.WhitespaceSplit(), D.Fuse(), {}, FLAGS),
    "punctuation": (
        N.Sequence([N.NFD(), N.StripAccents(), N.Lowercase()]),
        P.Sequence([P.WhitespaceSplit(), P.Punctuation("merged_with_next"), P.Digits(False)]),
        None,
        {"unk_token": "<unk>"},
        FLAGS,
    ),
    "clip": (
        N.Sequence([N.NFC(), N.Replace(tokenizers.Regex(r"\s+"), " "), N.Lowercase()]),
        P.Sequence([regex_split(r"'s|'t|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", "removed", True), BYTES]),
        D.Sequence([D.ByteLevel(), D.BPEDecoder("</w>")]),
        {"end_of_word_suffix": "</w>", "unk_token": "<unk>"},
        [],
    ),
    "continuing": (
        N.Strip(True, False),
        P.Whitespace(),
        D.Replace("##", ""),
        {"continuing_subword_prefix": "##", "unk_token": "<unk>"},
        FLAGS,
    ),
    "replace": (
        N.Sequence([N.Replace(tokenizers.Regex(r"[aeiou]+"), "_"), N.Replace("한", ""), N.Prepend("x")]),
        P.ByteLevel(False),
        D.Sequence([D.ByteLevel(), D.Replace(tokenizers.Regex(r"_+"), "-"), D.Strip("x", 2, 0)]),
        {},
        [],
    ),
    "bytes, then more": (
        None,
        P.Sequence([P.ByteLevel(True), P.Split("Ġ", "isolated")]),
        D.ByteLevel(),
        {},
        [],
    ),
    "no cut": (None, None, D.ByteFallback(), {"byte_fallback": True}, []),
}


@pytest.fixture(scope="module")
def texts():
    korean = [document.text[:400] for document in korean_documents(30, seed=4)]
    english = [document.text[:1500] for document in python_docs()[:12]]
    return [*korean, *english, *(hostile(seed) for seed in range(10_000, 10_060))]


def make(name, texts):
    """A tokenizer of the tokenizers library, its vocabulary trained by it through this very pipeline."""
    normalizer, pre_tokenizer, decoder, options, added = PIPELINES[name]
    affixes = {key: value for key, value in options.items() if key.endswith("fix")}
    peer = tokenizers.Tokenizer(tokenizers.models.BPE(**affixes))
    if normalizer is not None:
        peer.normalizer = normalizer
    if pre_tokenizer is not None:
        peer.pre_tokenizer = pre_tokenizer
    byte_level = '"ByteLevel"' in peer.to_str()
    alphabet = P.ByteLevel.alphabet() if byte_level else list("abcdefgh ▁한글")
    special = ["<unk>", "<|endoftext|>", "<s>", "</s>"]
    if "byte_fallback" in options:
        special += [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=len(special) + 700,
        special_tokens=special,
        initial_alphabet=alphabet,
        limit_alphabet=400,
        max_token_length=12,
        show_progress=False,
        **affixes,
    )
    peer.train_from_iterator(texts, trainer)
    content = json.loads(peer.to_str())
    content["model"].update(options)
    if "byte_fallback" in options:  # those are ordinary tokens in published files
        content["added_tokens"] = [t for t in content["added_tokens"] if not t["content"].startswith("<0x")]
    peer = tokenizers.Tokenizer.from_str(json.dumps(content))
    if decoder is not None:
        peer.decoder = decoder
    peer.add_tokens(added)
    return peer


def differences(peer, ours, seeds):
    """What differs first, or None."""
    for seed in seeds:
        text = hostile(seed)
        theirs = peer.encode(text, add_special_tokens=False)
        ids = ours.encode(text)
        if ids != theirs.ids:
            return "ids", seed, text, ids, theirs.ids
        if (found := ours.encode_with_offsets(text)) != (ids, theirs.offsets):
            return "offsets", seed, text, found, theirs.offsets
        for skip in (False, True):
            decoded = ours.decode(ids, skip_special_tokens=skip)
            if decoded != peer.decode(ids, skip_special_tokens=skip):
                return "text", seed, text, decoded, peer.decode(ids, skip_special_tokens=skip)
    return None


def check(name, texts, tmp_path, seeds):
    peer = make(name, texts)
    peer.save(str(tmp_path / "tokenizer.json"))
    ours = load_tokenizer(tmp_path)
    assert ours.vocab == peer.get_vocab()
    assert differences(peer, ours, seeds) is None
    for text in map(hostile, seeds[:10]):
        ids, cut = ours.encode(text), len(text) // 3
        assert list(ours.encode_iterable([text[:cut], text[cut : 2 * cut], text[2 * cut :]])) == ids
        assert ours.decode_bytes(ids[:cut]) + ours.decode_bytes(ids[cut:]) == ours.decode_bytes(ids)
    saved = tokenizers.Tokenizer.from_file(str(ours.save(tmp_path / "again")))  # and back through the peer
    assert json.loads(saved.to_str()) == json.loads(peer.to_str())


def test_there_are_thirty_pipelines():
    assert len(PIPELINES) == 30


@pytest.mark.parametrize("name", PIPELINES)
def test_ids_and_text_are_tokenizers(name, texts, tmp_path):
    check(name, texts, tmp_path, range(60))


@pytest.mark.soak
@pytest.mark.parametrize("name", PIPELINES)
def test_ids_and_text_are_tokenizers_two_thousand_times(name, texts, tmp_path):
    check(name, texts, tmp_path, range(100, 2100))


def a_character_at_a_time(part, theirs, frame):
    """Characters this Python knows on which the two differ."""
    known = (
        chr(point) for point in range(0x110000) if unicodedata.category(chr(point)) not in ("Cn", "Cs", "Co")
    )
    return [hex(ord(one)) for one in known if part(frame.format(one)) != theirs(frame.format(one))]


@pytest.mark.soak
@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"])
def test_normalizers_on_every_character(form):
    ours, peer = build_normalizer({"type": form}), getattr(N, form)()
    assert a_character_at_a_time(ours, peer.normalize_str, "a{}\u0301") == []


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["Whitespace", "WhitespaceSplit", "Punctuation", "Digits"])
def test_pre_tokenizers_on_every_character(kind):
    options = {"individual_digits": True} if kind == "Digits" else {}
    ours, peer = build_pre_tokenizer({"type": kind, **options}), getattr(P, kind)(**options)

    def theirs(text):
        return [piece for piece, _ in peer.pre_tokenize_str(text)]

    assert a_character_at_a_time(ours, theirs, "a{}1") == []


# --- what is put around texts -----------------------------------------------------------------------------------

BOS, END = ("<s>", 2), ("</s>", 3)
AROUND = {
    "none": None,
    "bytes": T.ByteLevel(),
    "bos": T.TemplateProcessing("<s> $A", "<s> $A <s>:1 $B:1", [BOS]),
    "bos and bytes": T.Sequence(
        [T.ByteLevel(), T.TemplateProcessing("<s> $A", "<s> $A </s> $B:1", [BOS, END])]
    ),
    "end": T.TemplateProcessing("$A </s>", "$B:1 </s>:1 $A </s> </s>", [END]),
    "bert": T.BertProcessing(END, BOS),
    "roberta": T.RobertaProcessing(END, BOS),
}


@pytest.fixture(scope="module")
def small_peer(texts):
    return make("gpt2", texts)


@pytest.mark.parametrize("name", AROUND)
def test_calling_is_transformers(name, small_peer, tmp_path):
    transformers = pytest.importorskip("transformers", reason="the peer: pip install -e '.[parity]'")
    content = json.loads(small_peer.to_str())
    peer = tokenizers.Tokenizer.from_str(json.dumps(content))
    if AROUND[name] is not None:
        peer.post_processor = AROUND[name]
    peer.save(str(tmp_path / "tokenizer.json"))
    ours = load_tokenizer(tmp_path)
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_object=peer, pad_token="<unk>")
    rows = [hostile(seed) for seed in range(12)]
    for pair in (None, rows[::-1]):
        for options in (
            {},
            {"padding": True},
            {"padding": "max_length", "truncation": True, "max_length": 11},
            {"truncation": True, "max_length": 4},
        ):
            expected = theirs(rows, pair, return_token_type_ids=True, **options)
            assert ours(rows, pair, **options) == dict(expected)
    assert ours.encode(rows[0]) == theirs(rows[0], add_special_tokens=False)["input_ids"]
    if name in ("bos", "bert"):
        with pytest.raises(ValueError, match="must leave room for"):
            ours("a", "b", truncation=True, max_length=1)
