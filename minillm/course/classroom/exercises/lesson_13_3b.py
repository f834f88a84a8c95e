"""Checkers of lesson 13_3b, people and models as judges."""

import math

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    Case,
    Inputs,
    as_floats,
    as_list,
    cases,
    copied_library,
    expect,
    expect_parts,
    forbid,
    packages_of,
    plain,
    shown,
)
from minillm.evaluation import bradley_terry

OWN = "build it yourself"
RATINGS = [f"minillm.evaluation.ratings.{name}" for name in (
    "bradley_terry", "strengths", "elo", "win_counts", "players_and_rows", "named",
)]  # fmt: skip
BY_HAND = [
    *(f"minillm.evaluation.ratings.{name}" for name in ("elo", "elo_after", "players_and_rows", "named")),
    "minillm.evaluation.agreement.cohen_kappa",
    "minillm.course.classroom.exercises.lesson_13_3b.points_after",
    "minillm.course.classroom.exercises.lesson_13_3b.beyond_luck",
]
JUDGES = [f"minillm.apps.judging.judges.{name}" for name in ("both_orders", "position_bias")]


# --- the strengths ---


@exercise("13-3b-a", points=4)
def fit(answer):
    """The likeliest strengths of a few players."""
    copied = copied_library(answer)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"
    slow = Case(players=8, ties=False, named="texts", order="mixed", kind="halves", seed=90)
    drawn = cases(
        most=28, players=(2, 3, 5, 8), ties=(False, True), named=("texts", "numbers"), order=("a first", "mixed"),
        kind=("even", "lopsided", "sparse", "many", "halves"),
    )  # fmt: skip
    for case in (*drawn, slow):
        inputs = Inputs(case.seed)
        names = [("가", "나", "다", "라", "마", "바", "사", "아")[i] if case.named == "texts" else 10 * i + 3
                 for i in range(case.players)]  # fmt: skip
        games = some_games(inputs, names, case)
        expected = dict(bradley_terry(games, resamples=0))
        given = list(games)
        with forbid(OWN, *RATINGS, answer=answer):
            found = answer(given)
        where = f"{len(games)} games of {case.players} players, {shown(games)}"
        found = plain(found, f"what fit returns ({where})")
        assert isinstance(found, dict), f"fit must return a dict, got {shown(found)} ({where})"
        assert set(found) == set(names), f"expected the players {names}, got {shown(list(found))} ({where})"
        for name in names:
            expect(found[name], float(expected[name]), 2e-4, f"the strength of {name!r} ({where})")
        expect(
            [list(game) for game in given],
            [list(game) for game in games],
            hint="the games must stay as they are",
        )


def some_games(inputs, names, case):
    """A ring in which everybody wins and loses once, and more games of the kind."""
    games = []
    for i, name in enumerate(names):
        other = names[(i + 1) % len(names)]
        games += [(name, other, 1), (other, name, 1)]
    count = {"even": 20, "lopsided": 30, "sparse": 0, "many": 120, "halves": 150}[case.kind]
    half = len(names) // 2
    for _ in range(count):
        a, b = inputs.shuffled(range(len(names)))[:2]
        if case.kind == "halves" and (a < half) != (b < half):  # the two halves hardly meet
            continue
        chance = 0.9 if a < b else 0.1
        won = inputs.floats(1, 0, 1)[0] < (chance if case.kind == "lopsided" else 0.5 + (chance - 0.5) / 2)
        games.append((names[a], names[b], int(won)))
    if case.kind == "halves":
        games += [(names[half], names[0], 1)] * 9
    if case.kind == "sparse":  # a chain, some of it played often
        games += [(names[0], names[1], 1)] * 7
    if case.ties:
        games += [(names[0], names[-1], 0.5)] * 3
    if case.order == "a first":
        return games
    return [(b, a, 1 - r) if inputs.integer(0, 1) else (a, b, r) for a, b, r in inputs.shuffled(games)]


# --- the panel ---


