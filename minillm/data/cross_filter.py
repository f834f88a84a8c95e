"""Rows that may be wrong, each judged by a model that has not learned it: those on which it agrees stay.

    rows 0 2 4 ...  ->  a model  ->  judges rows 1 3 5 ...
    rows 1 3 5 ...  ->  a model  ->  judges rows 0 2 4 ...

A model that has learned a row may recite it, with its faults. What both halves do wrong in the same
way, no fold can see; and rows that are right but hard go, too.
Book: 6.3.3 학습 데이터 정제와 미세 조정. Paper: Northcutt et al. 2021 (confident learning judges out of fold, too).
Left out: a judge that says how sure it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress
from typing import TypeVar

from minillm._checks import check_int

Row = TypeVar("Row")
Judge = TypeVar("Judge")


def cross_filtered(
    rows: Sequence[Row],
    teach: Callable[[list[Row]], Judge],
    agrees: Callable[[Judge, list[Row]], Sequence[bool]],
    folds: int = 2,
) -> list[Row]:
    """The rows, in their order, with which a model agrees that has learned those of the other folds.

    teach(rows) makes a model; agrees(model, rows) says of each row whether it stays. Fold f has the rows f, f + folds,
    f + 2 folds, ... ValueError for fewer rows than folds, and for a wrong number of verdicts.
    """
    rows, folds = list(rows), check_int("folds", folds, 2)
    if len(rows) < folds:
        raise ValueError(f"expected at least {folds} rows, one for each fold, got {len(rows)}")
    stays = [False] * len(rows)
    for fold in range(folds):
        judged = list(range(fold, len(rows), folds))
        model = teach([row for place, row in enumerate(rows) if place % folds != fold])
        verdicts = list(agrees(model, [rows[place] for place in judged]))
        if len(verdicts) != len(judged):
            raise ValueError(f"agrees must say something of each of {len(judged)} rows, got {len(verdicts)}")
        for place, good in zip(judged, verdicts):
            stays[place] = bool(good)
    return list(compress(rows, stays))
