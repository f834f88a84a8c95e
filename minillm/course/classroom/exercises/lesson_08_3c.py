"""Checkers of lesson 08_3c, speculative decoding."""

import itertools

import torch

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    Inputs,
    as_floats,
    cases,
    copied_library,
    expect,
    expect_parts,
    forbid,
    plain,
    shown,
)

TEXTS = 1000
UNLIKELY = 1e-6  # a right answer falls below once in a million tests, and these are seeded
READY_MADE = tuple(
    f"minillm.inference.speculative.{name}"
    for name in ("accept_draft", "speculative_generate", "expected_tokens", "expected_speed_up")
)


@exercise("08-3c-a", points=3)
def by_hand(answer):
    """Six numbers."""
    hints = (
        "1: add up the smaller one of p and q for each token",
        "2: only a token with p > q can be drawn after a refusal",
        "3: the guesses before the first refused one, and one token of the target",
        "4: 1 + 0.5 + 0.25 + 0.125",
        "5: the tokens of 4, divided by the price of 3 guesses and a check",
        "6: compare (1 + α + ... + α^k) / (0.2 k + 1) for k = 1, 2, 3, ...",
    )
    expected = (0.5, 1.0, 3, 1.875, 1.875 / 1.8, 4)
    for number, right, hint in zip(as_floats(answer, "the prediction", 6), expected, hints):
        expect(number, right, 5e-3, hint)


# A whole draft


@exercise("08-3c-b", points=5)
def accept(answer):
    """The acceptance rule for k guesses, judged by what it writes."""
    copied = copied_library(answer)
    assert not copied, f"build the rule yourself: your answer uses {copied}"
    drafts = (
        "near",
        "far",
        "the target itself",
        "no token in common",
        "certain guesses",
        "both certain",
        "zeros",
    )
    with forbid("build the rule yourself", *READY_MADE, answer=answer):
        for case in cases(most=14, k=(3, 2, 1, 0), V=(2, 3, 5), draft=drafts):
            _distributed_rightly(answer, case)
        _seeded(answer)