@exercise("13-3b-b", points=4)
def panel(answer):
    """Several judges in both orders, without those that contradict themselves."""
    copied = copied_library(answer)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"
    kinds = ("clear", "ties", "contradicting", "mixed", "edge", "all the same", "half a tie")
    for case in cases(most=42, count=(0, 1, 2, 3, 6), kind=kinds):
        inputs = Inputs(case.seed)
        orders = [both(inputs, case.kind) for _ in range(case.count)]
        texts = tuple(inputs.text(4, "abc가나 ") + mark for mark in "?12")
        asked = []

        judges = [Judge(number, pair, texts, asked) for number, pair in enumerate(orders)]
        kept = [
            (ahead + 1 - behind) / 2
            for ahead, behind in orders
            if not ((ahead > 0.5 and 1 - behind < 0.5) or (ahead < 0.5 and 1 - behind > 0.5))
        ]
        expected = sum(kept) / len(kept) if kept else 0.5
        given = list(judges)
        with forbid(OWN, *JUDGES, answer=answer):
            found = answer(given, *texts)
        where = f"judges that say (first order, second order) {orders}"
        preference, used = as_list(found, f"what panel returns ({where})", 2)
        expect(used, len(kept), hint=f"the judges that are used ({where})")
        expect(preference, expected, 1e-9, f"the preference ({where})")
        calls = sorted((number, a == texts[1]) for number, question, a, b in asked)
        expect(calls, sorted((n, side) for n in range(case.count) for side in (False, True)),
               hint=f"every judge is asked once in each order ({where})")  # fmt: skip
        assert all({a, b} == set(texts[1:]) and q == texts[0] for _, q, a, b in asked), (
            f"the judges must get the question and both answers ({where})"
        )
        assert len(given) == case.count, f"the list must stay as it is, it has {len(given)} judges now"
        assert all(one is other for one, other in zip(given, judges)), "the list must stay as it is"


class Judge:
    """Says one thing of each order; asked the same again, it says the opposite."""

    def __init__(self, number, orders, texts, asked):
        self.number, self.orders, self.texts, self.asked = number, orders, texts, asked

    def __call__(self, question, a, b):
        call = (self.number, question, a, b)
        again = call in self.asked
        self.asked.append(call)
        value = self.orders[0 if (a, b) == self.texts[1:] else 1]
        return 1 - value if again else value


def both(inputs, kind):
    """What a judge says of the answer that stands first, in both orders."""
    kind = ("clear", "ties", "contradicting")[inputs.integer(0, 2)] if kind == "mixed" else kind
    high, low = 0.5 + inputs.integer(1, 31) / 64, 0.5 - inputs.integer(1, 31) / 64
    if not inputs.integer(0, 3):  # by a hair; all of these numbers are exact
        high = 0.5 + 1 / 1024
    return {
        "clear": (high, low) if inputs.integer(0, 1) else (low, high), "ties": (0.5, 0.5),
        "contradicting": (high, high) if inputs.integer(0, 1) else (low, low), "edge": (1.0, 0.0),
        "all the same": (0.75, 0.25), "half a tie": (high, 0.5) if inputs.integer(0, 1) else (0.5, low),
    }[kind]  # fmt: skip


# --- the wrong champion ---


@exercise("13-3b-c", points=3)
def champion(answer):
    """Games whose shares and whose strengths name another best player."""
    games = as_list(plain(answer), "games")
    assert 20 <= len(games) <= 200, f"there must be 20 to 200 games, got {len(games)}"
    rows = []
    for game in games:
        a, b, result = as_list(game, "a game", 3)
        assert isinstance(a, (str, int)) and isinstance(b, (str, int)) and a != b, (  # noqa: PT018
            f"a game is of two different players, got {shown(game)}"
        )
        assert result in (0, 1), f"a result is 1 or 0, got {shown(game)}"
        rows.append((a, b, float(result)))
    names = list(dict.fromkeys(name for a, b, _ in rows for name in (a, b)))
    assert 3 <= len(names) <= 5, f"there must be three to five players, got {names}"
    shares = {}
    for name in names:
        own = [r if a == name else 1 - r for a, b, r in rows if name in (a, b)]
        shares[name] = sum(own) / len(own)
    try:
        strengths = bradley_terry(rows, resamples=0)
    except ValueError as error:
        raise AssertionError(f"Bradley-Terry has no answer for these games: {error}") from None
    leader = max(shares, key=shares.get)
    second = max(share for name, share in shares.items() if name != leader)
    said = {name: (round(shares[name], 3), round(float(strengths[name]), 3)) for name in names}
    assert shares[leader] >= second + 0.1 - 1e-9, (
        f"somebody must lead in the share of games won by 0.1; (share, strength): {said}"
    )
    best = max(strengths, key=lambda name: float(strengths[name]))
    assert best != leader, f"{leader!r} is first by both; (share, strength): {said}"
    assert strengths[best] >= strengths[leader] + 0.5, f"{best!r} must be ahead of {leader!r} by 0.5: {said}"


# --- counting ---


@exercise("13-3b-d", points=2)
def counted(answer):
    """Elo, Bradley-Terry, kappa, a habit, and the width of an interval."""
    found = as_floats(plain(answer), "the answer", 5)
    hints = (
        "equal ratings expect 1/2 each, and what one gains the other loses",
        "as many games won by each",
        "they agree in 2 of 4, which is what luck gives: A and B half of the time each",
        "0.9 when it stands first, 1 - 0.9 when it stands second",
        "the width falls with the square root of the votes",
    )
    for number, (mine, right, hint) in enumerate(zip(found, (984.0, 0.0, 0.0, 0.5, 0.4), hints), start=1):
        assert math.isfinite(mine), f"number {number} must be a finite number, got {mine}"
        expect(mine, right, 0.02 if number == 5 else 0.005, f"number {number}: {hint}")


