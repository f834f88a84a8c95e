"""Training Unigram (유니그램 학습): begin with too many pieces, learn their probabilities, drop what is missed least.

    E  expected count of a piece = sum over words of count(word) * p(the word's spelling uses it)     (all spellings)
    M  log p(piece) = digamma(expected) - digamma(sum of expected);  below an expected half it goes
    P  loss(piece) = what the corpus' likelihood loses when the piece is spelled by its second best spelling;
       the three quarters with the highest loss stay, and E, M, P begin again until 1.1 times the wanted size is reached

The seed pieces are the characters and every substring that occurs twice and goes on in two ways (longer ones that
always go on alike say nothing new), first those that cover most text. Characters always stay.

All words, and all seed pieces as words of their own, are laid out once as lattices: for each place the pieces that
begin there. The sums over spellings then are one pass forwards and one backwards, in compiled code.

Book: 2.2.1 토큰화. Paper: Kudo 2018 (subword regularization), section 3.2. Held against: tokenizers' UnigramTrainer:
the same pieces; scores differ for dropped characters only, which it numbers in the order of a hash table.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numba import njit

SHRINKING, SUB_ITERATIONS, LONGEST = 0.75, 2, 16
_PENALTY = 10.0  # an unknown character scores that much below the lowest piece
_END = ""


def seed_pieces(
    words: Mapping[str, int], longest: int = LONGEST, at_most: int = 1_000_000
) -> dict[str, float]:
    """Pieces with their first scores: characters by count, substrings by occurrences in different words * length."""
    characters: Counter[str] = Counter()
    occurrences: Counter[str] = Counter()
    follows: defaultdict[str, set[str]] = defaultdict(set)
    for word, count in words.items():
        for start, character in enumerate(word):
            characters[character] += count
            for end in range(start + 2, min(len(word), start + longest) + 1):
                piece = word[start:end]
                occurrences[piece] += 1
                if len(seen := follows[piece]) < 2:
                    seen.add(word[end] if end < len(word) else _END)
    scores = {piece: n * len(piece) for piece, n in occurrences.items() if len(follows[piece]) > 1}
    first = sorted(characters.items(), key=lambda item: (item[1], item[0]), reverse=True)
    rest = sorted(scores.items(), key=lambda item: (item[1], item[0]), reverse=True)
    return dict([*first, *rest[: max(0, at_most - len(first))]])


class Lattices(NamedTuple):
    """For each word the pieces that begin at each of its places.

    places: int64 (words + 1,), where each word's places begin.   edges: int64 (places + 1,), where each place's pieces
    begin in `sizes` (their characters) and `ids`; the first piece of a place is its character.
    """

    places: np.ndarray
    edges: np.ndarray
    sizes: np.ndarray
    ids: np.ndarray


def lattices(words: Sequence[str], ids: Mapping[str, int]) -> Lattices:
    """The lattices of `words` over the pieces `ids`; a character that is no piece has id 0."""
    longest = max(map(len, ids))
    edges, sizes, numbers = [0], [], []
    for word in words:
        for start in range(len(word)):
            for end in range(start + 1, min(len(word), start + longest) + 1):
                index = ids.get(word[start:end], 0 if end == start + 1 else -1)
                if index >= 0:
                    sizes.append(end - start)
                    numbers.append(index)
            edges.append(len(sizes))
    places = np.cumsum([0, *map(len, words)], dtype=np.int64)
    arrays = [np.array(values, dtype=np.int64) for values in (edges, sizes, numbers)]
    return Lattices(places, *arrays)


@njit(cache=True)
def _log_add(x, y):
    low, high = min(x, y), max(x, y)
    return high if low == -np.inf else high + math.log1p(math.exp(low - high))


@njit(cache=True)
def _expected(places, edges, sizes, ids, weights, scores):
    """The E step: how often each piece is used, over all spellings; a piece scored -inf is not there."""
    unknown = np.min(scores[scores > -np.inf]) - _PENALTY
    expected = np.zeros(scores.size)
    for word in range(weights.size):
        first = places[word]
        n = places[word + 1] - first
        alpha, beta = (
            np.full(n + 1, -np.inf),
            np.full(n + 1, -np.inf),
        )  # log of all ways to, and from, a place
        alpha[0] = beta[n] = 0.0
        for start in range(n):
            for edge in range(edges[first + start], edges[first + start + 1]):
                score = scores[ids[edge]]
                if score == -np.inf and sizes[edge] == 1:
                    score = unknown
                end = start + sizes[edge]
                alpha[end] = _log_add(alpha[end], alpha[start] + score)
        for start in range(n - 1, -1, -1):
            for edge in range(edges[first + start], edges[first + start + 1]):
                score = scores[ids[edge]]
                if score == -np.inf and sizes[edge] == 1:
                    score = unknown
                beta[start] = _log_add(beta[start], score + beta[start + sizes[edge]])
        for start in range(n):
            for edge in range(edges[first + start], edges[first + start + 1]):
                score = scores[ids[edge]]
                if score > -np.inf:
                    way = alpha[start] + score + beta[start + sizes[edge]] - alpha[n]
                    expected[ids[edge]] += weights[word] * math.exp(way)
    return expected


@njit(cache=True)
def _best(places, edges, sizes, ids, scores, word, whole, path):
    """The best spelling of a word: its piece ids, last first, in `path`; (their number, its score).

    `whole`: whether the piece that is the whole word may be used. Id 0 is the unknown character.
    """
    unknown = np.min(scores[scores > -np.inf]) - _PENALTY
    first = places[word]
    n = places[word + 1] - first
    best, back, used = np.full(n + 1, -np.inf), np.zeros(n + 1, np.int64), np.zeros(n + 1, np.int64)
    best[0] = 0.0
    for start in range(n):
        for edge in range(edges[first + start], edges[first + start + 1]):
            index, end = ids[edge], start + sizes[edge]
            score = scores[index]
            if score == -np.inf and sizes[edge] == 1:
                score, index = unknown, 0
            if score == -np.inf or (sizes[edge] == n and not whole):
                continue
            if best[start] + score > best[end]:
                best[end], back[end], used[end] = best[start] + score, start, index
    if best[n] == -np.inf:
        return 0, best[n]
    count, at = 0, n
    while at > 0:
        path[count] = used[at]
        count, at = count + 1, back[at]
    return count, best[n]


@njit(cache=True)
def _uses(places, edges, sizes, ids, weights, scores):
    """How often each piece is used in the best spellings of all words."""
    uses = np.zeros(scores.size)
    path = np.empty(np.max(np.diff(places)) + 1, np.int64)
    for word in range(weights.size):
        count, _ = _best(places, edges, sizes, ids, scores, word, True, path)
        for i in range(count):
            uses[path[i]] += weights[word]
    return uses


@njit(cache=True)
def _losses(places, edges, sizes, ids, scores, uses, words, pieces):
    """What is lost without each piece (-inf: it is of no use, inf: it has no other spelling); piece p is word p - 1."""
    total = np.sum(uses)
    losses = np.full(scores.size, -np.inf)
    path = np.empty(np.max(np.diff(places)) + 1, np.int64)
    for index in range(1, scores.size):
        if scores[index] == -np.inf:
            continue
        count, score = _best(places, edges, sizes, ids, scores, index - 1, False, path)
        if count == 0:
            losses[index] = np.inf
        elif score > scores[index]:  # it is better spelled by others
            losses[index] = np.inf if uses[index] > 0 else -np.inf
        elif uses[index] > 0:
            other = math.log(total + uses[index] * (pieces - 1))  # the peers take `pieces` here, not `count`
            alternative = 0.0
            for i in range(count):
                alternative += math.log(uses[path[i]] + uses[index]) - other
            losses[index] = uses[index] / words * (math.log(uses[index]) - math.log(total) - alternative)
    return losses


def digamma(x: float) -> float:
    """The derivative of log gamma; by its recurrence up to 7, then the asymptotic series around x - 1/2."""
    result = 0.0
    while x < 7.0:
        result -= 1.0 / x
        x += 1.0
    x -= 0.5
    y = 1.0 / (x * x)
    return result + math.log(x) + y / 24 - 7 * y**2 / 960 + 31 * y**3 / 8064 - 127 * y**4 / 30720


def learn_pieces(
    words: Mapping[str, int],
    vocab_size: int,
    reserved: int = 0,
    longest: int = LONGEST,
    seed_size: int = 1_000_000,
) -> list[tuple[str, float]]:
    """`vocab_size` less `reserved` pieces with their log-probabilities, the likeliest first; fewer where the corpus has
    no more. `words` says how often each word occurs (at least one); all of their characters are pieces.
    """
    seeds = seed_pieces(words, longest, seed_size)
    names = ["", *seeds]
    scores = np.array([0.0, *seeds.values()])
    scores[1:] = np.log(scores[1:]) - math.log(scores.sum())
    scores[0] = -np.inf
    ids = {name: index for index, name in enumerate(names) if index}
    corpus, own = lattices(list(words), ids), lattices(names[1:], ids)
    weights = np.array(list(words.values()), dtype=np.float64)
    order = np.arange(1, len(names))  # the pieces that are left, those to keep first in front
    wanted = vocab_size * 11 // 10
    while True:
        for _ in range(SUB_ITERATIONS):
            expected = _expected(*corpus, weights, scores)
            order = order[expected[order] >= 0.5]
            whole = digamma(float(expected[order].sum()))
            scores[:] = -np.inf
            scores[order] = [digamma(x) - whole for x in expected[order].tolist()]
        if len(order) + 1 <= wanted:
            break
        uses = _uses(*corpus, weights, scores)
        losses = _losses(*own, scores, uses, weights.sum(), len(order) + 1)
        kept = order[losses[order] == np.inf]
        others = order[np.isfinite(losses[order])]
        others = others[np.argsort(-losses[others], kind="stable")]
        room = max(wanted, int((len(order) + 1) * SHRINKING)) - 1
        order = np.concatenate([kept, others[: max(0, room - len(kept))]])
        scores[np.setdiff1d(np.arange(len(names)), order)] = -np.inf
    return _finished(names, scores, order, sorted(set("".join(words))), vocab_size - reserved)


def _finished(
    names: list[str], scores: np.ndarray, order: np.ndarray, characters: list[str], vocab_size: int
) -> list[tuple[str, float]]:
    """All characters and then the first pieces of `order`; a character that was dropped scores as the lowest."""
    left = {names[index]: float(scores[index]) for index in order.tolist()}
    lowest = min(left.values(), default=0.0)
    pieces: dict[str, float] = {}
    for character in characters:
        missing = sum(c not in left for c in pieces)
        pieces[character] = left.get(character, lowest + 0.0001 * missing)
    for name, score in left.items():
        if len(pieces) >= vocab_size:
            break
        pieces.setdefault(name, score)
    return sorted(pieces.items(), key=lambda item: -item[1])
