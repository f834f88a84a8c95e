"""What is learned and what is asked share no text: documents, pairs, groups; and the figures of before and after."""

import numpy as np
import pytest

from minillm.data import Passage, korean_documents, prove_held_out, python_docs, split_passages
from minillm.evaluation import hit_at_k, mrr, paired
from minillm.evaluation.paired import Paired
from minillm.search import BM25, Pair
from minillm.search.before_and_after import BeforeAndAfter, compared, figures, in_words, places_by_keywords
from minillm.search.own_pairs import connected, data_of_pairs, data_of_passages, draw_share, pairs_of_passages


@pytest.fixture(scope="module")
def passages():
    return split_passages(python_docs()[:40], max_words=100)


def test_pairs_come_from_titles_and_sentences(passages):
    pairs = pairs_of_passages(passages, sentences_each=2, seed=1)
    by_text = {one.text: one for one in passages}
    titles = [one for one in pairs if one.positive in by_text]
    assert len(titles) == len(passages)
    assert all(by_text[one.positive].title == one.anchor for one in titles)
    others = [one for one in pairs if one.positive not in by_text]
    assert len(others) > len(passages) / 2
    for one in others:
        sources = [p for p in passages if one.anchor in " ".join(p.text.split())]
        assert any(one.positive.startswith(f"{p.title}\n") for p in sources)
        assert one.anchor not in one.positive
    assert pairs_of_passages(passages, 2, 1) == pairs != pairs_of_passages(passages, 2, 2)


@pytest.mark.parametrize("korean", [False, True])
def test_the_examination_of_documents_was_never_seen(passages, korean):
    if korean:
        passages = split_passages(korean_documents(60, seed=1), max_words=60)
    data = data_of_passages(passages, seed=3)
    assert len(data.queries) == len(data.gold) > 5
    asked = set().union(*data.gold)
    taught = {one.id for one in data.passages}
    assert not asked & taught
    documents = {one.id: one.document_id for one in passages}
    assert not {documents[one] for one in asked} & {documents[one] for one in taught}
    assert set(data.corpus) == {one.id for one in passages}  # every text may be found for every question
    held = [one.text for one in passages if one.id in asked]
    again = prove_held_out([*data.queries, *held], [f"{one.title}\n\n{one.text}" for one in data.passages])
    assert data.proof.items == again.items > 5
    learned = [text for one in data.training for text in one[:2]]
    prove_held_out(data.queries, learned, what="question")
    titles = {one.title for one in passages}  # which a text may say again
    for query, gold in zip(data.queries, data.gold):
        assert query in titles or all(query not in data.corpus[one] for one in gold)
    assert data_of_passages(passages, seed=3) == data
    assert data_of_passages(passages, seed=4).queries != data.queries


def test_few_documents_are_held_out_by_sections():
    text = "It is one. It is two and has more words than one. It is a third sentence of some length."
    passages = [
        Passage(
            f"d#{number}", "d", f"Section {number}", f"{text} Number {number} says {number * 7} things again."
        )
        for number in range(20)
    ]
    with pytest.raises(ValueError, match=r"nothing to ask: .* all of them share a sentence"):
        data_of_passages(passages)
    passages = [
        Passage(
            one.id, "d", one.title, " ".join(f"Word{number}{i} is said and meant here {i}." for i in range(4))
        )
        for number, one in enumerate(passages)
    ]
    data = data_of_passages(passages, held_out=0.3)
    assert len(data.queries) == 6 + 1  # a sentence of each held-out section, and a fifth of their titles
    with pytest.raises(ValueError, match="nothing can be held out"):
        data_of_passages([Passage("a", "a", "A", "Some text.")] * 2)


def test_pairs_that_share_a_text_stay_on_one_side():
    pairs = [("a", "x"), ("b", "y"), ("c", "X "), ("b", "z"), ("d", "w"), ("e", "z")]
    assert connected([Pair(*one) for one in pairs]) == [0, 1, 0, 1, 2, 1]
    rows = [(f"question {i}", f"answer {i % 25}", f"wrong {i}", f"answer {(i + 1) % 25}") for i in range(60)]
    data = data_of_pairs(rows, held_out=0.3, seed=1)
    asked = {data.corpus[one] for right in data.gold for one in right}
    assert asked
    assert not asked & {text for one in data.training for text in (one.positive, *one.negatives)}
    assert not set(data.queries) & {one.anchor for one in data.training}
    assert 0.3 * 60 <= len(data.queries) <= 0.3 * 60 + 3
    assert len(data.training) + len(data.queries) == 60
    answers = {question: answer for question, answer, *_ in rows}
    for query, right in zip(data.queries, data.gold):
        assert [data.corpus[one] for one in right] == [answers[query]]
    assert set(data.corpus.values()) == {text for row in rows for text in row[1:]}


def test_a_held_out_pair_that_shares_a_sentence_is_not_asked():
    shared = "This long sentence stands in two of the answers."
    rows = [
        (f"question number {i} of them", f"An answer of its own, the {i}th of all answers.") for i in range(8)
    ]
    rows += [
        (f"another question {i}", f"{shared} And {i} more words follow it in this one.") for i in range(2)
    ]
    for seed in range(20):
        data = data_of_pairs(rows, held_out=0.3, seed=seed)
        assert not any(shared in data.corpus[one] for right in data.gold for one in right) or not any(
            shared in one.positive for one in data.training
        )
    assert any(data_of_pairs(rows, held_out=0.3, seed=seed).left_out for seed in range(20))


