"""Checkers of lesson 13_3, metrics and benchmarks."""

import math
from collections import Counter

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    Inputs,
    as_floats,
    as_list,
    cases,
    copied_library,
    expect,
    forbid,
    plain,
    shown,
)
from minillm.evaluation import bleu, sentence_bleu

OWN = "build it yourself"
BLEU = [f"minillm.evaluation.bleu.{name}" for name in (
    "bleu", "bleu_parts", "bleu_of_tokens", "sentence_bleu", "matches_and_totals", "smoothed", "geometric_mean",
    "nearest_length",
)]  # fmt: skip
NGRAMS = "minillm.evaluation.ngrams.ngram_counts"
HARNESS = [f"minillm.evaluation.harness.{name}" for name in ("scored", "log_likelihoods", "multiple_choice")]


# --- BLEU from tokens ---


@exercise("13-3-a", points=4)
def corpus_bleu(answer):
    """Matches, n-grams, brevity penalty and score of a corpus."""
    copied = copied_library(answer)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"
    kinds = (
        "random",
        "repeated",
        "equal",
        "short",
        "long",
        "nothing written",
        "no reference text",
        "two lengths",
    )
    for case in cases(most=48, count=(1, 2, 4), references=(1, 2, 3), max_order=(4, 1, 2, 3), kind=kinds):
        inputs = Inputs(case.seed)
        rows = [one_row(inputs, case.kind, case.references) for _ in range(case.count)]
        expected = by_hand(rows, case.max_order)
        given = [(list(hypothesis), [list(one) for one in references]) for hypothesis, references in rows]
        with forbid(OWN, *BLEU, NGRAMS, answer=answer):
            found = answer(given, case.max_order)
        where = f"rows={shown(rows)}, max_order={case.max_order}"
        found = as_list(found, f"what corpus_bleu returns ({where})", 4)
        names = ("matches", "totals", "penalty", "score")
        for name, mine, right in zip(names, found, expected):
            expect(mine, right, 0.0 if name in names[:2] else 1e-9 * 100, f"{name} ({where})")
        expect(given, [list(row) for row in rows], hint=f"the rows must stay as they are ({where})")


def one_row(inputs, kind, count):
    """(hypothesis, references) over few words, so that n-grams of all orders match."""
    words = "abc" if kind != "repeated" else "aab"

    def text(low, high):
        return list(inputs.text(inputs.integer(low, high), words))

    references = [text(4, 9) for _ in range(count)]
    hypothesis = {
        "random": text(3, 9), "repeated": ["a"] * inputs.integer(3, 9), "equal": list(references[-1]),
        "short": references[0][:3], "long": references[0] + text(1, 5), "nothing written": [],
        "no reference text": text(3, 6), "two lengths": text(5, 5),
    }[kind]  # fmt: skip
    if kind == "no reference text":
        references[0] = []
    if kind == "two lengths":  # one as much shorter as the other is longer
        references = [list(inputs.text(7, words)), list(inputs.text(3, words)), *references[2:]]
    return hypothesis, references


def by_hand(rows, max_order):
    """N-gram by n-gram, in whole numbers as far as they go."""
    matches, totals = [], []
    for n in range(1, max_order + 1):
        hits = count = 0
        for hypothesis, references in rows:
            own = grams(hypothesis, n)
            count += len(own)
            for gram in set(own):
                hits += min(own.count(gram), max(grams(one, n).count(gram) for one in references))
        matches.append(hits)
        totals.append(count)
    written = sum(len(hypothesis) for hypothesis, _ in rows)
    wanted = sum(min((abs(len(r) - len(h)), len(r)) for r in references)[1] for h, references in rows)
    penalty = 0.0 if not written else 1.0 if written >= wanted else math.exp(1 - wanted / written)
    if not all(matches):
        return matches, totals, penalty, 0.0
    product = math.prod(m / t for m, t in zip(matches, totals))
    return matches, totals, penalty, 100 * penalty * product ** (1 / max_order)


def grams(tokens, n):
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


# --- the likelihood of a choice ---


