"""How often a semantic cache would hit, rightly and falsely: pairs of sentences that people judged, English and Korean.

    python -m tests.benchmarks.cache_quality [METHOD ...] --kept FOLDER [--seeds 0 1 2] [--list] [--write]

STS-B and KorSTS, validation: the same 1,500 pairs in two languages, 0 to 5 by people. From 4 on a pair counts as one
question (the same but for unimportant details), below as two. A seed splits the pairs in halves that share no sentence:
one chooses the lowest threshold with at most 2 % false hits (choose_threshold), the other one is reported; Wilson's
intervals. "+ same numbers": a hit must hold the same numbers besides (same_numbers). Encoders read both sentences as
questions; "shared words" is no model: |A and B| / |A or B| of the words. Needs the models e5 and minilm. The settings
were set once, before any result was seen. Minutes of one thread, printed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import numpy as np

from minillm.apps.llm_cache import choose_threshold, same_numbers, threshold_curve
from minillm.data import load_dataset, prove_held_out
from minillm.evaluation import paired, wilson_interval
from minillm.search import SentenceEncoder
from minillm.search.words import plain_words
from tests.benchmarks import record
from tests.benchmarks.kept_runs import KeptRuns

SAME, MOST_FALSE = 4.0, 0.02
METHODS = {
    "e5, English": ("e5", "stsb"),
    "e5, Korean": ("e5", "korsts"),
    "minilm, English": ("minilm", "stsb"),
    "shared words, English": (None, "stsb"),
    "shared words, Korean": (None, "korsts"),
}
GUARD = " + same numbers"
HEAD = ["method, seed of the split", "one question / two", "threshold", "hit rate [95 %]", "false-hit rate [95 %]",
        "false among hits", "hits against shared words: wins, losses; difference [95 %]"]  # fmt: skip
CURVE = (0.80, 0.84, 0.88, 0.90, 0.92, 0.94, 0.96, 0.98)


def pairs_of(data: str, most: int | None = None) -> list[tuple[str, str, bool]]:
    """(sentence, sentence, whether they are one question)."""
    rows = [row for row in load_dataset(data, "validation") if row["sentence1"] and row["sentence2"]]
    return [(row["sentence1"], row["sentence2"], row["score"] >= SAME) for row in rows[:most]]


def halves(pairs: list[tuple[str, str, bool]], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Which pairs choose, and which are reported: pairs that share a sentence, also by way of others, stay together."""
    above: dict[str, str] = {}

    def top(text: str) -> str:
        while above.setdefault(text, text) != text:
            above[text] = above[above[text]]
            text = above[text]
        return text

    for first, second, _ in pairs:
        above[top(first)] = top(second)
    groups = [top(first) for first, _, _ in pairs]
    names = sorted(set(groups))
    drawn = dict(zip(names, np.random.default_rng(seed).random(len(names)) < 0.5))
    chooses = np.array([drawn[group] for group in groups])
    return chooses, ~chooses


def similarities(source: str | None, pairs: list[tuple[str, str, bool]]) -> np.ndarray:
    """Cosines of an encoder, or shares of words (N,)."""
    if source is None:
        words = [[set(plain_words(text)) for text in pair[:2]] for pair in pairs]
        return np.array([len(a & b) / max(1, len(a | b)) for a, b in words])
    encoder = SentenceEncoder.from_pretrained(source)
    texts = list(dict.fromkeys(text for pair in pairs for text in pair[:2]))
    rows = dict(zip(texts, encoder.encode_query(texts)))
    return np.array([float(rows[a] @ rows[b]) for a, b, _ in pairs])


def measure(method: str, most: int | None = None) -> dict[str, Any]:
    """The pairs' similarities: the splits of all seeds are made of these."""
    source, data = METHODS[method]
    pairs, begun = pairs_of(data, most), time.process_time()
    found = similarities(source, pairs)
    return {
        "method": method, "seed": 0, "similarities": [round(float(one), 6) for one in found],
        "same": [pair[2] for pair in pairs], "numbers": [same_numbers(a, b) for a, b, _ in pairs],
        "seconds": time.process_time() - begun,
    }  # fmt: skip


def lines_of(
    row: dict[str, Any], seeds: Iterable[int], words: dict[str, Any] | None = None
) -> list[list[str]]:
    """The table's lines of a method, seed by seed, without the guard and with it. words: the row that it is compared
    with, on the pairs of the reported half that are one question."""
    pairs = pairs_of(METHODS[row["method"]][1], len(row["same"]))
    same, lines = np.array(row["same"]), []
    for seed in seeds:
        chooses, reported = halves(pairs, seed)
        texts = [
            [text for pair, part in zip(pairs, side) if part for text in pair[:2]]
            for side in (reported, chooses)
        ]
        prove_held_out(*texts, what="text")
        one, two = int(same[reported].sum()), int((~same[reported]).sum())
        for guard in ("", GUARD):
            scores, threshold = scores_and_threshold(row, guard, same, chooses)
            [found] = threshold_curve(scores[reported], same[reported], [threshold])
            rates = [
                share(found.hit_rate, one),
                share(found.false_hit_rate, two),
                f"{found.false_among_hits:.2f}",
            ]
            against = ""
            if words is not None and words["method"] != row["method"]:
                others, other = scores_and_threshold(words, guard, same, chooses)
                asked = reported & same
                result = paired(scores[asked] >= threshold, others[asked] >= other)
                low, high = result.interval
                against = (
                    f"{result.wins}, {result.losses}; {result.difference:+.2f} [{low:+.2f}, {high:+.2f}]"
                )
            lines.append(
                [f"{row['method']}{guard}, {seed}", f"{one} / {two}", f"{threshold:.3f}", *rates, against]
            )
    return lines


def scores_and_threshold(
    row: dict[str, Any], guard: str, same: np.ndarray, chooses: np.ndarray
) -> tuple[np.ndarray, float]:
    """The similarities of all pairs (N,), and the threshold that one half chooses."""
    scores = np.array(row["similarities"])
    scores = np.where(row["numbers"], scores, -1.0) if guard else scores
    return scores, choose_threshold(scores[chooses], same[chooses], MOST_FALSE)


def share(rate: float, count: int) -> str:
    """A share of `count` with Wilson's 95 % interval, which is no point where nothing was found."""
    low, high = wilson_interval(round(rate * count), count)
    return f"{rate:.2f} [{low:.2f}, {high:.2f}]"


def main() -> None:
    """Measure what is not recorded yet, and print the table of all that is."""
    runs = KeptRuns(__doc__.splitlines()[0], METHODS, "cache.jsonl")
    for name in [] if runs.given.list else runs.given.methods or METHODS:
        if (name, 0) not in runs.done:
            runs.add(measure(name))
    rows, spent = [], 0.0
    for name in METHODS:
        if (name, 0) in runs.done:
            row = runs.done[name, 0]
            rows += lines_of(
                row, runs.given.seeds, runs.done.get((f"shared words{name[name.index(',') :]}", 0))
            )
            spent += row["seconds"]
            curve = threshold_curve(row["similarities"], row["same"], CURVE)
            print(
                name,
                *(f"{one.threshold:.2f}: {one.hit_rate:.2f} {one.false_hit_rate:.3f}" for one in curve),
                sep="  ",
            )
    print(record.markdown(HEAD, rows))
    print(f"{spent:.0f} s of one thread")
    if runs.given.write:
        record.put_rows("cache_quality", HEAD, rows, [row[0] for row in rows])


if __name__ == "__main__":
    main()
