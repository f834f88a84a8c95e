"""An index that grades itself: which search method is best on this text, told by queries made from the text.

A user has no list of questions with their answers. But a text holds queries of its own:
    a sentence   is taken out of its passage, and the passage must be found by it;
    a title      is taken off its passages, and one of them must be found by it.
A question is no copy of its answer, and shares only some of its words. So of a sentence's words a random share, from
none to half, stays behind in the passage. Everything held out is also kept from the encoder's training: an encoder
that had read it puts twice as many first (of 300 sentences of Python's reference .63 instead of .25, keyword search
.27), which says nothing about questions it has not read.

    held = hold_out(passages);   encoder = train_encoder(held.passages);   lexical, dense: fitted on held.passages
    choice = choose(first_places(held, lexical, dense))

Book: 13.3 LLM 평가하기, 11.3 임베딩 모델 미세 조정하기. Paper: Lee, Chang & Toutanova 2019 (a sentence as the query
for the rest, the inverse cloze task). Left out: queries written by a language model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minillm._checks import check_choice, check_int, check_number, describe
from minillm.data import Passage
from minillm.data.documents import check_passages
from minillm.search._ids import Ranking
from minillm.search.encoder_training import SENTENCE_END
from minillm.search.hybrid import HybridSearch
from minillm.search.weighted import WeightedSearch

METHODS = ("bm25", "dense", "hybrid", "weighted")
WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # what is tried for the dense part of "weighted"
USUAL_WEIGHT = 0.4  # of five texts the mean MRR on such queries is flat from 0.3 to 0.5
FEWEST_QUERIES = 30  # fewer say nothing
DEPTH = 100  # a passage that is not among the first 100 counts as not found

MOST_SENTENCES, MOST_TITLES = 400, 80
SENTENCE_WORDS = range(5, 41)  # shorter ones say too little, longer ones are no question
LEFT_BEHIND = 0.5  # at most this share of a sentence's words stays in its passage


@dataclass(frozen=True)
class HeldOut:
    """Passages without what was held out, the queries, and the ids of the passages that each must find."""

    passages: list[Passage]
    queries: list[str]
    gold: list[set[str]]


def hold_out(passages: Sequence[Passage], seed: int = 0) -> HeldOut:
    """Take one sentence each out of up to 400 passages of three sentences or more, and up to 80 titles (at most a
    fifth of all) off their passages. The same passages and seed give the same queries; a short text gives few.
    Raises ValueError for anything but Passages with different ids."""
    passages = check_passages(passages)
    generator = np.random.default_rng(check_int("seed", seed, 0))
    shortened = {passage.id: passage for passage in passages}
    queries: list[str] = []
    gold: list[set[str]] = []
    for number in generator.permutation(len(passages)):
        taken = take_sentence(passages[number], generator) if len(queries) < MOST_SENTENCES else None
        if taken:
            sentence, shortened[passages[number].id] = taken
            queries.append(sentence)
            gold.append({passages[number].id})
    of_title: dict[str, set[str]] = {}
    for passage in passages:
        of_title.setdefault(passage.title, set()).add(passage.id)
    titles = sorted(title for title in of_title if title.strip())
    for number in generator.permutation(len(titles))[: min(MOST_TITLES, len(titles) // 5)]:
        queries.append(titles[number])
        gold.append(of_title[titles[number]])
        for one in of_title[titles[number]]:
            shortened[one] = replace(shortened[one], title="")
    return HeldOut(list(shortened.values()), queries, gold)


def take_sentence(passage: Passage, generator: np.random.Generator) -> tuple[str, Passage] | None:
    """(a sentence of 5 to 40 words drawn from the passage, the passage with at most half of its words in its place);
    None for a passage of fewer than three sentences, or with none that is fit."""
    sentences = [" ".join(part.split()) for part in SENTENCE_END.split(passage.text) if part.strip()]
    fit = [
        place
        for place, sentence in enumerate(sentences)
        if len(sentence.split()) in SENTENCE_WORDS and sentences.count(sentence) == 1
    ]
    if len(sentences) < 3 or not fit:
        return None
    chosen = fit[int(generator.integers(len(fit)))]
    sentence = sentences[chosen]
    words = sentence.split()
    # some words stay behind: a question shares words with its answer, though not all
    count = round(generator.random() * LEFT_BEHIND * len(words))
    kept = sorted(generator.permutation(len(words))[:count])
    sentences[chosen] = " ".join(words[place] for place in kept)
    return sentence, replace(passage, text="\n".join(sentences))


def place_of(ranking: Ranking, gold: set[str]) -> float:
    """The place of the first id of `gold` in a ranking, 1 is the best; infinity when none is listed."""
    return next((float(place) for place, (one, _) in enumerate(ranking, 1) if one in gold), np.inf)


def first_places(held: HeldOut, lexical: Any, dense: Any) -> dict[str, np.ndarray]:
    """For each method, and "weighted 0.1" to "weighted 0.9", the place of the passage that each query must find,
    float64 (Q,), infinity beyond the first 100. lexical and dense: fitted on `held.passages`."""
    retrievers = {"bm25": lexical, "dense": dense, "hybrid": HybridSearch(lexical, dense)}
    places = {
        name: np.array([place_of(*pair) for pair in zip(one.search(held.queries, DEPTH), held.gold)])
        for name, one in retrievers.items()
    }
    at = {one: place for place, one in enumerate(lexical.ids)}
    both = WeightedSearch(lexical, dense, USUAL_WEIGHT)
    found = np.full((len(WEIGHTS), len(held.queries)), np.inf)
    for query, (text, gold) in enumerate(zip(held.queries, held.gold)):
        words, meaning = both.parts(text)  # the same for every weight
        for row, weight in enumerate(WEIGHTS):
            scores = (1 - weight) * words + weight * meaning
            place = 1 + (scores > scores[[at[one] for one in gold]].max()).sum()
            found[row, query] = place if place <= DEPTH else np.inf
    return places | {f"weighted {weight}": row for weight, row in zip(WEIGHTS, found)}


@dataclass(frozen=True)
class Choice:
    """What an index uses when nobody names a method: `method`, and `dense_weight` for "weighted".

    table: for each method a row {"method", "hit@1", "hit@5", "MRR", "better", "worse"} over `queries` queries; better
    and worse count the queries whose passage it places before and behind the chosen method. Empty when ungraded.
    """

    method: str = "weighted"
    dense_weight: float = USUAL_WEIGHT
    queries: int = 0
    table: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        check_choice("method", self.method, METHODS)
        check_number("dense_weight", self.dense_weight, 0, 1)
        check_int("queries", self.queries, 0)
        object.__setattr__(self, "table", tuple(self.table))  # JSON reads it as a list


def choose(places: Mapping[str, np.ndarray]) -> Choice:
    """The method, and the weight of "weighted", that put most of the wanted passages first.

    places as `first_places` gives them. A few hundred queries leave chance its part, so the usual choice, weighted
    with 0.4, needs a reason to be left (the one-standard-error rule, Breiman et al. 1984): the weight is the nearest
    to 0.4 that is not clearly worse than the best one, and another method is chosen only where it is clearly better
    than that. Places beyond the first are no reason: in a text of look-alike entries vectors gain there without
    finding anything. With fewer than 30 queries: the usual choice, and no table. Raises ValueError where a method
    or a weight is missing, or they have not the same queries.
    """
    _check_places(places)
    if len(places["bm25"]) < FEWEST_QUERIES:
        return Choice()
    first = {name: found <= 1 for name, found in places.items()}
    best = max(WEIGHTS, key=lambda weight: first[f"weighted {weight}"].mean())
    weight = min(
        (one for one in WEIGHTS if not clearly_better(first[f"weighted {best}"], first[f"weighted {one}"])),
        key=lambda one: round(abs(one - USUAL_WEIGHT), 9),  # of two equally near the smaller
    )
    names = {"weighted": f"weighted {weight}", "bm25": "bm25", "dense": "dense", "hybrid": "hybrid"}
    method = max(names, key=lambda method: first[names[method]].mean())
    if not clearly_better(first[names[method]], first[names["weighted"]]):
        method = "weighted"
    table = grades({name: places[names[name]] for name in METHODS}, method)
    return Choice(method, weight, len(places["bm25"]), table)


def _check_places(places: Any) -> None:
    needed = ("bm25", "dense", "hybrid", *(f"weighted {weight}" for weight in WEIGHTS))
    found = (
        [np.shape(places[name]) for name in needed if name in places] if isinstance(places, Mapping) else []
    )
    if len(found) < len(needed) or len(set(found)) > 1 or len(found[0]) != 1:
        raise ValueError(
            f"places must hold an array (Q,) for each of {', '.join(needed)}, got {describe(places)}"
        )


def grades(places: Mapping[str, np.ndarray], chosen: str) -> tuple[dict[str, Any], ...]:
    """The rows of `Choice.table`: how good each method is, and on how many queries it beats the chosen one."""
    return tuple(
        {
            "method": name,
            "hit@1": float((found <= 1).mean()), "hit@5": float((found <= 5).mean()), "MRR": float((1 / found).mean()),
            "better": int((found < places[chosen]).sum()), "worse": int((found > places[chosen]).sum()),
        }
        for name, found in places.items()
    )  # fmt: skip


def clearly_better(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether `one` wins over `other`, bool (Q,) on the same queries, by more than one standard error.

    wins - losses > sqrt(wins + losses), where only queries count on which they differ (McNemar 1947).
    """
    wins, losses = int((one & ~other).sum()), int((other & ~one).sum())
    return wins - losses > math.sqrt(wins + losses)