# --- Elo and kappa ---


@exercise("13-3b-e", points=3)
def by_hand(answer):
    """Elo's points game by game, and Cohen's kappa."""
    expect_parts(answer, "ratings", "kappa")
    for name in ("ratings", "kappa"):
        assert callable(answer[name]), f"{name} must be a function, got {shown(answer[name])}"
        copied = copied_library(answer[name])
        assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"
        ready = packages_of(answer[name], "sklearn", "scipy", "statsmodels", "choix", "nltk")
        assert not ready, f"the exercise says: no ready rating or agreement; your answer uses {ready}"
    check_ratings(answer["ratings"])
    check_kappa(answer["kappa"])


def check_ratings(answer):
    orders = [
        [],
        [("가", "나", 1)],
        [("가", "나", 0)],
        [("가", "나", 0.5)],
        [("가", "나", 1), ("나", "가", 1)],
    ]
    games_of = [(games, k, start) for games in orders for k, start in ((32, 1000), (10.0, 0))]
    for case in cases(
        most=24, players=(2, 3, 6), count=(2, 12, 60), k=(4, 32, 150), start=(0, 1000, 1500.5), ties=(False, True),
        numbers=(False, True),
    ):  # fmt: skip
        inputs, games = Inputs(case.seed), []
        for _ in range(case.count):
            a, b = inputs.shuffled(range(case.players))[:2]
            result = inputs.integer(0, 2) / 2 if case.ties else int(inputs.integer(0, 3) > 0)
            games.append((a, b, result) if case.numbers else ("가나다라마바"[a], "가나다라마바"[b], result))
        games_of.append((games, case.k, case.start))
    for games, k, start in games_of:
        expected, given = points_after(games, k, start), list(games)
        with forbid(OWN, *BY_HAND, answer=answer):
            found = answer(given, k, start)
        where = f"k {k}, start {start}, games {shown(games)}"
        found = plain(found, f"what ratings returns ({where})")
        assert isinstance(found, dict), f"ratings must return a dict, got {shown(found)} ({where})"
        expect(found, expected, 1e-6, f"the points ({where})")
        expect(given, games, hint=f"the games must stay as they are ({where})")


def points_after(games, k, start):
    """{player: points} after the games in their order."""
    points = {}
    for a, b, result in games:
        mine, other = points.setdefault(a, float(start)), points.setdefault(b, float(start))
        gain = k * (result - 1 / (1 + 10 ** ((other - mine) / 400)))
        points[a], points[b] = mine + gain, other - gain
    return points


def check_kappa(answer):
    pairs = [
        (["A", "A", "B", "B"], ["A", "B", "B", "A"]), (["A", "B"], ["B", "A"]), (["A"], ["A"]), (["A"], ["B"]),
        (["A"] * 5, ["A"] * 5), (["A"] * 4, ["B"] * 4), (["A"] * 9 + ["B"], ["A"] * 10), ([1, 2, 3], [1, 2, 3]),
    ]  # fmt: skip
    for case in cases(
        most=24,
        items=(2, 7, 40, 150),
        labels=(1, 2, 3, 5),
        agree=(0, 1, 3),
        own=(False, True),
        numbers=(False, True),
    ):
        inputs = Inputs(case.seed)
        first = [
            min(inputs.integers(2, 0, case.labels - 1)) for _ in range(case.items)
        ]  # low ones more often
        second = [
            one if inputs.integer(1, 4) <= case.agree else inputs.integer(0, case.labels - 1) + case.own
            for one in first
        ]
        pairs.append(
            (first, second)
            if case.numbers
            else tuple(["ABCDEF"[one] for one in row] for row in (first, second))
        )
    for first, second in pairs:
        expected, given = beyond_luck(first, second), (list(first), list(second))
        with forbid(OWN, *BY_HAND, answer=answer):
            found = answer(*given)
        where = f"labels {shown(first)} and {shown(second)}"
        expect(found, expected, 1e-6, f"kappa of {where}")
        expect(list(given), [first, second], hint=f"the lists must stay as they are ({where})")


def beyond_luck(first, second):
    """Cohen's kappa; NaN where both give one label to everything."""
    n = len(first)
    luck = sum(first.count(label) * second.count(label) for label in set(first))  # times n²
    same = n * sum(x == y for x, y in zip(first, second))
    return (same - luck) / (n * n - luck) if luck < n * n else math.nan
