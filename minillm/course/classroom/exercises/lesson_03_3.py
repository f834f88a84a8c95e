"""Checkers of lesson 03_3, tokenizers and data sets."""

import unicodedata

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    Inputs,
    as_list,
    cases,
    copied_library,
    expect,
    expect_parts,
    forbid,
    packages_of,
    plain,
    shown,
)
from minillm.tokenizer.truncation import windows
from minillm.tokenizer.wordpiece import longest_match

BUILD = "build it yourself"
CUTTERS = (
    "minillm.tokenizer.wordpiece.longest_match", "minillm.tokenizer.wordpiece.WordPiece.trace",
    "minillm.tokenizer.wordpiece.WordPiece.encode", "minillm.tokenizer.wordpiece.WordPiece.encode_piece",
    "minillm.tokenizer.wordpiece.WordPieceTokenizer.encode_with", "minillm.tokenizer.base.Tokenizer.encode",
    "minillm.tokenizer.base.Tokenizer.trace", "minillm.tokenizer.base.Tokenizer.encode_with_offsets",
)  # fmt: skip
ROWS = (
    *CUTTERS, "minillm.tokenizer.truncation.windows", "minillm.tokenizer.truncation.rooms",
    "minillm.tokenizer.batch.encode_for_model", "minillm.tokenizer.batch.Row.parts",
    "minillm.tokenizer.batch.Row.padded", "minillm.training.collators.pad", "torch.nn.utils.rnn.pad_sequence",
)  # fmt: skip
COMPARERS = (
    "minillm.data.proof.prove_held_out", "minillm.data.held_out.overlap", "minillm.data.documents.plain_words"
)  # fmt: skip


