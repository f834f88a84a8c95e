"""One training step of word2vec: a word is told apart from a few random ones by the company it keeps.

    h = the vector of a neighbour (skip-gram), or the mean of all neighbours' vectors (CBOW)       inputs,  (V, D)
    loss = -ln sigmoid(o_w . h) - sum over negatives n of ln sigmoid(-o_n . h)                     outputs, (V, D)

Written out, the gradient is the error (label - prediction) times the other vector, the label being 1 for the word w
that stood there and 0 for a negative (음성 표본). Negatives are drawn in proportion to count^0.75, and left out where
they are w. Where this settles is known: with room enough, many words and negatives drawn by plain counts,
o_w . h_c = PMI(w, c) - ln(negatives), the association of two words by counting (Levy & Goldberg 2014). With few words
it is larger by -ln(1 - P(w | c)), for the negatives that are left out.

The rest is how words reach the step: the commonest are dropped at random (subsampling), each window reaches a random
1 to `window` words far, and the rate falls in a straight line over all words of all epochs.

Book: 10.1.5 워드투벡. Papers: Mikolov et al. 2013, "Efficient Estimation of Word Representations in Vector Space" and
"Distributed Representations of Words and Phrases". Peer: gensim's word2vec_inner, which also skips scores beyond 6 and
-6, and lets the rate fall once in 10,000 words. Left out: hierarchical softmax.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

# --- what is drawn ------------------------------------------------------------------------------------------------


class Noise(NamedTuple):
    """An alias table (Walker 1977): any distribution over V words, drawn in two reads whatever V is.

    Slot i is a word's full share 1/V: the word itself below `limits[i]` of 2^32, the word `aliases[i]` above it.
    """

    limits: np.ndarray  # (V,) uint64
    aliases: np.ndarray  # (V,) int32


def noise_table(counts: np.ndarray, power: float = 0.75) -> Noise:
    """The table that draws word w with a chance of counts[w]^power / sum. counts (V,) > 0, power any number.

    [3, 1] with power 1 -> slot 0 is word 0; slot 1 is word 1 in one half, word 0 in the other: 3/4 and 1/4.
    """
    logs = np.log(np.asarray(counts, np.float64))
    with np.errstate(over="ignore"):  # whatever the power, the likeliest word has e^0 and the others no more
        shares = np.exp(power * (logs - (logs.max() if power > 0 else logs.min())))
    shares *= len(shares) / shares.sum()
    limits, aliases = np.ones(len(shares)), np.arange(len(shares), dtype=np.int32)
    small = [word for word, share in enumerate(shares) if share < 1]
    large = [word for word, share in enumerate(shares) if share >= 1]
    while small and large:  # fill the slot of a rare word with a part of a common one
        rare, common = small.pop(), large[-1]
        limits[rare], aliases[rare] = shares[rare], common
        shares[common] -= 1 - shares[rare]
        if shares[common] < 1:
            small.append(large.pop())
    return Noise((limits * 2.0**32).astype(np.uint64), aliases)


def keep_limits(counts: np.ndarray, sample: float) -> np.ndarray:
    """The chance to keep an occurrence of each word, (V,) uint64 of 2^32; sample 0 keeps all.

    P(keep) = sqrt(t / f) + t / f, at most 1, with f the word's share of the text and t = sample: word2vec.c's rule,
    which the paper gives as sqrt(t / f).
    """
    if not sample:
        return np.full(len(counts), 2**32, np.uint64)
    ratio = sample * counts.sum() / counts
    return (np.minimum(np.sqrt(ratio) + ratio, 1) * 2.0**32).astype(np.uint64)


# --- the plain version: the gradient written out, one step at a time ----------------------------------------------


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-x), the chance that a score of x gives to "yes"."""
    return 1 / (1 + np.exp(-x))


def step_plain(
    inputs: np.ndarray,
    outputs: np.ndarray,
    context: list[int],
    word: int,
    negatives: list[int],
    rate: float,
    mean: bool = True,
) -> None:
    """Move `inputs` and `outputs` (V, D) one step down the loss of `word` among the words of `context`, in place.

    mean: h is the mean of the context's vectors, each of which moves by the whole gradient of h, as in word2vec.c and
    gensim (the loss itself would have them share it; Irsoy et al. 2021). With False h is their sum and they share it.
    """
    targets = [word, *negatives]
    label = np.array([1.0] + [0.0] * len(negatives))
    # h = mean of the neighbours' vectors
    share = 1 / len(context)
    h = inputs[context].sum(axis=0) * (share if mean else 1)  # (D,)
    rows = outputs[targets]  # (1 + negatives, D)
    # -d loss / d score = label - sigmoid(o . h)
    error = label - sigmoid(rows @ h)
    # -d loss / d o = error h        -d loss / d h = sum of error o
    np.add.at(outputs, targets, rate * np.outer(error, h))  # a negative drawn twice counts twice
    np.add.at(inputs, context, rate * (1 if mean else share) * (error @ rows))


def contexts(words: list, at: int, reach: int, skipgram: bool) -> list[list]:
    """Who guesses the word at place `at`: its neighbours together (CBOW), or each of them alone (skip-gram).

    ["the", "cat", "sat"], 1, 1 -> [["the", "sat"]], or [["the"], ["sat"]]; a word without neighbours has no context.
    """
    around = words[max(0, at - reach) : at] + words[at + 1 : at + 1 + reach]
    if skipgram:
        return [[one] for one in around]
    return [around] if around else []


