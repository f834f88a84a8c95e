"""Hard negatives: what may not be one, ranges, margins, and the same choice as sentence-transformers'."""

import unicodedata

import numpy as np
import pytest
import torch

from minillm._files import BadFileError
from minillm.search import (
    BM25,
    DenseRetriever,
    Pair,
    ScoredPair,
    labelled_pairs,
    mine_hard_negatives,
    read_pairs,
)
from minillm.search.pairs import read_either

PAIRS = [
    ("red fox", "the red fox jumps"),
    ("blue whale", "the blue whale swims"),
    ("red bird", "a red bird sings"),
    ("red bird", "birds that are red"),
]
CORPUS = [
    "red red fox fox",  # more like the question than its answer
    "The  RED fox\njumps",  # the answer in other letters
    "red fox",  # the question itself
    "a fox",
    "a red car",
    "blue sky",
    "whale oil",
    "nothing of it",
]


def by_rank(query, *left_out):
    texts = list(dict.fromkeys([*CORPUS, *(positive for _, positive in PAIRS)]))
    ranking = BM25().fit(texts).search([query], 99)[0]
    return [texts[place] for place, _ in ranking if texts[place] not in left_out]


def test_the_highest_ranked_that_is_no_answer():
    mined = mine_hard_negatives(PAIRS, CORPUS, num_negatives=2)
    assert [one[:2] for one in mined] == PAIRS
    fox = by_rank("red fox", PAIRS[0][1], CORPUS[1], CORPUS[2])
    assert mined[0].negatives == tuple(fox[:2])
    assert mined[0].negatives[0] == "red red fox fox"
    birds = by_rank("red bird", PAIRS[2][1], PAIRS[3][1])
    assert (
        mined[2].negatives == mined[3].negatives == tuple(birds[:2])
    )  # both answers of one question are right


def test_an_answer_in_hangul_of_single_letters_is_the_answer_still():
    apart = unicodedata.normalize("NFD", "지민이 사과를 샀다")
    pairs = [("누가 사과를 샀니", "지민이 사과를 샀다")]
    (one,) = mine_hard_negatives(pairs, [apart, "수아가 사과를 팔았다"], num_negatives=2)
    assert one.negatives == ("수아가 사과를 팔았다",)


def test_ranges_start_behind_what_is_left_out():
    fox = by_rank("red fox", PAIRS[0][1], CORPUS[1], CORPUS[2])
    assert len(fox) > 4
    for first, last, count in ((0, 3, 3), (1, 4, 2), (2, None, 2), (0, 1, 1)):
        (one, *_) = mine_hard_negatives(PAIRS, CORPUS, count, range_min=first, range_max=last)
        assert one.negatives == tuple(fox[first : first + count])


def test_random_ones_come_from_the_range_and_follow_the_seed():
    fox = by_rank("red fox", PAIRS[0][1], CORPUS[1], CORPUS[2])
    seen = set()
    for seed in range(20):
        options = {
            "num_negatives": 2,
            "range_min": 1,
            "range_max": 5,
            "sampling_strategy": "random",
            "seed": seed,
        }
        (one, *_) = mine_hard_negatives(PAIRS, CORPUS, **options)
        assert mine_hard_negatives(PAIRS, CORPUS, **options)[0] == one
        assert len(set(one.negatives)) == 2
        seen |= set(one.negatives)
    assert seen == set(fox[1:5])


def test_a_margin_leaves_out_what_scores_as_high_as_the_answer():
    texts = list(dict.fromkeys([*CORPUS, *(positive for _, positive in PAIRS)]))
    scores = dict(zip(texts, BM25().fit(texts).scores("red fox")))
    for margin in (0.0, 0.1, 0.6):
        (one, *_) = mine_hard_negatives(PAIRS, CORPUS, 3, relative_margin=margin)
        highest = scores[PAIRS[0][1]] * (1 - margin)
        assert all(scores[text] <= highest for text in one.negatives)
        fox = by_rank("red fox", PAIRS[0][1], CORPUS[1], CORPUS[2])
        assert one.negatives == tuple(text for text in fox if scores[text] <= highest)[:3]


