"""Watching a model at work (모델 모니터링): is what comes in now still what it was made for?

    d_t       = distance(reference, window t)                      KS of a number, centroid distance of vectors
    threshold = the (1 - alarm) quantile of distance(rest, window) over windows drawn from the reference itself
    alert     = d_t > threshold

A distance is seldom 0, and what chance shows shrinks as the window grows: no fixed threshold fits all. So the threshold
is what a window of this size shows when nothing has changed: `alarm` is the share of false alerts of each measure. With
a reference of only two windows it is half of that: one is drawn and the other sets the threshold, both are compared.
Several measures cry more often together; a drift is no proof that answers got worse.

Book: 13.1.4 모델 모니터링. Held against: scipy.stats.ks_2samp. Left out: a reference that is renewed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from minillm._checks import check_function, check_int, check_number, describe
from minillm.evaluation.drift import centroid_distance, ks_statistic


class Alert(NamedTuple):
    """A window (0 for the first) in which a measure lies further from the reference than chance."""

    window: int
    measure: str
    distance: float
    threshold: float


def distance_of(reference: np.ndarray, window: np.ndarray) -> float:
    """KS for numbers (N,), centroid distance for vectors (N, D)."""
    measure: Callable[[Any, Any], float] = ks_statistic if reference.ndim == 1 else centroid_distance
    return measure(reference, window)


def chance_distance(
    reference: Any,
    window: int,
    alarm: float,
    draws: int,
    seed: int,
    measure: Callable[..., float] = distance_of,
) -> float:
    """The distance that a window of the reference (N,) or (N, D) exceeds with probability `alarm`.

    measure(rest, window) -> the distance. Raises ValueError for a window that is no smaller than the reference, and
    for fewer draws than 1 / alarm: the quantile would be their largest, whatever alarm is.
    """
    reference = _array("reference", reference, (1, 2))
    check_int("draws", draws, 1), check_number("alarm", alarm, 1e-6, 0.5), check_int("seed", seed, 0)
    check_int("window", window, 1, len(reference) - 1), check_function("measure", measure)
    if draws * alarm < 1 - 1e-9:
        raise ValueError(f"an alarm of {alarm} needs {1 / alarm:.0f} draws at least, got {draws}")
    generator, distances = np.random.default_rng(seed), []
    for _ in range(draws):
        order = generator.permutation(len(reference))
        drawn, rest = reference[order[:window]], reference[order[window:]]
        distances.append(measure(rest, drawn))
    return float(np.quantile(distances, 1 - alarm))


class Monitor:
    """Counts requests into windows and compares each full one with the reference.

    reference: {measure: numbers (N,) or vectors (N, D)} of the same N requests, at least twice `window` of them.
    alarm, draws, seed: as in `chance_distance`.
    """

    def __init__(
        self,
        reference: Mapping[str, Any],
        window: int = 100,
        alarm: float = 0.01,
        draws: int = 400,
        seed: int = 0,
    ) -> None:
        check_int("window", window, 2)
        if not isinstance(reference, Mapping) or not reference:
            raise ValueError(f"reference must be a dict of measures, got {describe(reference)}")
        self.reference = {str(name): _array(name, value, (1, 2)) for name, value in reference.items()}
        sizes = {len(value) for value in self.reference.values()}
        if len(sizes) != 1 or min(sizes) < 2 * window:
            raise ValueError(
                f"reference must hold the same rows, 2 x {window} at least, for each measure: got {sizes}"
            )
        self.window, self.windows, self.alerts = window, 0, []
        self.thresholds = {
            name: chance_distance(value, window, alarm, draws, seed) for name, value in self.reference.items()
        }
        self._rows: list[dict[str, np.ndarray]] = []

    def add(self, request: Mapping[str, Any]) -> list[Alert]:
        """One request, {measure: number or vector (D,)}; returns the alerts of a window that it fills, else [].

        A request that is refused (ValueError) is not counted.
        """
        row = self._row(request)
        if len(self._rows) + 1 < self.window:
            self._rows.append(row)
            return []
        rows, found = [*self._rows, row], []
        for name, reference in self.reference.items():
            distance = distance_of(reference, np.stack([one[name] for one in rows]))
            if distance > self.thresholds[name]:
                found.append(Alert(self.windows, name, distance, self.thresholds[name]))
        self._rows, self.windows = [], self.windows + 1
        self.alerts += found
        return found

    def _row(self, request: Mapping[str, Any]) -> dict[str, np.ndarray]:
        if not isinstance(request, Mapping) or set(request) != set(self.reference):
            raise ValueError(
                f"a request must have the measures {sorted(self.reference)}, got {describe(request)}"
            )
        row = {}
        for name, value in request.items():
            row[name] = _array(name, value, (self.reference[name].ndim - 1,))
            if row[name].shape != self.reference[name].shape[1:]:
                raise ValueError(
                    f"{name} must be of width {self.reference[name].shape[1:]}, got {row[name].shape}"
                )
        return row


def _array(name: Any, value: Any, axes: tuple[int, ...]) -> np.ndarray:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.full((1,) * 9, np.nan)
    if array.ndim not in axes or not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite numbers of {axes} axes, got {describe(value)}")
    return array