def _tables(kind, V, inputs):
    """Probabilities of the next token by the newest one, (V, V): the target's and the draft's."""
    scores = inputs.tensor(V, V, scale=1.2)
    P, Q = scores.softmax(-1), inputs.tensor(V, V, scale=1.2).softmax(-1)
    certain = torch.eye(V)[torch.tensor(inputs.integers(V, 0, V - 1))]
    if kind == "near":
        Q = (scores + inputs.tensor(V, V, scale=0.4)).softmax(-1)
    elif kind == "the target itself":
        Q = P.clone()
    elif kind == "no token in common":
        left = (torch.arange(V) < max(1, V // 2)).float()
        P, Q = P * left, Q * (1 - left)
    elif kind == "certain guesses":
        Q = certain
    elif kind == "both certain":
        P, Q = torch.eye(V)[torch.arange(V).roll(1)], certain
    elif kind == "zeros":
        P[torch.arange(V), torch.arange(V)] = 0
        Q[torch.arange(V), torch.arange(V).roll(1)] = 0
    return P / P.sum(-1, keepdim=True), Q / Q.sum(-1, keepdim=True)


def _drafted(P, Q, k, count, seed):
    """(p (N, k + 1, V), q (N, k, V), guesses (N, k)), the guesses drawn from q, each given the one before."""
    generator = torch.Generator().manual_seed(seed)
    newest, places = torch.zeros(count, dtype=torch.int64), []
    for _ in range(k):
        places.append(newest)
        newest = torch.multinomial(Q[newest], 1, generator=generator)[:, 0]
    path = torch.stack([*places, newest], dim=1)  # (N, k + 1): what stands before each place
    return P[path], Q[path[:, :k]], path[:, 1:].clone()


def _outcomes(P, Q, k):
    """{new tokens: their probability}, in float64."""
    P, Q = P.double(), Q.double()
    kept, rest = torch.minimum(P, Q), (P - Q).clamp(min=0)
    found = {}
    for length in range(k + 1):
        for guesses in itertools.product(range(len(P)), repeat=length):
            path = (0, *guesses)
            chance = 1.0
            for before, token in itertools.pairwise(path):
                chance *= float(kept[before, token])
            last = P if length == k else rest
            for token in range(len(P)):
                found[(*guesses, token)] = chance * float(last[path[-1], token])
    return found


def _distributed_rightly(answer, case):
    V, k = case.V, case.k
    P, Q = _tables(case.draft, V, Inputs(case.seed))
    given = _drafted(P, Q, k, TEXTS, case.seed)
    before = [one.clone() for one in given]
    expected = _outcomes(P, Q, k)
    counts = dict.fromkeys(expected, 0)
    found = plain(answer(*given, 1000 + 77 * case.seed), "the new tokens")
    assert isinstance(found, list), f"{case}: return a list of N lists, got {shown(found)}"
    assert len(found) == TEXTS, f"{case}: return one list for each of {TEXTS} texts, got {len(found)}"
    texts = [_checked(new, i, given, expected, case) for i, new in enumerate(found)]
    for tokens in texts:
        counts[tokens] += 1
    for name, now, old in zip(("p", "q", "guesses"), given, before):
        assert torch.equal(now, old), f"{case}: {name} must stay as it is"
    value, worst = _fit(counts, expected)
    hint = f"{', '.join(map(str, worst))} came out {counts[worst]} times" if worst else ""
    assert value > UNLIKELY, (
        f"{case}: in {TEXTS} texts {hint}, expected were {TEXTS * expected[worst]:.1f}; "
        f"the chi-square test over all outcomes gives {value:.1e}"
    )
    far, alike, right = _neighbours([tokens[0] for tokens in texts], P[0].double())
    assert abs(far) < 6, (
        f"{case}: the texts must be independent: of {TEXTS // 2} pairs of neighbours {alike} begin with the same "
        f"token, expected were {right:.0f}"
    )


def _checked(new, i, given, expected, case):
    """The new tokens of text i as a key of `expected`."""
    p, q, guesses = given
    wrong, tokens = "", ()
    if not isinstance(new, list):
        wrong = "the new tokens must be a list"
    elif any(type(one) not in (int, float) or one != int(one) for one in new):
        wrong = "new tokens are whole numbers"
    else:
        tokens = tuple(map(int, new))
        if not 1 <= len(tokens) <= case.k + 1:
            wrong = f"1 to {case.k + 1} new tokens"
        elif list(tokens[:-1]) != guesses[i, : len(tokens) - 1].tolist():
            wrong = "all new tokens but the last are guesses that were kept"
        elif not expected.get(tokens, 0) > 0:
            wrong = "by the rule these tokens cannot come out"
    assert not wrong, (
        f"{case}: {wrong}, got {shown(new)} for text {i} with "
        f"p {shown(p[i])}, q {shown(q[i])}, guesses {guesses[i].tolist()}"
    )
    return tokens


def _neighbours(firsts, p):
    """Whether texts 0 and 1, 2 and 3, ... begin alike more or less often than chance: standard deviations, seen, right.

    By the rule every first token is drawn from p, the target's at the first place.
    """
    count, chance = len(firsts) // 2, float((p * p).sum())
    alike, right = sum(a == b for a, b in zip(firsts[::2], firsts[1::2])), count * chance
    return (alike - right) / max(1.0, (right * (1 - chance)) ** 0.5), alike, right


def _fit(counts, expected):
    """(p-value of the chi-square test, the outcome that is furthest off). Those with under 5 expected go together."""
    often = [one for one, chance in expected.items() if chance * TEXTS >= 5]
    seen = [counts[one] for one in often]
    right = [TEXTS * expected[one] for one in often]
    left = sum(chance for one, chance in expected.items() if chance * TEXTS < 5) * TEXTS
    parts = [(a - b) ** 2 / b for a, b in zip(seen, right)]
    worst = often[max(range(len(parts)), key=parts.__getitem__)]
    if left > 1e-6 * TEXTS:  # else it is the rounding of float32
        parts.append((TEXTS - sum(seen) - left) ** 2 / left)
    if len(parts) == 1:
        return 1.0, worst
    both = torch.tensor([(len(parts) - 1) / 2, sum(parts) / 2], dtype=torch.float64)
    return float(torch.special.gammaincc(*both)), worst


def _seeded(answer):
    """A seed decides everything."""
    P, Q = _tables("far", 5, Inputs(3))
    given = _drafted(P, Q, 2, 300, 3)
    first, again, other = (plain(answer(*given, seed), "the new tokens") for seed in (11, 11, 12))
    expect(again, first, hint="the same seed must give the same tokens again")
    assert first != other, "another seed must give other tokens: take all randomness from the seed"


# A wrong rule


@exercise("08-3c-c", points=4)
def wrong_rule(answer):
    """What a wrong rule writes, where it shows, and where it does not."""
    letters = {"too_often": "a", "unseen": "b", "uncropped": "b"}
    expect_parts(answer, "written", "p", "q", *letters)
    written = answer["written"]
    assert callable(written), f"written must be a function, got {shown(written)}"
    for case in cases(
        V=(1, 2, 3, 6), draft=("near", "far", "the target itself", "no token in common", "zeros")
    ):
        if case.V == 1 and case.draft in ("no token in common", "zeros"):
            continue
        P, Q = _tables(case.draft, case.V, Inputs(case.seed))
        p, q = ((one[0].double() / one[0].double().sum()).tolist() for one in (P, Q))
        given = list(p), list(q)
        found = written(*given)
        expect(found, _of_the_wrong_rule(p, q), 1e-5, f"{case}: p {shown(p)}, q {shown(q)}")
        expect(list(given), [p, q], hint=f"{case}: the lists must stay as they are")
    p, q = (as_floats(answer[name], name) for name in ("p", "q"))
    assert len(p) == len(q) > 0, f"p and q must be equally long, got {len(p)} and {len(q)} numbers"
    for name, one in (("p", p), ("q", q)):
        assert all(0 <= number <= 1 for number in one), f"{name} must hold probabilities, got {shown(one)}"
        assert abs(sum(one) - 1) < 1e-6, f"{name} must add up to 1, it adds up to {sum(one):.6g}"
    off = sum(abs(a - b) for a, b in zip(_of_the_wrong_rule(p, q), p)) / 2
    assert off >= 0.24 - 1e-9, (
        f"with p {shown(p)} and q {shown(q)} the program is off by {off:.3f}, at least 0.24"
    )
    for name, right in letters.items():
        letter = plain(answer[name], name)
        assert isinstance(letter, str), f"{name} must be a letter, got {shown(letter)}"
        letter = letter.strip().lower()
        assert letter in {"a", "b", "c"}, f"{name} must be 'a', 'b' or 'c', got {shown(letter)}"
        assert letter == right, (
            f"{name}: {letter!r} is not it; try it with your function, or on the small model"
        )


def _of_the_wrong_rule(p, q):
    kept = [min(a, b) for a, b in zip(p, q)]
    return [one + (1 - sum(kept)) * a for one, a in zip(kept, p)]


# The best k


@exercise("08-3c-d", points=3)
def best_k(answer):
    """How many guesses, by acceptance rate and prices."""
    copied = copied_library(answer)
    assert not copied, f"work it out yourself: your answer uses {copied}"
    prices = ("one", "free", "rising", "steep", "steps", "any")
    with forbid("work it out yourself", *READY_MADE, answer=answer):
        for case in cases(
            most=80, alpha=(0.0, 0.2, 0.5, 0.7, 0.9, 1.0), c=(0.0, 0.02, 0.1, 0.4, 1.0), prices=prices
        ):
            check = _prices(case.prices, Inputs(case.seed))
            speeds = [
                sum(case.alpha**i for i in range(k + 1)) / (k * case.c + one) for k, one in enumerate(check)
            ]
            best = max(speeds)
            if any(1e-9 < best - one < 2e-4 for one in speeds):
                continue  # too near
            expected = next(k for k, one in enumerate(speeds) if one > best - 1e-9)
            given = list(check)
            found = answer(case.alpha, case.c, given)
            expect(found, expected, hint=f"alpha={case.alpha}, c={case.c}, check={shown(check)}")
            expect(given, check, hint="the list must stay as it is")


def _prices(kind, inputs):
    count = inputs.integer(2, 12)
    if kind == "one":
        return [1.0]
    if kind == "free":
        return [1.0] * count
    if kind in ("rising", "steep"):
        return [1.0 + (0.125 if kind == "rising" else 0.875) * n for n in range(count)]
    if kind == "steps":
        return [1.0 + 0.5 * (n // 3) for n in range(count)]
    return [1.0, *inputs.floats(count, 0.9, 2.5)]