def test_a_question_that_shares_no_word_has_no_negative():
    mined = mine_hard_negatives([("zebra", "a striped horse"), *PAIRS])
    assert mined[0] == Pair("zebra", "a striped horse", ())
    # an answer that shares no word scores below everything that does
    (one,) = mine_hard_negatives([("red fox", "a striped horse")], CORPUS, relative_margin=0.1)
    assert one.negatives == ()


class Known:
    """An encoder of fixed vectors, with the few calls that sentence-transformers' miner makes of a model."""

    def __init__(self, vectors):
        self.vectors, self.device, self.dim = vectors, torch.device("cpu"), 8

    def encode(self, texts, **options):
        return np.stack([self.vectors[text] for text in texts])

    encode_query = encode_document = encode

    def similarity(self, a, b):
        return torch.as_tensor(a) @ torch.as_tensor(b).T

    def similarity_pairwise(self, a, b):
        return (torch.as_tensor(a) * torch.as_tensor(b)).sum(1)


@pytest.mark.parametrize(
    "options",
    [
        {"num_negatives": 3},
        {"num_negatives": 2, "range_min": 2, "range_max": 6},
        {"num_negatives": 2, "relative_margin": 0.2, "range_max": 20},
        {"num_negatives": 3, "relative_margin": 0.5, "range_min": 1, "range_max": 20},
        {"num_negatives": 3, "absolute_margin": 0.2, "range_max": 20},
        {"num_negatives": 3, "absolute_margin": 0.1, "relative_margin": 0.3, "range_max": 20},
        {"num_negatives": 2, "max_score": 0.3},
        {"num_negatives": 2, "max_score": 0.4, "min_score": 0.05},
    ],
)
def test_the_same_negatives_as_sentence_transformers(options):
    util = pytest.importorskip("sentence_transformers.util", reason="held against sentence-transformers")
    datasets = pytest.importorskip("datasets", reason="its miner takes a Dataset")
    generator = np.random.default_rng(0)
    anchors = [f"question {number}" for number in range(15)]
    pairs = [(one, f"answer {number % 12}") for number, one in enumerate([*anchors, *anchors[:3]])]
    corpus = [f"text {number}" for number in range(25)]
    vectors = {
        text: generator.normal(size=8) for text in dict.fromkeys([*anchors, *corpus, *(b for _, b in pairs)])
    }
    for anchor, positive in pairs:  # answers are near, so that a margin has something to say
        vectors[positive] = vectors[positive] + vectors[anchor]
    model = Known({text: (v / np.linalg.norm(v)).astype(np.float32) for text, v in vectors.items()})
    columns = {"anchor": [a for a, _ in pairs], "positive": [b for _, b in pairs]}
    theirs = util.mine_hard_negatives(
        datasets.Dataset.from_dict(columns),
        model,
        corpus=corpus,
        output_format="triplet",
        verbose=False,
        **options,
    )
    expected = {}
    for row in theirs:
        expected.setdefault((row["anchor"], row["positive"]), []).append(row["negative"])
    ours = mine_hard_negatives(pairs, corpus, retriever=DenseRetriever(model), **options)
    assert sum(len(one.negatives) for one in ours) > len(pairs)
    assert {one[:2]: list(one.negatives) for one in ours if one.negatives} == expected


def test_pairs_come_in_several_forms():
    rows = [
        Pair("a", "b", ("c", "d")),
        ("a", "b", "c", "d"),
        {"anchor": "a", "positive": "b", "negatives": ["c", "d"]},
    ]
    for row in rows:
        assert read_either([row]) == ([Pair("a", "b", ("c", "d"))], False)
    assert read_either([{"anchor": "a", "positive": "b", "negative": "c"}]) == (
        [Pair("a", "b", ("c",))],
        False,
    )
    assert read_either([("a", "b", 1)]) == ([ScoredPair("a", "b", 1.0)], True)
    assert labelled_pairs(rows[:1]) == [("a", "b", 1.0), ("a", "c", 0.0), ("a", "d", 0.0)]


