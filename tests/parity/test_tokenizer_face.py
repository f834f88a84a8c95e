"""Calling a tokenizer against transformers' fast tokenizers: every option, random and hostile texts, one and pairs.

The same tokenizer.json is opened by both. Random options come from a seed; where transformers refuses, we must."""

import random

import pytest

from minillm.data import korean_documents, python_docs
from minillm.tokenizer import BPETokenizer, UnigramTokenizer, WordPieceTokenizer, load_tokenizer
from tests.helpers import soak_count
from tests.tokenizer.hostile import hostile

tokenizers = pytest.importorskip("tokenizers", reason="the peer: pip install -e '.[parity]'")
transformers = pytest.importorskip("transformers", reason="the peer: pip install -e '.[parity]'")
T = tokenizers.processors


def words():
    return [d.text[:600] for d in korean_documents(20, seed=4)] + [d.text[:900] for d in python_docs()[:8]]


def bert():
    letters = sorted({c for text in map(hostile, range(40)) for c in text.lower() if c.isalnum()})
    tokens = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *letters,
        *("##" + c for c in letters),
        "low",
        "##est",
    ]
    return WordPieceTokenizer.from_vocab({token: index for index, token in enumerate(tokens)})


def roberta():
    ours = BPETokenizer.train(words(), 700, ("<s>", "<pad>", "</s>", "<unk>", "<mask>"))
    layout = {**ours.layout, "post_processor": {
        "type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": True,
        "add_prefix_space": False,
    }}  # fmt: skip
    return BPETokenizer.from_parts(ours.model, ours.added_tokens.values(), layout)


