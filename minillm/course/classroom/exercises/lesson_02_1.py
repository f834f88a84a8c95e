"""Checkers of lesson 02_1, tokenization."""

from collections import Counter
from itertools import pairwise

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    Inputs,
    as_list,
    cases,
    copied_library,
    expect,
    forbid,
    shown,
)
from minillm.tokenizer.bpe_plain import (
    best_pair,
    count_pairs,
    encode_plain,
    encode_word_plain,
    merge_pair,
    train_bpe_plain,
)
from minillm.tokenizer.splitting import split

PLAIN = "minillm.tokenizer.bpe_plain."
TRAINERS = (
    *(f"{PLAIN}{name}" for name in ("count_words", "count_pairs", "best_pair", "merge_pair", "train_bpe_plain")),
    "minillm.tokenizer.word_table.count_words_fast", "minillm.tokenizer.bpe_train_fast.learn_merges_fast",
    "minillm.tokenizer.bpe.BPETokenizer.train",
)  # fmt: skip
ENCODERS = (
    *(f"{PLAIN}{name}" for name in ("encode_plain", "encode_word_plain", "merge_pair")),
    "minillm.tokenizer.special.special_parts", "minillm.tokenizer.base.Tokenizer.encode",
    "minillm.tokenizer.base.Tokenizer.encode_with", "minillm.tokenizer.base.Tokenizer.encode_batch",
    "minillm.tokenizer.bpe.BPETokenizer.encode_bytes", "minillm.tokenizer.bpe_encode.BPE.encode",
    "minillm.tokenizer.bpe_encode.BPE.encode_pieces", "minillm.tokenizer.bpe_encode.BPE.encode_piece",
)  # fmt: skip
BUILD = "build it yourself"
WORDS = {b"low": 5, b"lower": 2, b"newest": 6, b"widest": 3, b"new": 4}


@exercise("02-1-a", points=2)
def be_the_tokenizer(answer):
    """Four merges by hand."""
    found = as_list(answer, "the prediction")
    example = f"give the tokens as a list of strings, such as ['slow', 'est'], got {shown(found)}"
    tokens = [one.decode("latin-1") if isinstance(one, bytes) else one for one in found]
    assert all(isinstance(one, str) and one for one in tokens), example
    assert "".join(tokens) == "slowest", (
        f"the tokens must spell slowest, yours spell {shown(''.join(tokens))}"
    )
    ranks = {pair: rank for rank, pair in enumerate(train_bpe_plain(WORDS, 4))}
    right = encode_word_plain(b"slowest", ranks) == [token.encode("latin-1") for token in tokens]
    assert right, (
        f"got {shown(tokens)}, which is not what four merges make. Write the counts of all pairs beside each other "
        "before every merge: newest counts 6 times, and a merge changes the counts of its neighbours"
    )


def byte_string(token, what):
    """A token as bytes: bytes, a list of the numbers of its bytes, or one such number."""
    if isinstance(token, bytes):
        return token
    numbers = token if isinstance(token, list) else [token]
    bad = [one for one in numbers if type(one) is not int or not 0 <= one < 256]
    assert not bad, f"{what} must be bytes or a list of numbers from 0 to 255, got {shown(token)}"
    return bytes(numbers)


def some_text(inputs, case):
    """Random letters, or a few random words again and again: there the count of a word decides."""
    if not case.repeated:
        return inputs.text(inputs.integer(0, 40), case.alphabet)
    words = [inputs.text(inputs.integer(1, 6), case.alphabet) for _ in range(4)]
    return " ".join(words[min(inputs.integers(2, 0, 3))] for _ in range(inputs.integer(0, 15)))


def learned(texts, num_merges, cut, longest):
    """The right merges."""
    words = Counter(piece.encode("utf-8") for text in texts for piece in cut(text))
    table = [([bytes([byte]) for byte in word], count) for word, count in words.items()]
    merges = []
    while len(merges) < num_merges:
        counts = {pair: n for pair, n in count_pairs(table).items() if len(pair[0] + pair[1]) <= longest}
        if not counts:
            break
        merges.append(best_pair(counts))
        table = [(merge_pair(tokens, merges[-1]), count) for tokens, count in table]
    return merges