def some_vocab(inputs, word, alphabet, prefix, size):
    """Random tokens, and now and then each letter alone, so that most words can be spelled."""
    tokens = {inputs.text(inputs.integer(1, 4), alphabet) for _ in range(size)}
    tokens |= {prefix + inputs.text(inputs.integer(1, 4), alphabet) for _ in range(size)}
    if inputs.integer(0, 1):  # a long token, too: half of the word or all of it
        start = inputs.integer(0, 1) * (len(word) // 2)
        tokens.add((prefix if start else "") + (word[start:] or alphabet[0]))
    if inputs.integer(0, 2):
        tokens |= {mark + letter for letter in alphabet for mark in ("", prefix)}
    return tokens


@exercise("03-3-a", points=5)
def build_and_break_the_longest_match(answer):
    """The rule, and a word that can be spelled and that its greed makes unknown."""
    expect_parts(answer, "wordpiece", "trap")
    build_the_longest_match(answer["wordpiece"])
    break_the_longest_match(answer["trap"])


def build_the_longest_match(answer):
    """WordPiece with places, a prefix and a limit."""
    copied = copied_library(answer)
    assert not copied, f"{BUILD}: your answer uses {copied}"
    ready = packages_of(answer, "tokenizers", "transformers")
    assert not ready, f"{BUILD}: your answer uses {ready}"
    for case in cases(
        80, length=(0, 1, 4, 9), alphabet=("ab", "aBb", "가나다", "\u1100\u1161나"), prefix=("##", "@@", "_", ""),
        size=(1, 4, 20), longest=(0, 3, 8, 100), stuck=(False, False, True),
    ):  # fmt: skip
        inputs = Inputs(case.seed)
        word = inputs.text(case.length, case.alphabet)
        vocab = some_vocab(inputs, word, case.alphabet, case.prefix, case.size)
        if case.stuck:  # the longest first token leaves a rest that no token fits
            vocab = {word[:1], word[:2], word[:3], case.prefix + word[2:], case.prefix + word[1:2]} - {
                "",
                case.prefix,
            }
        tokens = longest_match(word, dict.fromkeys(vocab), case.prefix)
        expected, at = [], 0
        for token in tokens or []:
            size = len(token) - (len(case.prefix) if at else 0)
            expected.append([token, at, at + size])
            at += size
        if tokens is None or len(word) > case.longest:
            expected = [["[UNK]", 0, len(word)]]
        given = set(vocab)
        with forbid(BUILD, *CUTTERS, answer=answer):
            found = answer(word, given, case.prefix, case.longest)
        asked = f"{word!r}, prefix={case.prefix!r}, longest={case.longest}, vocabulary {shown(sorted(vocab))}"
        expect(found, expected, hint=asked)
        assert given == vocab, f"the vocabulary must stay as it is ({asked})"


def can_spell(word, tokens):
    """Whether some way to cut the word uses tokens only: the places that can be reached from the left."""
    reached = {0}
    for start in range(len(word)):
        if start in reached:
            mark = "##" if start else ""
            reached |= {end for end in range(start + 1, len(word) + 1) if mark + word[start:end] in tokens}
    return len(word) in reached


def break_the_longest_match(answer):
    """A word that can be spelled, and that greed makes unknown."""
    tokens, word = as_list(answer, "the trap: a pair (list of tokens, word)", 2)
    tokens, word = as_list(tokens, "the vocabulary"), plain(word, "the word")
    assert isinstance(word, str), f"the word must be a text, got {shown(word)}"
    assert all(isinstance(token, str) and token for token in tokens), (
        f"the vocabulary must be a list of texts, got {shown(tokens)}"
    )
    assert "#" not in word, f"the word must be without #, which marks tokens, got {word!r}"
    assert len(word) >= 4, f"the word must have at least 4 characters, got {word!r} of {len(word)}"
    assert can_spell(word, set(tokens)), f"the tokens {shown(tokens)} cannot spell {word!r} in any way"
    cut = longest_match(word, dict.fromkeys(tokens))
    assert cut is None, f"the longest match does spell {word!r}: {shown(cut)}"
    first = max((end for end in range(1, len(word) + 1) if word[:end] in tokens), default=0)
    assert first >= 2, f"the first token it takes must have at least 2 characters, got {word[:first]!r}"


@exercise("03-3-b", points=4)
def build_the_rectangle(answer):
    """Rows of questions and passages: special tokens, windows, types, mask, padding."""
    copied = copied_library(answer)
    assert not copied, f"{BUILD}: your answer uses {copied}"
    ready = packages_of(answer, "tokenizers", "transformers")
    assert not ready, f"{BUILD}: your answer uses {ready}"
    for case in cases(
        60, pairs=(0, 1, 2, 5), question=(0, 1, 6), passage=(0, 3, 12, 40), room=(1, 2, 5, 60), stride=(0, 1, 3),
        marks=((2, 3, 0), (7, 7, 1)),
    ):  # fmt: skip
        inputs = Inputs(case.seed)
        pairs = [
            tuple(inputs.integers(inputs.integer(0, most), 0, 9) for most in (case.question, case.passage))
            for _ in range(case.pairs)
        ]
        width = 3 + max((len(question) for question, _ in pairs), default=0) + case.room
        stride = min(case.stride, case.room - 1)
        expected = _rectangle(pairs, width, stride, *case.marks)
        given = [(list(question), list(passage)) for question, passage in pairs]
        with forbid(BUILD, *ROWS, answer=answer):
            found = answer(given, width, stride, *case.marks)
        cls, sep, pad = case.marks
        asked = f"pairs {shown(pairs)}, width={width}, stride={stride}, cls={cls}, sep={sep}, pad={pad}"
        expect(found, expected, hint=asked)
        assert given == pairs, f"the lists must stay as they are ({asked})"


def _rectangle(pairs, width, stride, cls, sep, pad):
    """What the prompt describes, row by row."""
    names = ("input_ids", "token_type_ids", "attention_mask", "pair")
    rows = {name: [] for name in names}
    for number, (question, passage) in enumerate(pairs):
        for start, end in windows(len(passage), width - 3 - len(question), stride):
            first, second = [cls, *question, sep], [*passage[start:end], sep]
            rows["input_ids"].append(first + second)
            rows["token_type_ids"].append([0] * len(first) + [1] * len(second))
            rows["attention_mask"].append([1] * len(first + second))
            rows["pair"].append(number)
    longest = max(map(len, rows["input_ids"]), default=0)
    for name, filler in zip(names, (pad, 0, 0)):
        rows[name] = [row + [filler] * (longest - len(row)) for row in rows[name]]
    return rows


@exercise("03-3-c", points=3)
def build_the_answer_finder(answer):
    """From characters to tokens of windows."""
    copied = copied_library(answer)
    assert not copied, f"{BUILD}: your answer uses {copied}"
    for case in cases(
        80,
        tokens=(1, 3, 12, 30),
        gaps=(False, True),
        room=(1, 2, 5, 40),
        stride=(0, 1, 4),
        longest=(4, 12),
        order=("windows", "mixed", "any", "none"),
    ):
        inputs = Inputs(case.seed)
        offsets, at = [], inputs.integer(0, 3)
        for _ in range(case.tokens):
            at += inputs.integer(0, 2) if case.gaps else 0
            offsets.append((at, at + inputs.integer(1, 4)))
            at = offsets[-1][1]
        first = inputs.integer(0, case.tokens - 1)
        last = min(case.tokens - 1, first + inputs.integer(0, case.longest))
        start = inputs.integer(offsets[first][0], offsets[first][1] - 1)
        end = inputs.integer(max(start, offsets[last][0]) + 1, offsets[last][1])
        spans = windows(case.tokens, case.room, min(case.stride, case.room - 1))
        if case.order in ("mixed", "none"):
            spans = inputs.shuffled(spans) if case.order == "mixed" else []
        if case.order == "any":
            firsts = inputs.integers(4, 0, case.tokens - 1)
            spans = [(a, inputs.integer(a + 1, case.tokens)) for a in firsts]
        expected = [[first - a, last - a] if a <= first and last < b else None for a, b in spans]
        given = list(offsets), list(spans)
        found = answer(*given, start, end)
        asked = f"offsets {offsets}, windows {spans}, answer {start} to {end}"
        expect(found, expected, hint=asked)
        assert given == (offsets, spans), f"the lists must stay as they are ({asked})"


def key(text):
    """What the prompt calls the same text."""
    return " ".join(unicodedata.normalize("NFC", text).lower().split())


def another_way(inputs, text):
    """The same text, spelled differently: NFD, large letters, other blanks; now and then without its blanks."""
    way = inputs.integer(0, 5)
    if way == 0:
        return unicodedata.normalize("NFD", text)
    if way == 1:
        return text.upper()
    if way == 2:
        return "\n" + text.replace(" ", " \t ") + "  "
    if way == 3:
        return text.replace(" ", "\u00a0")
    return text.replace(" ", "") if way == 4 else text


@exercise("03-3-d", points=3)
def build_the_leak_finder(answer):
    """Test texts that stand in the training texts, or twice in the test."""
    copied = copied_library(answer)
    assert not copied, f"{BUILD}: your answer uses {copied}"
    for case in cases(
        60,
        train=(0, 1, 20),
        test=(0, 1, 12),
        alphabet=("ab", "Ab 가각", "É 한글", "Ａ1①a", "ßs "),
        length=(0, 1, 3, 12),
    ):
        inputs = Inputs(case.seed)
        texts = [inputs.text(inputs.integer(0, case.length), case.alphabet) for _ in range(12)]
        train = [another_way(inputs, texts[inputs.integer(0, 5)]) for _ in range(case.train)]
        test = [another_way(inputs, texts[inputs.integer(0, 11)]) for _ in range(case.test)]
        known, expected = {key(text) for text in train}, []
        for number, text in enumerate(test):
            if key(text) in known:
                expected.append(number)
            known.add(key(text))
        given = list(train), list(test)
        with forbid(BUILD, *COMPARERS, answer=answer):
            found = answer(*given)
        expect(found, expected, hint=f"train {train}, test {test}")
        assert given == (train, test), "the two lists must stay as they are"
