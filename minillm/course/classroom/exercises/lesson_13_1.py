"""Checkers of lesson 13_1, MLOps and LLMOps."""

import hashlib
import json
from fractions import Fraction

import numpy as np

from minillm.apps.ops.registry import MOVES
from minillm.course import exercise
from minillm.course.classroom.checkers import (
    Inputs,
    cases,
    copied_library,
    expect,
    forbid,
    packages_of,
    plain,
    shown,
)
from minillm.evaluation import ks_statistic

OWN = "build it yourself"
MEASURES = [
    "minillm.evaluation.drift.ks_statistic",
    "minillm.apps.ops.monitor.distance_of",
    "minillm.apps.ops.monitor.chance_distance",
    "minillm.course.classroom.exercises.lesson_13_1.alerts_of",
    "minillm.course.classroom.exercises.lesson_13_1.ks",
]
STORE = ["minillm.apps.ops.data_versions.manifest_bytes", "minillm.apps.ops.records.address"]


@exercise("13-1-a", points=3)
def commit(answer):
    """Objects under their checksum."""
    copied = copied_library(answer)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"
    for case in cases(most=10, files=(0, 1, 2, 6), objects=(0, 1, 3), content=("all other", "some equal")):
        inputs = Inputs(case.seed)
        names = inputs.shuffled(["나/가.txt", "b", "a b", "나.txt", "A", '"따옴표".json'])[: case.files]
        kinds = 2 if case.content == "some equal" else 1000
        files = {
            name: f"내용 {inputs.integer(0, kinds)} {i % kinds}".encode() for i, name in enumerate(names)
        }
        old = [f"old {i}".encode() for i in range(case.objects)]
        objects = {sha(content): content for content in old}
        pairs = sorted([name, sha(content)] for name, content in files.items())
        manifest = json.dumps(pairs, ensure_ascii=False, separators=(",", ":")).encode()
        expected = objects | {sha(one): one for one in (*files.values(), manifest)}
        given = dict(objects), dict(files)
        with forbid(OWN, *STORE, answer=answer):
            found = answer(*given)
        where = f"{len(files)} files, {len(objects)} objects before"
        found = plain(found, f"what commit returns ({where})")
        assert isinstance(found, (list, tuple)), f"commit returns (objects, version), got {shown(found)}"
        assert len(found) == 2, f"commit returns (objects, version), got {shown(found)}"
        expect(found[1], sha(manifest), hint=f"the version ({where})")
        assert isinstance(found[0], dict), f"the objects are a dict, got {shown(found[0])} ({where})"
        expect(listed(found[0]), listed(expected), hint=f"the objects ({where})")
        expect(listed(given[0]), listed(objects), hint="the objects that you are given must stay as they are")
        expect(listed(given[1]), listed(files), hint="the files that you are given must stay as they are")


def sha(content):
    return hashlib.sha256(content).hexdigest()


def listed(contents):
    """A dict of bytes as sorted pairs of texts."""
    return sorted(
        [str(name), one.decode("latin-1") if isinstance(one, bytes) else f"{type(one).__name__}, not bytes"]
        for name, one in contents.items()
    )


@exercise("13-1-b", points=2)
def stages(answer):
    """Moves that are checked."""
    copied = copied_library(answer)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"
    for case in cases(most=14, moves=(0, 1, 4, 30, 80), versions=(1, 2, 5)):
        inputs = Inputs(case.seed)
        draws = zip(inputs.integers(case.moves, 1, case.versions), inputs.integers(case.moves, 0, 7))
        # Production more often than the others, so that it is reached
        moves = [
            (version, (*MOVES, "Staging", "Production", "Production", "Staging")[place])
            for version, place in draws
        ]
        expected = {}
        for version, stage in moves:
            now = expected.setdefault(version, "None")
            if stage in MOVES[now]:
                if stage == "Production":
                    for one in expected:
                        expected[one] = "Archived" if expected[one] == "Production" else expected[one]
                expected[version] = stage
        given = list(moves)
        with forbid(OWN, "minillm.apps.ops.registry.checked_move", answer=answer):
            found = plain(answer(given), "what stages returns")
        assert isinstance(found, dict), f"stages must return a dict, got {shown(found)}"
        expect(found, expected, hint=f"{shown(moves)}")
        expect(given, moves, hint="the moves must stay as they are")


