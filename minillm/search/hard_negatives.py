"""Hard negatives: texts that a search ranks high for a question and that are not its answer.

    ranked by BM25 for "who wrote Hamlet":   1 Hamlet is a play by Shakespeare      the positive: left out
                                             2 Hamlet was first printed in 1603     shares its words, answers nothing
                                             3 a play in five acts ...

A random text of the batch is told from the answer by its subject; such a one only by its meaning. The danger is a text
that answers too and that nobody has marked: the first ranks are likeliest to hold one, so `range_min` skips some, and
`relative_margin` asks for texts that score clearly below the positive.

Book: 11.3 임베딩 모델 미세 조정하기. Papers: Karpukhin et al. 2020 (DPR: negatives by BM25); Moreira et al. 2024
(NV-Retriever: margins). Held against: sentence_transformers.util.mine_hard_negatives, with the same retriever.
Leaves out: rescoring by a cross-encoder.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minillm._checks import check_choice, check_int, check_number, describe
from minillm.data.documents import plain_words
from minillm.search._ids import check_texts
from minillm.search.bm25 import BM25
from minillm.search.pairs import Pair, as_pairs

AT_A_TIME = 256  # anchors whose rankings are held at a time


def mine_hard_negatives(
    pairs: Any,
    corpus: Sequence[str] | None = None,
    num_negatives: int = 3,
    range_min: int = 0,
    range_max: int | None = None,
    relative_margin: float | None = None,
    sampling_strategy: str = "top",
    retriever: Any = None,
    seed: int = 0,
    *,
    absolute_margin: float | None = None,
    max_score: float | None = None,
    min_score: float | None = None,
) -> list[Pair]:
    """Each pair with up to `num_negatives` more negatives, the highest ranked first; none where none was found.

    pairs: (anchor, positive, negative, ...); an anchor may have several positives. corpus: more texts to draw from,
    besides all the positives. range_min, range_max: which of the ranked texts may be taken, counted from 0 once those
    are left out that may not be: all positives of the anchor, texts equal to one of them or to the anchor up to white
    space, letter case and how Hangul is composed, and those that the next four refuse. relative_margin m: what scores
    more than (1 - m) of the anchor's lowest positive (all, where that is not even ranked); absolute_margin: more than
    it less the margin; max_score, min_score: above or below these scores of the retriever. range_max None: range_min +
    num_negatives, or ten times as many after a margin or a max_score or for "random". sampling_strategy: "top", or
    "random" among those of the range, by `seed`.
    retriever: anything with fit(texts) and search(queries, k), such as DenseRetriever(encoder); by default BM25(),
    which finds only texts that share a word with the anchor.

    Raises ValueError for anything else, and for a range that leaves too few.
    """
    rows = as_pairs(pairs)
    num_negatives = check_int("num_negatives", num_negatives, 1)
    range_min = check_int("range_min", range_min, 0)
    check_choice("sampling_strategy", sampling_strategy, ("top", "random"))
    if relative_margin is not None:
        relative_margin = check_number("relative_margin", relative_margin, 0, 1)
    if absolute_margin is not None:
        absolute_margin = check_number("absolute_margin", absolute_margin, 0)
    bounds = {"max_score": math.inf, "min_score": -math.inf}
    for name, value in (("max_score", max_score), ("min_score", min_score)):
        if value is not None:
            bounds[name] = check_number(name, value)
    wide = (relative_margin, absolute_margin, max_score) != (None,) * 3 or sampling_strategy == "random"
    if range_max is None:
        range_max = range_min + num_negatives * (10 if wide else 1)
    if check_int("range_max", range_max, 1) - range_min < num_negatives:
        raise ValueError(
            f"range_min {range_min} to range_max {range_max} leaves {max(0, range_max - range_min)} texts, "
            f"num_negatives asks for {num_negatives}"
        )
    texts = list(
        dict.fromkeys(
            [*check_texts("corpus", [] if corpus is None else corpus), *(one.positive for one in rows)]
        )
    )
    retriever = BM25() if retriever is None else retriever
    if not all(callable(getattr(retriever, method, None)) for method in ("fit", "search")):
        raise ValueError(f"retriever must have fit(texts) and search(queries, k), got {describe(retriever)}")
    retriever.fit(texts)
    generator = np.random.default_rng(check_int("seed", seed, 0))

    positives: dict[str, set[str]] = {}  # of each anchor
    for one in rows:
        positives.setdefault(one.anchor, set()).add(one.positive)
    anchors, mined = list(positives), {}
    known = set(map(plain_words, texts))
    repeats = len(texts) - len(known) + any(plain_words(one.anchor) in known for one in rows)
    # enough places that the range is full even where everything that is left out stands in front of it
    depth = min(len(texts), range_max + max(map(len, positives.values())) + repeats)
    for start in range(0, len(anchors), AT_A_TIME):
        part = anchors[start : start + AT_A_TIME]
        for anchor, ranking in zip(part, retriever.search(part, depth)):
            ranked = [(texts[place], score) for place, score in ranking]
            fit = wrong_ones(anchor, positives[anchor], ranked, relative_margin, absolute_margin, **bounds)
            fit = fit[range_min:range_max]
            if sampling_strategy == "random" and len(fit) > num_negatives:
                fit = [fit[place] for place in sorted(generator.permutation(len(fit))[:num_negatives])]
            mined[anchor] = fit[:num_negatives]
    return [
        one._replace(negatives=tuple(dict.fromkeys([*one.negatives, *mined[one.anchor]]))) for one in rows
    ]


def wrong_ones(
    anchor: str,
    right: set[str],
    ranked: Sequence[tuple[str, float]],
    relative_margin: float | None = None,
    absolute_margin: float | None = None,
    max_score: float = math.inf,
    min_score: float = -math.inf,
) -> list[str]:
    """The texts of a ranking [(text, score), ...] that may be negatives of `anchor`, whose positives are `right`."""
    # the same text in other letters is as right
    left_out = {plain_words(text) for text in (anchor, *right)}
    highest = max_score
    if relative_margin is not None or absolute_margin is not None:
        listed = [score for text, score in ranked if text in right]
        # a positive that is not even listed scores below everything that is
        lowest = min(listed) if len(listed) == len(right) else -math.inf
        if relative_margin:  # infinity times zero is none
            highest = min(highest, lowest - abs(lowest) * relative_margin)
        highest = min(highest, lowest - (absolute_margin or 0))
    return [
        text for text, score in ranked if plain_words(text) not in left_out and min_score <= score <= highest
    ]
