"""Training and held-out text: a seeded split with nothing in both."""

import pytest

from minillm.data import Document, korean_documents, overlap, paragraphs_once, python_docs, train_and_held_out
from minillm.data.held_out import repeated_share


def paragraphs(text: str) -> set[str]:
    return {" ".join(piece.split()).lower() for piece in text.split("\n\n") if piece.strip()}


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_no_paragraph_of_the_reference_is_on_both_sides(seed):
    train, exam = train_and_held_out(python_docs(), 0.1, seed)
    assert not paragraphs(train) & paragraphs(exam)
    assert overlap(exam, train) < 0.01
    assert 0.05 < len(exam) / (len(train) + len(exam)) < 0.13


def test_a_split_of_repeating_documents_would_leak_without_removing_repeats():
    documents = python_docs()
    held = {"with", "try", "for", "class"}
    train = "\n\n".join(d.text for d in documents if d.id not in held)
    exam = "\n\n".join(d.text for d in documents if d.id in held)
    assert overlap(exam, train) > 0.9  # "compound" holds all four


def test_same_seed_same_split_and_other_seed_another():
    documents = korean_documents(100)
    assert train_and_held_out(documents, 0.2, 3, 200) == train_and_held_out(documents, 0.2, 3, 200)
    assert train_and_held_out(documents, 0.2, 3, 200) != train_and_held_out(documents, 0.2, 4, 200)


def test_every_training_paragraph_is_text_of_the_documents():
    documents = korean_documents(60)
    train, exam = train_and_held_out(documents, 0.3, 0, 100)
    everything = "\n".join(document.text for document in documents)
    assert all(
        piece.strip() in everything for piece in (train + "\n\n" + exam).split("\n\n") if piece.strip()
    )


def test_repeated_paragraphs_are_kept_once_and_short_ones_follow_their_neighbour():
    long = "This paragraph is long enough to be told apart from others."
    again = Document(
        "b", "b", f"{long.upper()}\n\nSee also:\n\nA second paragraph, which is new and stays here."
    )
    first, second = paragraphs_once([Document("a", "a", f"{long}\n\nSee also:"), again])
    assert first == [long, "See also:"]
    assert second == ["A second paragraph, which is new and stays here."]


@pytest.mark.parametrize("separator", ["\n", " "])
def test_a_text_without_blank_lines_is_split_too(separator):
    sentences = [f"문장 {number}번은 다른 문장과 다르다." for number in range(500)]
    train, exam = train_and_held_out([Document("a", "a", separator.join(sentences))], 0.2)
    assert set(" ".join(sentences).split()) == set((train + exam).split())
    assert 0.15 < len(exam) / len(train + exam) < 0.35


def test_repeated_share_counts_characters():
    text = "exactly one paragraph of more than forty characters"
    assert repeated_share([Document("a", "", text), Document("b", "", text)]) == pytest.approx(0.5)
    assert 0.1 < repeated_share(python_docs()) < 0.35


def test_overlap_of_equal_and_of_different_texts():
    words = " ".join(map(str, range(50)))
    assert overlap(words, words) == 1
    assert overlap(words, " ".join(map(str, range(50, 99)))) == 0
    assert overlap("too short", words) == 0


@pytest.mark.parametrize(
    "options",
    [
        {"held_out": 0},
        {"held_out": 0.9},
        {"held_out": None},
        {"held_out": float("nan")},
        {"seed": -1},
        {"seed": 1.5},
        {"stretch": 0},
    ],
)
def test_bad_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        train_and_held_out(korean_documents(20), **options)


@pytest.mark.parametrize("documents", [[], [Document("a", "a", "")], [Document("a", "a", "one short text")]])
def test_too_little_text_is_refused(documents):
    with pytest.raises(ValueError, match="too little text"):
        train_and_held_out(documents)