@exercise("13-1-c", points=4)
def alerts(answer):
    """Windows that are farther from the reference than chance shows."""
    copied = copied_library(answer) or packages_of(answer, "scipy")
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"
    rows = [
        # at the threshold exactly, in shares that no rounding touches, and above it
        ([0, 2, 1, 3], [1.5, 1.5, 5, 5], 2, 0),
        # what is left over is no window, and belongs to the reference: without 90 the threshold is lower
        ([1, 2, 3, 4, 1, 2, 3, 4, 90, 90], [1, 2, 3, 4, 3, 4, 5, 6, 9, 9, 9, 9], 4, 0),
    ]
    for case in cases(
        most=24, window=(1, 4, 9), rest=(0, 3), windows=(0, 1, 6), own=(2, 3, 7), left=(0, 2),
        allowed=(0, 1, 3), kind=("whole", "real"),
    ):  # fmt: skip
        rows.append(drawn_requests(case))
    right = [alerts_of(*row)[0] for row in rows]
    with forbid(OWN, *MEASURES, answer=answer):
        for (reference, requests, window, allowed), expected in zip(rows, right):
            given = list(reference), list(requests)
            found = answer(*given, window, allowed)
            where = f"reference {shown(reference)}, requests {shown(requests)}, window {window}, allowed {allowed}"
            expect(found, expected, hint=where)
            expect(
                [list(one) for one in given], [reference, requests], hint="the lists must stay as they are"
            )


def drawn_requests(case):
    """(reference, requests, window, allowed) in which no distance is nearly the threshold."""
    inputs, of_one = Inputs(case.seed), max(case.own, case.allowed + 1)
    while True:
        draw = inputs.floats if case.kind == "real" else inputs.integers
        reference = draw(of_one * case.window + min(case.left, case.window - 1), 0, 5)
        shifts = inputs.integers(case.windows + 1, -3, 3)
        numbers = draw(case.window * case.windows + min(case.rest, case.window - 1), 0, 5)
        requests = [number + shifts[i // case.window] for i, number in enumerate(numbers)]
        row = reference, requests, case.window, case.allowed
        if alerts_of(*row)[1] > 1e-6:
            return row


def alerts_of(reference, requests, window, allowed):
    """(the windows, the smallest gap between a distance and the threshold), in fractions. Two distances that are 0, or
    1, are equal in any arithmetic."""
    starts = range(0, len(reference) - window + 1, window)
    chance = [ks(reference[:at] + reference[at + window :], reference[at : at + window]) for at in starts]
    threshold = sorted(chance, reverse=True)[allowed]
    parts = [requests[at : at + window] for at in range(0, len(requests) - window + 1, window)]
    distances = [ks(reference, part) for part in parts]
    gaps = [abs(distance - threshold) for distance in distances if distance != threshold or 0 < threshold < 1]
    return [i for i, distance in enumerate(distances) if distance > threshold], min(gaps, default=1)


def ks(one, other):
    """The largest gap between the shares of numbers that are x or less, as a fraction."""
    return max(
        abs(Fraction(sum(n <= x for n in one), len(one)) - Fraction(sum(n <= x for n in other), len(other)))
        for x in {*one, *other}
    )


@exercise("13-1-d", points=2)
def drift(answer):
    """Equal in mean and deviation, and not the same."""
    both = plain(answer)
    assert isinstance(both, (list, tuple)), f"drift is a pair of lists, got {shown(answer)}"
    assert len(both) == 2, f"drift is a pair of lists, got {shown(answer)}"
    for name, one in zip(("before", "after"), both):
        assert isinstance(one, (list, tuple)), f"{name} is a list of numbers, got {shown(one)}"
        assert 20 <= len(one) <= 200, f"{name} has 20 to 200 numbers, got {len(one)}"
        for number in one:
            fine = type(number) in (int, float) and -1000 <= number <= 1000
            assert fine, f"{name} holds numbers between -1000 and 1000, got {shown(number)}"
    means, deviations = [float(np.mean(one)) for one in both], [float(np.std(one)) for one in both]
    assert abs(means[0] - means[1]) <= 1e-6, f"the means must be equal, got {means}"
    assert abs(deviations[0] - deviations[1]) <= 1e-6, f"the deviations must be equal, got {deviations}"
    assert min(deviations) > 0.1, f"the deviations must be above 0.1, got {deviations}"
    distance = ks_statistic(*both)
    assert distance >= 0.3 - 1e-12, f"the KS distance must be 0.3 at least, it is {distance:.3f}"