def train_plain(
    words: np.ndarray,
    starts: np.ndarray,
    inputs: np.ndarray,
    outputs: np.ndarray,
    keep: np.ndarray,
    noise: Noise,
    skipgram: bool,
    window: int,
    negative: int,
    mean: bool,
    rate: float,
    fall: float,
    state: int,
) -> int:
    """Train on sentences words[starts[i] : starts[i + 1]] once; the rate falls by `fall` a word. The same draws as
    `train`, so that the two end at the same vectors but for rounding; returns the state of the random numbers."""
    for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        kept, places = [], []
        for at in range(start, end):
            state = _next(state)
            if _draw(state) >> 32 < keep[words[at]]:
                kept.append(int(words[at]))
                places.append(at - int(starts[0]))
        for i, word in enumerate(kept):
            state = _next(state)
            reach = window - _draw(state) % window  # 1 to window words to each side
            for context in contexts(kept, i, reach, skipgram):
                negatives = []
                for _ in range(negative):
                    state = _next(state)
                    slot, coin = (_draw(state) >> 32) * len(keep) >> 32, _draw(state) & 0xFFFFFFFF
                    drawn = slot if coin < noise.limits[slot] else int(noise.aliases[slot])
                    if drawn != word:
                        negatives.append(drawn)
                step_plain(inputs, outputs, context, word, negatives, rate - fall * places[i], mean)
    return state


def _next(state: int) -> int:
    return (state + 0x9E3779B97F4A7C15) % 2**64


def _draw(state: int) -> int:
    """64 random bits of a state: splitmix64 (Steele, Lea & Flood 2014)."""
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
    return state ^ (state >> 31)


# --- the fast version ---------------------------------------------------------------------------------------------
# Where the speed comes from: compiled loops over rows of float32 that become vector instructions, and a negative for
# two reads where gensim halves a table of V numbers until it finds one. (A table of the sigmoid would save 8 % more.)

_BITS = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FLAGS = {"reassoc", "contract", "nsz"}  # sums in any order, so that they vectorise; infinity stays infinity


@njit(cache=True)
def _bits(state):
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


@njit(cache=True, fastmath=_FLAGS)
def _step(inputs, outputs, context, targets, rate, mean, h, work, errors):
    """`step_plain`; context and targets (the word first) are arrays of ids, h, work and errors are room to work in."""
    dim = len(h)
    share = np.float32(1) / np.float32(len(context))
    first = inputs[context[0]]
    for d in range(dim):
        h[d] = first[d]
        work[d] = 0
    if len(context) > 1:
        for one in context[1:]:
            row = inputs[one]
            for d in range(dim):
                h[d] += row[d]
        if mean:
            for d in range(dim):
                h[d] *= share
    for n in range(len(targets)):
        row = outputs[targets[n]]
        score = np.float32(0)
        for d in range(dim):
            score += row[d] * h[d]
        label = np.float32(1) if n == 0 else np.float32(0)
        errors[n] = rate * (label - np.float32(1) / (np.float32(1) + np.exp(-score)))
    for n in range(len(targets)):
        row, error = outputs[targets[n]], errors[n]
        for d in range(dim):
            work[d] += error * row[d]
    for n in range(len(targets)):
        row, error = outputs[targets[n]], errors[n]
        for d in range(dim):
            row[d] += error * h[d]
    if not mean:
        for d in range(dim):
            work[d] *= share
    for one in context:
        row = inputs[one]
        for d in range(dim):
            row[d] += work[d]


@njit(cache=True, nogil=True)
def train(
    words,
    starts,
    inputs,
    outputs,
    keep,
    noise,
    skipgram,
    window,
    negative,
    mean,
    rate,
    fall,
    state,
):
    """`train_plain`, compiled. words int32, starts int64, inputs and outputs float32, state uint64."""
    limits, aliases = noise
    size, dim = np.uint64(len(keep)), inputs.shape[1]
    longest = 0
    for i in range(len(starts) - 1):
        longest = max(longest, starts[i + 1] - starts[i])
    kept, places = np.empty(longest, np.int32), np.empty(longest, np.int64)
    context, targets = np.empty(2 * window, np.int32), np.empty(negative + 1, np.int32)
    h, work, errors = np.empty(dim, np.float32), np.empty(dim, np.float32), np.empty(negative + 1, np.float32)
    for sentence in range(len(starts) - 1):
        count = 0
        for at in range(starts[sentence], starts[sentence + 1]):
            state += _STEP
            if _bits(state) >> _BITS < keep[words[at]]:
                kept[count], places[count] = words[at], at - starts[0]
                count += 1
        for i in range(count):
            state += _STEP
            reach = window - np.int64(_bits(state) % np.uint64(window))
            around = 0
            for j in range(max(0, i - reach), min(count, i + 1 + reach)):
                if j != i:
                    context[around] = kept[j]
                    around += 1
            targets[0] = kept[i]
            own_rate = np.float32(rate - fall * places[i])
            size_of_step = 1 if skipgram else around
            for j in range(0, around, max(size_of_step, 1)):
                drawn = 1
                for _ in range(negative):
                    state += _STEP
                    bits = _bits(state)
                    slot = (bits >> _BITS) * size >> _BITS
                    word = np.int32(slot) if bits & _LOW < limits[slot] else aliases[slot]
                    if word != kept[i]:
                        targets[drawn] = word
                        drawn += 1
                _step(
                    inputs, outputs, context[j : j + size_of_step], targets[:drawn], own_rate, mean, h, work, errors
                )  # fmt: skip
    return state
