"""The proof that an exam was not seen: a shared sentence is named, and the counts are those of plain counting."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.data import (
    korean_documents,
    korean_english_pairs,
    korean_questions,
    prove_held_out,
    python_docs,
    train_and_held_out,
)
from minillm.data.ngrams import longest_shared_run, word_ngrams
from minillm.data.proof import sentences


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_split_of_the_reference_shares_no_sentence(seed):
    training, exam = train_and_held_out(python_docs(), seed=seed)
    held = prove_held_out(exam, training)
    assert held.items > 100
    assert held.shared_ngrams < held.ngrams / 50


def test_a_copied_sentence_is_found_and_named():
    training, exam = train_and_held_out(python_docs())
    stolen = max(sentences(training), key=len)
    with pytest.raises(
        ValueError, match=r"1 of .* evaluation sentences stand in the training text"
    ) as caught:
        prove_held_out(exam + "\n\n" + stolen.upper().replace(" ", "\n") + "\n", training)
    assert stolen.upper()[:30] in str(caught.value)


@pytest.mark.parametrize("seed", [0, 7])
def test_korean_parts_share_no_sentence_name_or_question_whatever_the_seed(seed):
    taught, held = korean_documents(2436, 3, "train"), korean_documents(600, seed, "held_out")
    proof = prove_held_out([d.text for d in held], [d.text for d in taught])
    assert proof.items > 2000
    assert not {d.title for d in held} & {d.title for d in taught}
    questions = (
        [q.text for q in korean_questions(n, s, part)]
        for n, s, part in ((600, seed, "held_out"), (2436, 3, "train"))
    )
    assert prove_held_out(*questions, what="question").items == 600


@pytest.mark.parametrize("language", [0, 1])
def test_pairs_of_the_parts_share_no_sentence_in_either_language(language):
    taught = [pair[language] for pair in korean_english_pairs(6000, 1, "train")]
    held = [pair[language] for pair in korean_english_pairs(1500, 2, "held_out")]
    assert prove_held_out(held, taught, what="sentence pair").items == 1500


def test_documents_of_one_generator_without_parts_do_share_sentences():
    with pytest.raises(ValueError, match="stand in the training text"):
        prove_held_out([d.text for d in korean_documents(300, 1)], [d.text for d in korean_documents(900, 0)])


def test_counts_are_those_of_plain_counting():
    held = prove_held_out("one two three four. Five six!", "Two  THREE four. seven", n=3)
    assert (held.items, held.ngrams, held.shared_ngrams, held.longest_shared_run) == (2, 4, 1, 3)
    assert (
        str(held)
        == "2 sentences, none in the training text; 1 of 4 3-grams shared, longest shared run 3 words"
    )


def test_whole_items_are_compared_by_what_they_are():
    held = prove_held_out([("red", "circle"), ("blue", "square")], [("red", "square")], what="combination")
    assert (held.items, held.ngrams) == (2, 0)
    with pytest.raises(ValueError, match=r"1 of 1 evaluation combinations .*\('red', 'circle'\)"):
        prove_held_out([("red", "circle")], [("red", "circle"), 3], what="combination")
    with pytest.raises(ValueError, match="questions stand in"):
        prove_held_out(["How many?"], ["how  many?"], what="question")


def test_hangul_of_single_letters_is_the_same_text():
    text = "나무가 강가에서 오래 자란다. 배는 바다로 천천히 나간다."
    apart = unicodedata.normalize("NFD", text)
    assert apart != text
    with pytest.raises(ValueError, match="2 of 2 evaluation sentences stand in the training text"):
        prove_held_out(text, apart)


def test_short_sentences_are_compared_where_there_are_no_others():
    prove_held_out(
        "Syntax: 3. A name is bound in the nearest enclosing block.", "Syntax: 3. A value is returned."
    )
    for text in ("The cat sat.", "The cat sat. 나는 배를 먹었다."):  # once these counted as held out
        with pytest.raises(ValueError, match=r"1 of . evaluation sentences stand in the training text"):
            prove_held_out(text, "A dog. The  CAT sat.")


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=12))
def test_the_longest_shared_run_is_that_of_dynamic_programming(a, b):
    best = 0
    lengths = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            if x == y:
                lengths[i + 1][j + 1] = lengths[i][j] + 1
                best = max(best, lengths[i + 1][j + 1])
    assert longest_shared_run([" ".join(a)], [" ".join(b)]) == best


def test_word_ngrams_of_the_docstring():
    assert word_ngrams("a b c", 2) == {("a", "b"), ("b", "c")}
    assert longest_shared_run(["x a b c"], ["a b c y"]) == 3


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (("", "text"), {}), ((None, "text"), {}), (("text.", 3), {}), (([1], ["a"]), {}), (("a. b", "c"), {"n": 0}),
        (("abc", ["abc"]), {"what": "question"}), (([[1]], [1]), {"what": "schema"}), (([], [1]), {"what": "schema"}),
    ],
)  # fmt: skip
def test_bad_input_is_refused(arguments, options):
    with pytest.raises(ValueError, match=r"evaluation|training|n must"):
        prove_held_out(*arguments, **options)


def test_hangul_within_whole_items_is_the_same_text():
    apart = unicodedata.normalize("NFD", "나무")
    with pytest.raises(ValueError, match="1 of 1 evaluation pairs"):
        prove_held_out([(apart, ("강", 1))], [("나무", (unicodedata.normalize("NFD", "강"), 1))], what="pair")
    assert (
        prove_held_out([("A", 1)], [("a", 1)], what="pair").items == 1
    )  # else they are compared as they are
