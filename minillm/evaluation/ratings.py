"""Who is best when pairs were compared? Elo and Bradley-Terry, from games (a, b, result for a: 1, 0 or 0.5).

    Bradley-Terry   P(a beats b) = 1 / (1 + exp(s_b - s_a))         strengths s that make the games likeliest, mean 0
    Elo             E = 1 / (1 + 10^((R_b - R_a) / 400)),  R_a += K (result - E)          game by game, from 1,000 on

Elo follows players that change, and the last games weigh most; models do not change between two questions, so that
arenas fit Bradley-Terry, whose answer does not depend on the order. One tie counts as half a game won by each.
Intervals: the games are drawn again, with replacement, and rated again; the standard deviation of these ratings, times
1.96, to both sides. (The middle 95 % of them held the truth in 90 to 95 % of simulated arenas, this in 94 to 98 %.)

Book: 13.3.3 정성적 지표 (사람이 직접 평가하는 방식). Papers: Elo 1978; Bradley and Terry 1952; Hunter 2004 (when a
solution exists); Zheng et al. 2023 (Chatbot Arena). Held against: choix; Elo's sum by hand.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from minillm._checks import check_choice, check_int, check_number, describe, is_listing

ELO_POINTS = 400 / math.log(10)  # a difference of strengths of 1 in points


class Rating(float):
    """A rating that is a number, with the ends `low` and `high` of its interval (NaN where none was asked for)."""

    low: float
    high: float

    def __new__(cls, value: float, low: float = math.nan, high: float = math.nan) -> Rating:
        rating = super().__new__(cls, value)
        rating.low, rating.high = low, high
        return rating

    def __repr__(self) -> str:
        return (
            f"{float(self):.4g} [{self.low:.4g}, {self.high:.4g}]"
            if self.low == self.low
            else f"{float(self):.4g}"
        )


def bradley_terry(
    games: Sequence[tuple[Hashable, Hashable, float]],
    points: str = "log",
    alpha: float = 0.0,
    resamples: int = 200,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[Hashable, Rating]:
    """{player: strength}, best first, each with its interval.

    points: "log" (strengths, mean 0) or "elo" (1,000 + 400 / ln 10 times that). alpha: a price on the squares of the
    strengths; 0 is the likeliest answer, which is finite only if nobody can be split off who won (or lost) all games
    against the rest: else ValueError names them. resamples: for the intervals, 0 for none; a resample in which somebody
    won all is held by an alpha of 0.01. Raises ValueError for anything that is no game.
    """
    check_choice("points", points, ("log", "elo"))
    check_number("alpha", alpha, 0)
    check_resampling(resamples, confidence)
    names, rows = players_and_rows(games)
    stuck = never_beaten(win_counts(rows, len(names))) if not alpha else []
    if stuck:
        best = ", ".join(str(names[i]) for i in stuck)
        raise ValueError(
            f"{best} never lost to the others: no finite strengths fit. Give alpha > 0, or more games"
        )
    found = strengths(win_counts(rows, len(names)), alpha)
    again = []
    for drawn in resampled(rows, resamples, seed):
        wins = win_counts(drawn, len(names))
        again.append(strengths(wins, alpha or (0.01 if never_beaten(wins) else 0.0)))
    return named(names, found, again, confidence, (0.0, 1.0) if points == "log" else (1000.0, ELO_POINTS))


def elo(
    games: Sequence[tuple[Hashable, Hashable, float]],
    k: float = 4.0,
    start: float = 1000.0,
    resamples: int = 200,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[Hashable, Rating]:
    """{player: rating}, best first, after the games in this order; each with its interval.

    k: points that a game can move, 0 to 1,000; 4 as in model arenas (chess: 10 to 40). start: everybody's first rating.
    Intervals and errors as `bradley_terry`; a resample has an order of its own.
    """
    check_number("k", k, 0, 1000), check_number("start", start)
    check_resampling(resamples, confidence)
    names, rows = players_and_rows(games)
    again = [elo_after(drawn, len(names), k, start) for drawn in resampled(rows, resamples, seed)]
    return named(names, elo_after(rows, len(names), k, start), again, confidence, (0.0, 1.0))


def elo_after(rows: np.ndarray, players: int, k: float, start: float) -> np.ndarray:
    """The ratings after games (a, b, result) in this order, float64 (players,)."""
    rating = [start] * players
    for a, b, result in rows.tolist():
        a, b = int(a), int(b)
        # E = 1 / (1 + 10^((R_b - R_a) / 400))
        gain = k * (result - 1 / (1 + 10 ** ((rating[b] - rating[a]) / 400)))
        rating[a] += gain
        rating[b] -= gain
    return np.array(rating)


def strengths(wins: np.ndarray, alpha: float = 0.0) -> np.ndarray:
    """The likeliest strengths (n,), mean 0, for wins (n, n): wins[a, b] games that a won against b. Newton's method."""
    n = len(wins)
    s, games = np.zeros(n), wins + wins.T
    for _ in range(100):
        p = 1 / (1 + np.exp(s[None, :] - s[:, None]))  # P(a beats b)
        slope = wins.sum(1) - (games * p).sum(1) - 2 * alpha * s
        weight = games * p * (1 - p)
        bend = np.diag(weight.sum(1) + 2 * alpha) - weight
        step = np.linalg.solve(bend + 1 / n, slope)  # + 1/n: the mean, which no game decides, stays 0
        s = s + step * min(1.0, 2.0 / np.abs(step).max(initial=1e-300))  # far away a whole step may overshoot
        if np.abs(step).max(initial=0.0) < 1e-11:
            break
    return s - s.mean()


