"""Checkers of lesson 16_3, selection and scans."""

import math
import random

import torch

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    Inputs,
    as_floats,
    as_list,
    cases,
    copied_library,
    expect,
    expect_parts,
    forbid,
    plain,
    shown,
)

OWN = "build the scan yourself"
READY_MADE = tuple(
    f"minillm.nn.{name}"
    for name in (
        "scans.states_by_pairs",
        "scans.scan_loop",
        "scans.scan_associative",
        "scans.scan_tree",
        "scans.scan_chunked",
        "scan_compiled.scan_compiled",
        "scan_compiled.selective_scan",
        "ssd.ssd_loop",
        "ssd.ssd_chunked",
        "ssd.ssd_matrix",
    )
)


class _Runs:
    """Joins of neighbours by number: an answer holds numbers that mean nothing; what they stand for is kept here."""

    def __init__(self, count, seed):
        self._numbers = random.Random(seed)
        self.known, self.calls = {}, 0  # number -> (first item, last item, joins that wait for each other)
        self.items = [self._new(place, place, 0) for place in range(count)]

    def _new(self, *run):
        number = self._numbers.randrange(10**12)
        while number in self.known:
            number = self._numbers.randrange(10**12)
        self.known[number] = run
        return number

    def of(self, number, what):
        """What a number stands for; feedback for anything else."""
        number = plain(number, what)
        found = self.known.get(number) if type(number) is int else None
        assert found is not None, f"{what} must be an item or what join gave back, got {shown(number)}"
        return found

    def join(self, earlier, later):
        """The run of both; feedback unless they are neighbours in their order."""
        self.calls += 1
        one = self.of(earlier, "the first argument of join")
        other = self.of(later, "the second argument of join")
        assert one[1] + 1 == other[0], (
            f"join got items {one[0]} to {one[1]}, then items {other[0]} to {other[1]}: they are no neighbours in order"
        )
        return self._new(one[0], other[1], 1 + max(one[2], other[2]))


@exercise("16-3-a", points=5)
def prefixes(answer):
    """Any operator, counted in work and in depth."""
    copied = copied_library(answer)
    assert not copied, f"{OWN}: your answer uses {copied}"
    with forbid(OWN, *READY_MADE, answer=answer):
        for n in (1, 2, 3, 4, 5, 8, 17, 31, 64, 200):
            _counted(answer, _Runs(n, seed=n), n)
    for case in cases(n=(1, 6, 13), kind=("texts", "pairs", "tensors")):
        items, join = _things(case.kind, case.n, Inputs(case.seed))
        expected = [items[0]]
        for one in items[1:]:
            expected.append(join(expected[-1], one))
        expect(as_list(answer(list(items), join), f"{case}"), expected, 1e-6, f"{case}")


def _counted(answer, runs, n):
    """The results of one list, its joins and how many of them wait for each other."""
    given = list(runs.items)
    found = as_list(answer(given, lambda p, q: runs.join(p, q)), f"the answer for {n} items", n)
    assert len(runs.known) == n + runs.calls, f"{n} items: join things by calling join"
    assert given == runs.items, f"{n} items: the list that you are given must stay as it is"
    places = [runs.of(one, f"{n} items: result {t}") for t, one in enumerate(found)]
    for t, (first, last, _) in enumerate(places):
        assert (first, last) == (0, t), f"{n} items: result {t} joins items {first} to {last}, not 0 to {t}"
    assert runs.calls <= 2 * n, f"{n} items: join was called {runs.calls} times, at most {2 * n} are allowed"
    deepest, most = max(depth for *_, depth in places), 2 * math.ceil(math.log2(n))
    assert deepest <= most, f"{n} items: {deepest} joins wait for each other, at most {most} are allowed"


def _things(kind, n, inputs):
    """n items and an associative operator that is not commutative."""
    if kind == "texts":
        return [inputs.text(2) for _ in range(n)], lambda p, q: p + q
    if kind == "pairs":
        pairs = [tuple(inputs.floats(2)) for _ in range(n)]
        return pairs, lambda p, q: (q[0] * p[0], q[0] * p[1] + q[1])
    return [inputs.tensor(3, 3, scale=0.5).double() for _ in range(n)], lambda p, q: q @ p