def test_a_file_of_pairs_is_read_or_refused_by_its_line(tmp_path):
    path = tmp_path / "pairs.jsonl"
    lines = [
        '\ufeff{"anchor": "질문", "positive": "답"}',
        "",
        '{"anchor": "b", "positive": "c", "negatives": ["d"]}',
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert read_pairs(path) == [Pair("질문", "답"), Pair("b", "c", ("d",))]
    for content, message in (
        ('{"anchor": "a", "positive": "b"}\n{"anchor": "a"', "line 2"),
        ('{"anchor": "a"}', "line 1: it must have the keys .* positive is missing; it has .'anchor'."),
        ('{"query": "a", "answer": "b"}', "anchor is missing; it has .'query', 'answer'."),
        ('{"anchor": "a", "positive": null}', "line 1: it must hold an anchor, a positive .* got None"),
        ('{"anchor": "a", "positive": "b", "negatives": ["c", " "]}', "the negative of it must hold text"),
        (
            '{"anchor": "a", "positive": "The  b", "negatives": ["c", "the b"]}',
            "must not stand among its neg",
        ),
        ('{"anchor": "a", "positive": "\\ud800"}', r"line 1: it has the lone surrogate U\+D800"),
        ("[" * 100_000, "line 1: "),
        ('{"anchor": "a", "positive": " "}', "the positive of it must hold text"),
        ('{"anchor": "a", "positive": "b", "negatives": [1]}', "all str, got 1"),
        ("[1]", r"it must be .anchor, positive. or a dict of both, got \[1\]"),
        ("\n", "holds no pair"),
    ):
        path.write_text(content)
        with pytest.raises(BadFileError, match=message):
            read_pairs(path)
    path.write_bytes(
        b'{"anchor": "a", "positive": "b", "negatives": null}\r\n{"anchor": "c", "positive": "d"}\r\n'
    )
    assert read_pairs(path) == [Pair("a", "b"), Pair("c", "d")]
    path.write_bytes("질문".encode("cp949"))
    with pytest.raises(BadFileError, match="not UTF-8"):
        read_pairs(path)
    with pytest.raises(BadFileError, match="cannot be read"):
        read_pairs(tmp_path / "none")


@pytest.mark.parametrize(
    ("pairs", "options", "message"),
    [
        (5, {}, "pairs must be a list of pairs, got 5"),
        ([], {}, "at least one pair"),
        (["ab"], {}, r"pairs\[0\] must be .anchor, positive."),
        ([("a", None)], {}, "all str, got None"),
        (PAIRS, {"corpus": "text"}, "corpus must be a list of str"),
        (PAIRS, {"corpus": 0}, "corpus must be a list of str, got 0"),
        (PAIRS, {"corpus": np.array([1, 2])}, "corpus must hold str only"),
        (PAIRS, {"num_negatives": 0}, "num_negatives must be at least 1"),
        (PAIRS, {"range_min": 3, "range_max": 4}, "leaves 1 texts, num_negatives asks for 3"),
        (PAIRS, {"range_min": -1}, "range_min must be at least 0"),
        (PAIRS, {"relative_margin": 2}, "relative_margin must be between 0 and 1"),
        (PAIRS, {"absolute_margin": -1}, "absolute_margin must be at least 0"),
        (PAIRS, {"max_score": "high"}, "max_score must be a finite number"),
        ([("a", "b", "B ")], {}, r"the positive of pairs\[0\] must not stand among its negatives, got 'b'"),
        (PAIRS, {"sampling_strategy": "best"}, "sampling_strategy must be one of"),
        (PAIRS, {"retriever": 5}, "retriever must have fit"),
    ],
)
def test_bad_input_is_named(pairs, options, message):
    with pytest.raises(ValueError, match=message):
        mine_hard_negatives(pairs, **options)