def never_beaten(wins: np.ndarray) -> list[int]:
    """A group of players of whom nobody lost to anybody outside it (all if none): then strengths grow without end."""
    n = len(wins)
    reach = np.eye(n, dtype=bool) | (wins > 0)  # who beat whom, by any number of steps
    for _ in range(n.bit_length()):
        reach = (reach.astype(np.int64) @ reach.astype(np.int64)) > 0
    if reach.all():
        return []
    most = int(reach.sum(1).argmax())
    return [i for i in range(n) if reach[i, most] and reach[most, i]]


def win_counts(rows: np.ndarray, players: int) -> np.ndarray:
    """wins (n, n) of games (a, b, result); a tie is half a game each way."""
    wins = np.zeros((players, players))
    a, b = rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64)
    np.add.at(wins, (a, b), rows[:, 2])
    np.add.at(wins, (b, a), 1 - rows[:, 2])
    return wins


def resampled(rows: np.ndarray, resamples: int, seed: int) -> list[np.ndarray]:
    """As many games again, drawn with replacement, `resamples` times."""
    rng = np.random.default_rng(check_int("seed", seed, 0))
    return [rows[rng.integers(0, len(rows), len(rows))] for _ in range(resamples)]


def check_resampling(resamples: int, confidence: float) -> None:
    """ValueError for a number of resamples or a confidence that gives no interval."""
    if resamples != 0:
        check_int("resamples", resamples, 20)
    check_number("confidence", confidence, 0.01, 0.9999)


def named(
    names: Sequence[Hashable], found: np.ndarray, again: Sequence[np.ndarray], confidence: float,
    scale: tuple[float, float],
) -> dict[Hashable, Rating]:  # fmt: skip
    """{player: rating with its interval}, best first."""
    shift, factor = scale
    found = shift + factor * found
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    half = z * factor * np.std(again, axis=0, ddof=1) if again else np.full(len(names), math.nan)
    order = sorted(range(len(names)), key=lambda i: (-found[i], i))
    return {names[i]: Rating(found[i], float(found[i] - half[i]), float(found[i] + half[i])) for i in order}


def players_and_rows(games: Any) -> tuple[list[Hashable], np.ndarray]:
    """The players in the order in which they come, and the games as numbers (G, 3): a, b, result."""
    if not is_listing(games):
        raise ValueError(f"games must be a list of (a, b, result), got {describe(games)}")
    places: dict[Hashable, int] = {}
    rows = []
    for game in games:
        parts = tuple(game) if isinstance(game, (tuple, list)) else ()
        if len(parts) != 3 or not all(isinstance(one, Hashable) for one in parts[:2]) or parts[0] == parts[1]:
            raise ValueError(f"a game must be (a, b, result) of two different players, got {describe(game)}")
        if parts[0] != parts[0] or parts[1] != parts[1]:
            raise ValueError(f"a player must be equal to itself, got {describe(game)}")
        result = check_number("result", float(parts[2]) if isinstance(parts[2], bool) else parts[2], 0, 1)
        if result not in (0.0, 0.5, 1.0):
            raise ValueError(f"result must be 1 (a won), 0 (b won) or 0.5, got {describe(parts[2])}")
        rows.append((*(places.setdefault(one, len(places)) for one in parts[:2]), result))
    if not rows:
        raise ValueError("games must hold at least one game, got none")
    return list(places), np.array(rows, dtype=np.float64)
