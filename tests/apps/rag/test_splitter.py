"""Splitting: every letter is in a node, every node fits, knows its place and begins where the one before it allows."""

import random

import pytest

from minillm.apps.rag import SentenceSplitter, counter_of, sentence_spans, split_text
from minillm.data import Document
from minillm.data.passages import count_words, fill
from minillm.tokenizer import BPETokenizer

# cut by a person
SENTENCES = [
    ["It rained.", "We went home!", "Why?"],
    ["Dr. Kim met Mr. J. K. Lee at No. 5.", "They talked."],
    ['"Stop."', "He went."],
    ["It costs 3.5 won, i.e. nothing...", "Really?!"],
    ["비가 왔다.", "우리는 집에 갔어요!", "왜 그랬을까?"],
    ['그는 "갔다."라고 말했다.', "그리고 울었다."],
    ["2024. 3. 5. 서울에서 열렸다.", "많은 사람이 왔다."],
    ["今日は雨。", "明日は晴れ！"],
]


@pytest.mark.parametrize("sentences", SENTENCES, ids=lambda one: one[0][:12])
def test_sentences_as_a_person_cuts_them(sentences):
    text = " ".join(sentences)
    assert [text[start:end] for start, end in sentence_spans(text)] == sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("끝났다.그리고 갔다.", ["끝났다.", "그리고 갔다."]),
        ("오늘은 비가 왔다\n내일은 갤까", ["오늘은 비가 왔다", "내일은 갤까"]),
        ("a line that\ngoes on. End", ["a line that\ngoes on.", "End"]),
        ("Points:\n- one\n- two\n1. three\n2. four", ["Points:", "- one", "- two", "1. three", "2. four"]),
        ("Title\n\nText", ["Title", "Text"]),
        (" \n ", []),
        ("", []),
    ],
)
def test_line_ends_and_missing_blanks(text, sentences):
    assert [text[start:end] for start, end in sentence_spans(text)] == sentences


def hostile(rng):
    """A text of odd pieces."""
    pieces = [
        "다.",
        "요. ",
        "a",
        "Mr. ",
        "\n",
        "\n\n",
        " ",
        "3.",
        "5 ",
        "가나다라마",
        '."',
        "!?",
        "x" * 30,
        "- ",
        "…",
        "。",
        "\t",
        "é",
    ]
    return "".join(rng.choice(pieces) for _ in range(rng.randrange(60)))


def test_spans_hold_every_letter_in_order():
    rng = random.Random(0)
    for _ in range(400):
        text = hostile(rng)
        spans = sentence_spans(text)
        assert [one for pair in spans for one in pair] == sorted(one for pair in spans for one in pair)
        assert all(start < end and text[start:end] == text[start:end].strip() for start, end in spans)
        assert "".join("".join(text[a:b] for a, b in spans).split()) == "".join(text.split())


def test_long_runs_of_marks_take_no_time():
    for sign in (".", "!", '"', " ", "\n", "다.", ". ", "['"):
        text = sign * 200_000 + "a"
        assert sentence_spans(text)  # a quadratic rule would take hours


def overlapped(sizes, limit, overlap):
    """Where each run begins and ends, by trying every beginning."""
    runs, start = [], 0
    while True:
        stop = start + 1
        while stop < len(sizes) and sum(sizes[start : stop + 1]) <= limit:
            stop += 1
        runs.append((start, stop))
        if stop == len(sizes):
            return runs
        fits = [
            first for first in range(start + 1, stop)
            if sum(sizes[first:stop]) <= overlap and sum(sizes[first : stop + 1]) <= limit
        ]  # fmt: skip
        start = min(fits, default=stop)


def test_runs_are_those_of_trying_everything():
    rng = random.Random(1)
    for _ in range(500):
        sizes = [rng.randrange(1, 9) for _ in range(rng.randrange(1, 14))]
        limit = rng.randrange(1, 20)
        for overlap in (0, rng.randrange(1, 12)):
            assert fill(sizes, limit, overlap) == overlapped(sizes, limit, overlap), (sizes, limit, overlap)
    assert fill([], 5) == []


def bpe():
    return BPETokenizer.train(["the bridge is long. 다리는 길다. 그리고 넓다!"], 300, min_frequency=1)


@pytest.mark.parametrize("kind", ["words", "tokens", "letters"])
def test_chunks_fit_hold_everything_and_know_their_place(kind):
    reader = {"words": lambda: None, "tokens": bpe, "letters": lambda: len}[kind]()
    rng, count = random.Random(2), counter_of(reader)
    for _ in range(60):
        text, size = hostile(rng) * 3, rng.randrange(8, 40)
        splitter = SentenceSplitter(size, rng.randrange(size), reader)
        spans = splitter.spans(text)
        covered = set()
        for start, end in spans:
            assert count(text[start:end]) <= size or end - start == 1
            covered |= set(range(start, end))
        assert all(place in covered for place, letter in enumerate(text) if not letter.isspace())
        assert [text[a:b] for a, b in spans] == splitter.split_text(text)


def test_neighbours_share_whole_sentences_up_to_the_overlap():
    sentences = [f"Sentence number {i} is here." for i in range(12)]
    text = " ".join(sentences)
    spans = split_text(text, count_words, 15, 5)
    chunks = [text[start:end] for start, end in spans]
    assert chunks[0] == " ".join(sentences[:3])
    assert chunks[1] == " ".join(sentences[2:5])
    assert "".join(chunks).count("number 2 ") == 2


def test_nodes_carry_their_document():
    document = Document("a/b.md", "Title", "One. Two. " * 30, {"lang": "en"})
    nodes = SentenceSplitter(10, 2).get_nodes_from_documents([document])
    assert len(nodes) > 3
    for number, node in enumerate(nodes):
        assert (node.id, node.document_id, node.title) == (f"a/b.md#{number}", "a/b.md", "Title")
        assert node.text == document.text[node.start : node.end]
        assert node.metadata == {"lang": "en"}
        assert node.indexed == f"Title\n{node.text}"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((7,), "chunk_size"),
        ((20, 20), "chunk_overlap"),
        ((20, -1), "chunk_overlap"),
        ((20, 2, "words"), "tokenizer"),
    ],
)
def test_settings_that_do_not_fit(arguments, word):
    with pytest.raises(ValueError, match=word):
        SentenceSplitter(*arguments)


def test_a_tokenizer_may_count_tokens_or_list_them():
    text = "One two three. " * 20
    assert SentenceSplitter(20, 0, str.split).split_text(text) == SentenceSplitter(20, 0).split_text(text)
    with pytest.raises(ValueError, match="what tokenizer gives must be an integer, got None"):
        SentenceSplitter(20, 0, lambda text: None).split_text(text)
    with pytest.raises(ValueError, match="text must be a str"):
        SentenceSplitter().split_text(None)


def test_an_empty_document_is_named():
    with pytest.raises(ValueError, match="document 'b' holds no text"):
        SentenceSplitter().get_nodes_from_documents([Document("a", "", "text"), Document("b", "B", " \n")])
