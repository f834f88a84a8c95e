"""Checkers of lesson 13_1, MLOps and LLMOps."""

import hashlib
import json

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
MEASURES = ["minillm.evaluation.drift.ks_statistic", "minillm.apps.ops.monitor.distance_of"]
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


@exercise("13-1-c", points=3)
def alerts(answer):
    """Windows that are far from the reference."""
    copied = copied_library(answer) or packages_of(answer, "scipy")
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"
    rows = []
    for case in cases(
        most=14, window=(1, 4, 9), rest=(0, 3), windows=(0, 1, 6), bound=(0.05, 0.4, 0.7),
        kind=("whole", "real"), n=(5, 20),
    ):  # fmt: skip
        inputs = Inputs(case.seed)
        count = case.window * case.windows + min(case.rest, case.window - 1)
        shifts = [inputs.integer(-3, 3) for _ in range(case.windows + 1)]
        if case.kind == "whole":
            reference, numbers = inputs.integers(case.n, 0, 5), inputs.integers(count, 0, 5)
        else:
            reference, numbers = inputs.floats(case.n, 0, 5), inputs.floats(count, 0, 5)
        requests = [number + shifts[i // case.window] for i, number in enumerate(numbers)]
        parts = [requests[i * case.window : (i + 1) * case.window] for i in range(case.windows)]
        distances = [ks_statistic(reference, part) for part in parts]
        threshold = case.bound + 0.0137  # no share of these counts
        expected = [i for i, distance in enumerate(distances) if distance > threshold]
        rows.append((reference, requests, case.window, threshold, expected))
    # at the threshold exactly, in shares that no rounding touches, and above it
    rows.append(([0, 1, 2, 3], [1.5] * 3 + [5] * 3, 3, 0.5, [1]))
    with forbid(OWN, *MEASURES, answer=answer):
        for reference, requests, window, threshold, expected in rows:
            given = list(reference), list(requests)
            found = answer(*given, window, threshold)
            where = f"reference {shown(reference)}, requests {shown(requests)}, window {window}, above {threshold}"
            expect(found, expected, hint=where)
            expect(
                [list(one) for one in given], [reference, requests], hint="the lists must stay as they are"
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