@exercise("02-1-b", points=3)
def build_the_trainer(answer):
    """The trainer, with and without the split."""
    copied = copied_library(answer)
    assert not copied, f"{BUILD}: your answer uses {copied}"
    cuts = {"whole": lambda text: [text] if text else [], "split": split}
    for case in cases(
        60, texts=(0, 1, 3), alphabet=("a", "ab", "ab 가나", "cab.\n다람쥐"), num_merges=(0, 1, 5, 30),
        longest=(1, 2, 4, 1000), cut=tuple(cuts), repeated=(False, True),
    ):  # fmt: skip
        inputs = Inputs(case.seed)
        texts = [some_text(inputs, case) for _ in range(case.texts)]
        given, cut = list(texts), cuts[case.cut]
        expected = learned(texts, case.num_merges, cut, case.longest)
        with forbid(BUILD, *TRAINERS, answer=answer):
            found = answer(given, case.num_merges, cut, case.longest)
        asked = f"texts {texts}, {case.num_merges} merges, cut={case.cut}, longest={case.longest}"
        pairs = [
            [
                byte_string(token, f"a token of merge {place} for {asked}")
                for token in as_list(pair, f"merge {place}", 2)
            ]
            for place, pair in enumerate(as_list(found, f"the merges of {asked}"))
        ]
        expect(pairs, [list(pair) for pair in expected], hint=asked)
        expect(given, texts, hint="the list of texts must stay as it is")


@exercise("02-1-c", points=3)
def build_the_encoder(answer):
    """From a text to ids: special tokens, the split, the merges."""
    copied = copied_library(answer, allowed=("split", "splitting", "split_plain", "GPT2_PATTERN"))
    assert not copied, f"{BUILD}: only `split` may be used, your answer uses {copied}"
    specials = ((), ("<|end|>",), ("<|e", "<|end|>", "가|나"))
    for case in cases(
        60,
        specials=specials,
        num_merges=(0, 3, 25, 80),
        alphabet=("a", "ab ", "ab 가나12.", "🚀 d's"),
        pieces=(0, 1, 4),
    ):
        inputs = Inputs(case.seed)
        parts = [inputs.text(inputs.integer(0, 14), case.alphabet) for _ in range(case.pieces)]
        marks = ["", "<|", *case.specials]
        text = "".join(part + marks[inputs.integer(0, len(marks) - 1)] for part in parts)
        learnt = inputs.text(200, case.alphabet)
        merges = train_bpe_plain(Counter(piece.encode() for piece in split(learnt)), case.num_merges)
        tokens = dict.fromkeys([*(bytes([byte]) for byte in range(256)), *(a + b for a, b in merges)])
        ids = inputs.shuffled(range(len(tokens) + len(case.specials)))
        vocab, special_tokens = dict(zip(tokens, ids)), dict(zip(case.specials, ids[len(tokens) :]))
        expected = encode_plain(text, vocab, {pair: rank for rank, pair in enumerate(merges)}, special_tokens)
        with forbid(BUILD, *ENCODERS, answer=answer):
            found = answer(text, list(merges), dict(vocab), dict(special_tokens))
        back = {index: token for token, index in vocab.items()} | {
            index: name for name, index in special_tokens.items()
        }
        expected_tokens = shown([back[index] for index in expected])
        hint = f"{text!r} with {len(merges)} merges and special tokens {list(special_tokens)} is {expected_tokens}"
        expect(as_list(found, f"the ids of {text!r}"), expected, hint=hint)


def tokens_of(taught, asked, cut, num_merges=20):
    """(the tokens of `asked`, the tokens that were learned) by merges learned from `taught`, both cut in this way."""
    merges = train_bpe_plain(Counter(piece.encode() for piece in cut(taught)), num_merges)
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    tokens = [token for piece in cut(asked) for token in encode_word_plain(piece.encode(), ranks)]
    return tokens, [left + right for left, right in merges]


@exercise("02-1-d", points=2)
def without_the_split(answer):
    """Merges across words."""
    three = as_list(answer, "the answer (taught, asked, wasted)", 3)
    for name, text, most in zip(("taught", "asked", "wasted"), three, (300, 60, 300)):
        assert isinstance(text, str), f"{name} must be a text, got {shown(text)}"
        assert len(text) <= most, f"{name} has {len(text)} characters, at most {most} are allowed"
        assert text.strip(), f"{name} must hold words, got {shown(text)}"
    taught, asked, wasted = three
    new = [word for word in asked.split() if word not in taught.split()]
    assert not new, f"every word of asked must stand in taught; new are {shown(new)}"
    without, whole = tokens_of(taught, asked, lambda text: [text])
    with_split, _ = tokens_of(taught, asked, split)
    assert len(without) >= 2 * len(with_split), (
        f"asked takes {len(without)} tokens without the split and {len(with_split)} with it, not twice as many: "
        "which tokens does the trainer make of a sentence that it reads again and again?"
    )
    across = any(one.isalpha() and two == " " and three.isalpha() for one, two, three in _triples(wasted))
    assert across, f"wasted must hold a blank between two letters, got {shown(wasted)}"
    assert wasted.encode("utf-8") in whole, f"{shown(wasted)} is not learned from taught without the split"
    assert wasted.encode("utf-8") not in without, f"{shown(wasted)} is used in asked, so it is not wasted"


def _triples(text):
    return ((one, two, three) for (one, two), (_, three) in pairwise(pairwise(text)))