@exercise("13-3-b", points=4)
def choose(answer):
    """The choice that a model finds likeliest, from its logits."""
    copied = copied_library(answer)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"
    for case in cases(
        most=48, count=(1, 2, 4), prompt=(1, 2, 5), longest=(1, 3, 6), vocabulary=(2, 5, 9), padding=(0, 1, 3),
        kind=("random", "random", "huge", "greedy", "ties", "equal choices", "far below"),
    ):  # fmt: skip
        inputs = Inputs(case.seed)
        scale = 1e4 if case.kind == "huge" else 3.0
        start = inputs.integers(case.prompt, 0, case.vocabulary - 1)
        choices, logits = [], []
        for _ in range(case.count):
            own = inputs.integers(inputs.integer(1, case.longest), 0, case.vocabulary - 1)
            ids = start + own
            table = inputs.matrix(len(ids) + case.padding, case.vocabulary, -scale, scale)
            for t in range(case.prompt, len(ids)):
                row = table[t - 1]
                if case.kind == "greedy":
                    row[ids[t]] = max(row) + 0.5
                elif case.kind == "ties":
                    row[ids[t]] = max(row)
                elif case.kind == "far below":
                    row[:] = [x + 2000.0 for x in row]
                    row[ids[t]] -= 900.0
            choices.append(ids)
            logits.append(table)
        if case.kind == "equal choices":
            choices, logits = (
                [list(choices[0]) for _ in choices],
                [[list(r) for r in logits[0]] for _ in logits],
            )
        expected = likelihoods(logits, choices, case.prompt)
        given = [[list(row) for row in table] for table in logits], [list(ids) for ids in choices]
        with forbid(OWN, *HARNESS, answer=answer):
            found = answer(*given, case.prompt)
        where = f"{case}, choices {choices}"
        scores, greedy, place = as_list(found, f"what choose returns ({where})", 3)
        scores = as_floats(scores, f"the scores ({where})", case.count)
        for mine, right in zip(scores, expected[0]):
            expect(mine, right, 1e-6 * max(1.0, abs(right)), f"a score ({where})")
        expect([bool(one) for one in as_list(greedy, f"greedy ({where})", case.count)], expected[1],
               hint=f"greedy ({where})")  # fmt: skip
        expect(place, expected[2], hint=f"the answer ({where}, scores {shown(expected[0])})")
        expect(list(given), [logits, choices], hint=f"the inputs must stay as they are ({where})")


def likelihoods(logits, choices, prompt_length):
    scores, greedy = [], []
    for table, ids in zip(logits, choices):
        total, best = 0.0, True
        for t in range(prompt_length, len(ids)):
            row = table[t - 1]
            # log p = -log sum exp(x - own)
            gaps = [x - row[ids[t]] for x in row]
            top = max(gaps)
            total -= top + math.log(sum(math.exp(gap - top) for gap in gaps))
            best = best and top == 0
        scores.append(total)
        greedy.append(best)
    return scores, greedy, max(range(len(scores)), key=lambda i: (scores[i], -i))


# --- two winners ---


@exercise("13-3-c", points=3)
def two_winners(answer):
    """Systems that the mean of sentence BLEU and corpus BLEU put in another order."""
    assert isinstance(answer, dict), f"check a dict, as the test cell does, got {shown(answer)}"
    lists = {}
    for name in ("references", "first", "second"):
        assert name in answer, f"the answer lacks {name!r}"
        lists[name] = as_list(plain(answer[name], name), name)
    count = len(lists["references"])
    assert 2 <= count <= 8, f"references must hold 2 to 8 texts, got {count}"
    for name, texts in lists.items():
        assert len(texts) == count, f"{name} must hold {count} texts as references does, got {len(texts)}"
        for text in texts:
            assert isinstance(text, str), f"{name} must hold texts, got {shown(text)}"
            words = len(text.split())
            assert 1 <= words <= 40, f"a text must have 1 to 40 words, got {words} in {name}: {shown(text)}"
        twice = [text for text, times in Counter(texts).items() if times > 1]
        assert not twice, f"a text stands twice in {name}: {shown(twice[0])}"
    figures = {}
    for name in ("first", "second"):
        pairs = list(zip(lists[name], lists["references"]))
        figures[name] = (
            sum(sentence_bleu(h, [r]) for h, r in pairs) / count,
            bleu(lists[name], lists["references"]),
        )
    (mean_1, corpus_1), (mean_2, corpus_2) = figures.values()
    said = (
        f"first: mean {mean_1:.1f}, corpus {corpus_1:.1f}; second: mean {mean_2:.1f}, corpus {corpus_2:.1f}"
    )
    assert mean_1 >= mean_2 + 5, f"the mean must put the first system in front by 5 points. {said}"
    assert corpus_2 >= corpus_1 + 5, f"corpus BLEU must put the second system in front by 5 points. {said}"


# --- counting ---


@exercise("13-3-d", points=2)
def counted(answer):
    """Clipped matches, an LCS, two choices, and the last number of a text."""
    found = as_list(plain(answer), "the answer", 5)
    hints = (
        "a stands three times and matches twice, as the reference has two; b matches once",
        "B C A or B D A, in the same order in both",
        "the largest of -6, -4, -9, -5",
        "-6/3, -4/2, -9/6, -5/2: the largest",
        "the last thing that looks like a number, without a point behind it",
    )
    for number, (mine, right, hint) in enumerate(zip(found, (3, 3, 1, 2, 2), hints), start=1):
        expect(mine, right, hint=f"number {number}: {hint}")