def test_a_share_is_drawn_of_groups_and_never_all():
    assert len(draw_share("abcdefghij", 0.3, 0)) == 3
    assert len(draw_share("abcdefghij", 0.99, 0)) == 9
    assert len(draw_share("ab", 0.01, 0)) == 1
    assert (
        draw_share("abcdefghij", 0.3, 0)
        == draw_share("abcdefghij", 0.3, 0)
        != draw_share("abcdefghij", 0.3, 1)
    )
    with pytest.raises(ValueError, match="everything belongs together"):
        draw_share("aaa", 0.5, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data_of_passages([]), r"passages must be a list of Passages, got \[\]"),
        (lambda: data_of_passages(["text"]), "passages must be a list of Passages"),
        (lambda: data_of_passages([Passage("a", "a", "", "b")], held_out=2), "held_out must be between"),
        (lambda: data_of_pairs([]), "at least one pair"),
        (lambda: data_of_pairs([("a", "b")]), "nothing can be held out"),
        (lambda: data_of_pairs([("a", "b"), ("c", "d")]), "too few pairs to learn from: 1 of 2"),
        (lambda: data_of_pairs([("a", "b"), ("c", "d")], seed=-1), "seed must be at least 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_table_holds_the_figures_of_the_rankings(passages):
    data = data_of_passages(passages, seed=3)
    places = places_by_keywords(data)
    rankings = BM25().fit(list(data.corpus.values()), list(data.corpus)).search(data.queries, 100)
    better = np.where(places == 2, 1.0, places)
    found = BeforeAndAfter({"keyword search": places, "before": places, "after": better})
    rows = {row["system"]: row for row in found.rows()}
    assert rows["before"]["hit@1"] == hit_at_k(rankings, data.gold, 1)
    assert rows["before"]["hit@5"] == hit_at_k(rankings, data.gold, 5)
    assert rows["before"]["MRR"] == pytest.approx(mrr(rankings, data.gold, 100))
    compared = found.comparisons()
    assert compared["hit@1"] == paired(better <= 1, places <= 1)
    assert compared["hit@1"].wins == (places == 2).sum() > 0
    assert compared["hit@1"].losses == 0
    lines = str(found).split("\n")
    assert lines[0].split() == ["hit@1", "hit@5", "MRR"]
    assert lines[2].split() == [
        "before",
        *(f"{rows['before'][name]:.3f}" for name in ("hit@1", "hit@5", "MRR")),
    ]
    assert lines[-1] == f"MRR, after against before: {compared['MRR']}"


def test_places_are_counted_and_what_are_none_is_named():
    assert figures([1, 2, np.inf]) == pytest.approx({"hit@1": 1 / 3, "hit@5": 2 / 3, "MRR": 0.5})
    assert compared([1, 2], [1, 3])["MRR"].wins == 1
    for wrong in ([], [0, 1], [np.nan], [[1]], ["1"], None):
        for call in (lambda one: figures(one), lambda one: compared(one, [1])):
            with pytest.raises(ValueError, match=r"must be places \(Q,\) from 1 on, got"):
                call(wrong)


def test_words_follow_the_interval_of_each_figure():
    before = np.array([2.0] * 40 + [1.0] * 40)
    for after, said in (
        (
            np.full(80, 1.0),
            "Better: hit@1, whose interval lies above zero. Better: MRR, whose interval lies above zero. "
            "No difference is shown in hit@5. Of 3 figures one may miss zero by luck.",
        ),
        (
            np.full(80, 9.0),
            " ".join(f"Worse: {name}, whose interval lies below zero." for name in ("hit@1", "hit@5", "MRR")),
        ),
        (
            before[::-1].copy(),
            "No difference is shown: every interval holds zero. More questions, pairs or steps may",
        ),
    ):
        assert in_words(BeforeAndAfter({"before": before, "after": after}).comparisons()).startswith(said)
    # first more often, and more often nowhere
    mixed = {"before": np.full(80, 2.0), "after": np.where(np.arange(80) % 5 < 3, 1.0, 90.0)}
    said = in_words(BeforeAndAfter(mixed).comparisons())
    assert "Better: hit@1, whose interval lies above zero." in said
    assert "Worse: hit@5, whose interval lies below zero." in said


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ((0.0004, 0.19), "No difference is shown: every"),  # printed as [+0.000, +0.190]
        ((0.0, 0.19), "No difference is shown: every"),
        (
            (0.0006, 0.19),
            "Better: MRR, whose interval lies above zero. No difference is shown in hit@1 and hit@5.",
        ),
        ((-0.19, -0.0004), "No difference is shown: every"),
        (
            (-0.19, -0.0006),
            "Worse: MRR, whose interval lies below zero. No difference is shown in hit@1 and hit@5.",
        ),
    ],
)
def test_an_interval_that_is_printed_as_zero_at_one_end_shows_nothing(interval, said):
    middle = sum(interval) / 2
    hits = {
        "hit@1": Paired(2, 2, 17, (-0.2, 0.2), 0.0, 1.0),
        "hit@5": Paired(3, 1, 17, (-0.1, 0.2), 0.1, 0.6),
    }
    assert in_words(hits | {"MRR": Paired(9, 6, 6, interval, middle, 0.6)}).startswith(said)