@exercise("16-3-b", points=4)
def chunked(answer):
    """The parts of a chunked scan, in plain numbers."""
    copied = copied_library(answer)
    assert not copied, f"{OWN}: your answer uses {copied}"
    with forbid(OWN, *READY_MADE, answer=answer):
        for case in cases(most=24, T=(1, 4, 7, 12), D=(1, 3), chunk=(1, 3, 4, 50), reset=(False, True)):
            inputs = Inputs(case.seed)
            a, b = (
                torch.sigmoid(inputs.tensor(case.T, case.D).double()),
                inputs.tensor(case.T, case.D).double(),
            )
            state = inputs.tensor(case.D).double()
            if case.reset:
                a[case.T // 2] = 0.0
            given, expected = [a.clone(), b.clone(), state.clone()], _chunked(a, b, state, case.chunk)
            found = answer(*given, case.chunk)
            for name, now, old in zip(("a", "b", "state"), given, (a, b, state)):
                assert torch.equal(now, old), f"{case}: {name} must stay as it is"
            parts = as_list(found, f"{case}: the answer", 4)
            for name, one, right in zip(("inner", "since", "starts", "h"), parts, expected):
                expect(one, right, 1e-6, f"{case}: {name}")


def _chunked(a, b, state, chunk):
    """In lists, a number at a time."""
    a, b, h = a.tolist(), b.tolist(), state.tolist()
    D = range(len(h))
    inner, since, starts, states = [], [], [], []
    for t, (keep, write) in enumerate(zip(a, b)):
        if t % chunk == 0:
            starts.append(h)
            inside, product = [0.0 for _ in D], [1.0 for _ in D]
        h = [keep[d] * h[d] + write[d] for d in D]
        inside = [keep[d] * inside[d] + write[d] for d in D]
        product = [keep[d] * product[d] for d in D]
        inner.append(inside), since.append(product), states.append(h)
    return inner, since, starts, states


@exercise("16-3-c", points=4)
def broken(answer):
    """An operator that only a loop forgives."""
    expect_parts(answer, "broken", "witness", "first_wrong")
    function = answer["broken"]
    assert callable(function), f"broken must be a function, got {shown(function)}"

    def apply(p, q):
        return as_floats(function(tuple(p), tuple(q)), f"broken({shown(p)}, {shown(q)})", 2)

    for seed in range(3):
        pairs = Inputs(seed).matrix(7, 2, -1.5, 1.5)
        joined, h = pairs[0], pairs[0][1]
        for t, pair in enumerate(pairs[1:], 1):
            joined, h = apply(joined, pair), pair[0] * h + pair[1]
            expect(joined[1], h, 1e-6, f"from the left, the second number after token {t} is the state h")
    p, q, r = (
        as_floats(one, f"pair {place} of the witness", 2)
        for place, one in enumerate(as_list(answer["witness"], "the witness", 3))
    )
    assert all(-2 <= number <= 2 for one in (p, q, r) for number in one), (
        "the witness is of numbers from -2 to 2"
    )
    h = p[1]
    for joined, (a, b), t in ((apply(p, q), q, 1), (apply(apply(p, q), r), r, 2)):
        h = a * h + b
        expect(
            joined[1],
            h,
            1e-6,
            f"your witness, from the left: the second number after pair {t} is the state h",
        )
    left, right = apply(apply(p, q), r)[1], apply(p, apply(q, r))[1]
    assert abs(left - right) >= 0.1, (
        f"both groupings of your witness must differ by at least 0.1, they give {left:.4g} and {right:.4g}"
    )
    for seed in range(3):
        pairs = Inputs(seed).matrix(4, 2, 0.5, 1.5)
        one, two = apply(*pairs[:2]), apply(*pairs[2:])
        h = pairs[0][1]
        for a, b in pairs[1:]:
            h = a * h + b
        assert abs(apply(one, two)[1] - h) > 1e-6, (
            "with random numbers a tree gets its states right by your operator: break it for all, not for a few"
        )
    expect(
        plain(answer["first_wrong"], "first_wrong"),
        3,
        hint="first_wrong: which two tokens are joined before they meet h?",
    )


@exercise("16-3-d", points=3)
def by_hand(answer):
    """Seven numbers."""
    hints = (
        "1: the later decay times the earlier number, and the later number",
        "2: distances 1, 2, 4, ... below 1,000",
        "3: exp(-softplus(z)) = 1 - σ(z)",
        "4: the chunks run side by side",
        "5: it has one more axis than x, of N numbers",
        "6: the steps after token 1, up to token 3",
        "7: one for each distance, 0 included",
    )
    expected = (3.2, 10, 0.25, 20, 4_096_000, -7, 100)
    for number, right, hint in zip(as_floats(answer, "the prediction", 7), expected, hints):
        assert abs(number - right) <= 5e-3, f"{hint}: got {shown(number)}"
