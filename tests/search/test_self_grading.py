"""Queries made from the text itself, and what is chosen by them."""

import zlib
from dataclasses import asdict

import numpy as np
import pytest

from minillm.data import Passage, python_docs, split_passages
from minillm.evaluation import hit_at_k, mrr
from minillm.search import (
    BM25,
    Choice,
    HybridSearch,
    PassageIndex,
    WeightedSearch,
    choose,
    first_places,
    hold_out,
)
from minillm.search.encoder_training import SENTENCE_END
from minillm.search.passage_index import fit_both
from minillm.search.self_grading import FEWEST_QUERIES, METHODS, USUAL_WEIGHT, clearly_better


@pytest.fixture(scope="module")
def passages():
    return split_passages(python_docs(), max_words=150)[:150]


@pytest.fixture(scope="module")
def held(passages):
    return hold_out(passages, seed=1)


class Noise:
    """Vectors that know nothing: drawn anew for each text."""

    dim = 16

    def __init__(self, seed=0):
        self.seed = seed

    def encode(self, texts):
        seeds = ([self.seed, zlib.crc32(text.encode())] for text in texts)
        return np.stack([np.random.default_rng(one).normal(size=16).astype(np.float32) for one in seeds])


def test_a_query_stands_nowhere_in_the_passage_it_must_find(passages, held):
    whole = {passage.id: passage for passage in passages}
    shortened = {passage.id: passage for passage in held.passages}
    assert list(shortened) == list(whole)
    titles = 0
    for query, gold in zip(held.queries, held.gold, strict=True):
        if len(gold) == 1 and query not in {whole[one].title for one in gold}:
            (one,) = gold
            before, after = whole[one].text.split(), shortened[one].text.split()
            assert query in " ".join(before)
            sentences = [" ".join(part.split()) for part in SENTENCE_END.split(shortened[one].text)]
            assert query not in sentences
            missing = len(before) - len(after)
            assert len(query.split()) / 2 <= missing <= len(query.split())  # none to half of it stays
        else:
            titles += 1
            assert all(whole[one].title == query and shortened[one].title == "" for one in gold)
    assert titles >= 5
    assert len(held.queries) - titles >= 50


def test_the_seed_decides_and_a_short_text_gives_few(passages, held):
    assert hold_out(passages, seed=1) == held
    assert hold_out(passages, seed=2).queries != held.queries
    assert hold_out([Passage("a#0", "a", "A", "One. Two.")]).queries == []


def test_places_are_those_of_the_rankings(held):
    lexical, dense = fit_both(held.passages, Noise())
    places = first_places(held, lexical, dense)
    for name, search in [
        ("bm25", lexical),
        ("dense", dense),
        ("hybrid", HybridSearch(lexical, dense)),
        ("weighted 0.2", WeightedSearch(lexical, dense, 0.2)),
    ]:
        rankings = search.search(held.queries, 100)
        assert (places[name] <= 1).mean() == pytest.approx(hit_at_k(rankings, held.gold, 1))
        assert (1 / places[name]).mean() == pytest.approx(mrr(rankings, held.gold))


@pytest.mark.parametrize("seed", range(3))
def test_vectors_that_know_nothing_are_not_chosen(held, seed):
    places = first_places(held, *fit_both(held.passages, Noise(seed)))
    choice = choose(places)
    used = 0 if choice.method == "bm25" else choice.dense_weight  # bm25 alone uses none of the vectors
    assert used <= USUAL_WEIGHT  # noise is no reason to raise it; where it changes no order, none to lower it
    assert choice.method in ("bm25", "weighted")
    first = {name: found <= 1 for name, found in places.items()}
    chosen = first["bm25" if choice.method == "bm25" else f"weighted {choice.dense_weight}"]
    assert not clearly_better(first["bm25"], chosen)
    assert clearly_better(chosen, first["hybrid"])
    assert clearly_better(chosen, first["weighted 0.9"])
    rows = {row["method"]: row for row in choice.table}
    assert list(rows) == list(METHODS)
    assert rows["dense"]["MRR"] < rows["bm25"]["MRR"]
    assert rows[choice.method]["better"] == rows[choice.method]["worse"] == 0
    assert choice.queries == len(held.queries)


def places_of(count=100, **methods):
    """Made-up places: each method finds its share of `count` queries first, the rest at place 4."""
    names = ["bm25", "dense", "hybrid", *(f"weighted 0.{tenth}" for tenth in range(1, 10))]
    found = lambda share: np.where(np.arange(count) < share, 1.0, 4.0)  # noqa: E731
    return {name: found(methods.get(name.replace(" 0.", ""), 50)) for name in names}


def test_the_usual_choice_stays_without_a_reason():
    choice = choose(places_of())
    assert (choice.method, choice.dense_weight) == ("weighted", 0.4)
    # one query in a hundred is chance
    assert choose(places_of(dense=51, weighted9=51)).dense_weight == 0.4
    few = FEWEST_QUERIES - 1
    assert choose(places_of(few, bm25=few, weighted4=0)) == Choice()


def test_what_is_clearly_better_is_chosen():
    assert choose(places_of(dense=80)).method == "dense"
    assert choose(places_of(bm25=80)).method == "bm25"
    assert choose(places_of(hybrid=80)).method == "hybrid"
    choice = choose(places_of(weighted1=60, weighted2=70, weighted8=55))
    assert (choice.method, choice.dense_weight) == ("weighted", 0.2)
    row = next(row for row in choice.table if row["method"] == "bm25")
    assert row == {
        "method": "bm25",
        "hit@1": 0.5,
        "hit@5": 1.0,
        "MRR": pytest.approx(0.625),
        "better": 0,
        "worse": 20,
    }


@pytest.mark.parametrize(
    ("wins", "losses", "clear"), [(0, 0, False), (1, 0, False), (2, 0, True), (12, 8, False), (13, 8, True)]
)
def test_clearly_is_one_standard_error(wins, losses, clear):
    one, other = np.zeros((2, 100), bool)
    one[:wins] = True
    other[wins : wins + losses] = True
    one[50:], other[50:] = True, True  # where both are right, nothing is said
    assert clearly_better(one, other) is clear
    assert not clearly_better(other, one)


def test_an_index_keeps_its_choice(passages, tmp_path):
    index = PassageIndex.build(passages, steps=2, dim=8, vocab_size=300)
    assert index.choice.queries >= FEWEST_QUERIES
    assert 0 < index.grading_seconds < index.building_seconds
    again = PassageIndex.load(index.save(tmp_path / "index"))
    assert asdict(again.choice) == asdict(index.choice)
    queries = ["How does with work?", "What does := do?"]
    assert again.rankings(queries, 5) == index.rankings(queries, 5, index.choice.method)


def test_bm25_knows_how_much_a_document_could_score():
    index = BM25().fit(["with enters with", "", "try"])
    highest = index.highest_scores()
    assert highest[0] == pytest.approx(index.scores("with enters")[0])
    assert highest[1] == 1
    assert index.document_frequency("with") == 1
    assert index.document_frequency("unknown") == 0