def t5():
    counts = {}
    for word in " ".join(words()).split():
        for piece in ("▁" + word, *("▁" + word)):
            counts[piece] = counts.get(piece, 0) + 1
    pieces = [(piece, -10 / n) for piece, n in sorted(counts.items()) if n > 2]
    return UnigramTokenizer.from_vocab([("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *pieces])


def plain():
    return BPETokenizer.train(words(), 600, ("<|endoftext|>",))


MAKERS = {maker.__name__: maker for maker in (bert, roberta, t5, plain)}


@pytest.fixture(scope="module", params=MAKERS)
def both(request, tmp_path_factory):
    ours = MAKERS[request.param]()
    file = ours.save(tmp_path_factory.mktemp("tokenizer") / "tokenizer.json")
    pad = next(name for name, index in ours.special_tokens.items() if index == ours.pad_token_id)
    return load_tokenizer(file), transformers.PreTrainedTokenizerFast(tokenizer_file=str(file), pad_token=pad)


def text(rng, split):
    if split:
        return [hostile(rng.randrange(10**6))[:30] for _ in range(rng.randrange(1, 6))]
    return hostile(rng.randrange(10**6))[: rng.choice((5, 80, 400))]


def arguments(rng):
    """(texts, second texts, options) of one call."""
    split = rng.random() < 0.2
    many = rng.random() < 0.7
    rows = rng.randrange(1, 4)
    texts = [text(rng, split) for _ in range(rows)] if many else text(rng, split)
    pairs = None
    if rng.random() < 0.5:
        pairs = [text(rng, split) for _ in range(rows)] if many else text(rng, split)
    strategies = ("longest_first", "only_first", "only_second") if pairs is not None else ("longest_first",)
    options = {
        "padding": rng.choice((False, True, "longest", "max_length", "do_not_pad")),
        "truncation": rng.choice(("do_not_truncate", True, *strategies, *strategies)),
        "max_length": rng.randrange(6, 60),
        "stride": rng.choice((0, 0, 1, 2, 5)),
        "add_special_tokens": rng.random() < 0.8,
        "is_split_into_words": split,
        "padding_side": rng.choice((None, "left", "right")),
        "pad_to_multiple_of": rng.choice((None, None, 8)),
        **{
            name: rng.random() < 0.6
            for name in (
                "return_overflowing_tokens", "return_special_tokens_mask", "return_offsets_mapping",
                "return_attention_mask", "return_token_type_ids",
            )
        },
    }  # fmt: skip
    return texts, pairs, options


def attempt(tokenizer, texts, pairs, options):
    """(what it gives, or None where it refuses; the object)."""
    try:
        batch = tokenizer(texts, pairs, **options)
    except BaseException as error:  # a panic of the Rust library is no Exception
        if isinstance(error, KeyboardInterrupt):
            raise
        return None, error
    return dict(batch), batch


def check(both, seeds):
    ours, theirs = both
    refused = 0
    for seed in seeds:
        rng = random.Random(seed)
        texts, pairs, options = arguments(rng)
        roberta = type(ours.post_processor).__name__ == "RobertaProcessing" and options["add_special_tokens"]
        if options["return_overflowing_tokens"] and ("B", 1) not in ours.post_processor.pair and not roberta:
            options["return_token_type_ids"] = (
                False  # theirs are the template's in the first row only, then 0 and 1
            )
        ours.truncation_side = theirs.truncation_side = rng.choice(("right", "left"))
        expected, peer = attempt(theirs, texts, pairs, options)
        found, batch = attempt(ours, texts, pairs, options)
        assert found == expected, (seed, options, batch, peer)
        if expected is None:
            assert isinstance(batch, ValueError), (seed, batch)
            refused += 1
            continue
        for row in range(len(peer.encodings)):
            assert batch.word_ids(row) == peer.word_ids(row), (seed, options)
            assert batch.sequence_ids(row) == peer.sequence_ids(row), (seed, options)
    return refused


def test_every_option_is_transformers(both):
    assert check(both, range(60)) < 30


@pytest.mark.soak
def test_every_option_is_transformers_thousands_of_times(both):
    check(both, range(1000, 1000 + soak_count(5000)))


def test_a_list_of_pairs_is_two_lists(both):
    ours, theirs = both
    first, second = words()[:4], words()[4:8]
    for texts in (
        [list(pair) for pair in zip(first, second)],
        list(zip(first, second)),
        [(first[0], second[0])],
    ):
        assert dict(ours(texts)) == dict(theirs(texts, return_token_type_ids=True))


def test_batch_decode_is_transformers(both):
    ours, theirs = both
    batch = ours(words()[:6], padding=True, truncation=True, max_length=40)["input_ids"]
    for skip in (False, True):
        expected = theirs.batch_decode(batch, skip_special_tokens=skip)
        assert ours.batch_decode(batch, skip_special_tokens=skip) == expected
    with pytest.raises(ValueError, match="sequences must be rows of ids, got 5"):
        ours.batch_decode(5)


@pytest.mark.parametrize("make", [bert, roberta, t5, plain])
def test_a_saved_folder_gives_transformers_the_inputs_of_its_kind(make, tmp_path):
    """BERT's have token types, as transformers' own class for BERT gives them; the others have none."""
    ours = make()
    ours.save(tmp_path)
    peer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    found = peer("low est", "lowest")
    wanted = ours("low est", "lowest", return_token_type_ids=make is bert)
    assert {name: list(values) for name, values in found.items()} == dict(wanted)
    if make is bert:
        assert found["token_type_ids"][-1] == 1
        assert set(peer.model_input_names) == set(transformers.BertTokenizer.model_input_names)


def test_the_input_names_of_a_file_are_kept(tmp_path):
    """DistilBERT has BERT's tokenizer, but takes no token types."""
    ours = bert()
    ours.model_input_names = ["input_ids", "attention_mask"]
    ours.save(tmp_path / "one")
    load_tokenizer(tmp_path / "one").save(tmp_path / "two")
    peer = transformers.AutoTokenizer.from_pretrained(tmp_path / "two")
    assert set(peer("low", "est")) == {"input_ids", "attention_mask"}


def test_names_of_tokens_are_transformers(both):
    ours, theirs = both
    for seed in range(30):
        ids = ours.encode(hostile(seed)[:200])
        assert ours.convert_ids_to_tokens(ids) == theirs.convert_ids_to_tokens(ids)
        framed = ours(hostile(seed)[:200]).input_ids
        kept = ours.convert_ids_to_tokens(framed, skip_special_tokens=True)
        # a file alone does not tell transformers which role its special tokens have
        assert kept == [
            theirs.convert_ids_to_tokens(i) for i in framed if i not in ours.special_tokens.values()
        ]
        if ours.unk_token_id not in ids:
            assert ours.tokenize(hostile(seed)[:200]) == theirs.tokenize(hostile(seed)[:200])
    names = [ours.id_to_token(index) for index in range(0, len(ours), 7)]
    assert ours.convert_tokens_to_ids(names) == theirs.convert_tokens_to_ids(names)
    assert ours.convert_tokens_to_ids(names[3]) == theirs.convert_tokens_to_ids(names[3])
    assert ours.convert_ids_to_tokens(5) == theirs.convert_ids_to_tokens(5)
    assert (len(ours), ours.get_vocab()) == (len(theirs), theirs.get_vocab())


def test_roles_of_special_tokens_are_transformers(tmp_path):
    ours = bert()
    ours.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for role in ("cls_token", "sep_token", "mask_token", "unk_token", "pad_token"):
        assert getattr(ours, f"{role}_id") == getattr(theirs, f"{role}_id") is not None
    for role in ("cls_token", "sep_token", "mask_token", "unk_token"):
        assert getattr(ours, role) == getattr(theirs, role)
    assert (ours.bos_token, ours.eos_token_id) == (None, None)
    assert ours.convert_tokens_to_ids(["##est", "no such token"]) == theirs.convert_tokens_to_ids(
        ["##est", "no such token"]
    )
    gpt = plain()
    assert gpt.eos_token == "<|endoftext|>"
    assert gpt.convert_tokens_to_ids("no such token") is None
    gpt.pad_token = gpt.eos_token  # as in a thousand tutorials
    assert gpt.pad_token_id == gpt.eos_token_id
    gpt.eos_token = gpt.id_to_token(300)
    gpt.save(tmp_path / "gpt")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "gpt")
    assert (
        (theirs.eos_token_id, theirs.pad_token) == (gpt.eos_token_id, gpt.pad_token) == (300, "<|endoftext|>")
    )
