"""Which rows go to the test set: at random, so that each class keeps its share, or so that no group is cut.

    100 rows, 10 of them "spam", test_size=0.2   ->   20 rows, 2 of them "spam" when stratified; else 0 to 5
    500 questions to 25 databases, grouped       ->   all questions to 5 databases, and to no other

Book: 3.3.3 데이터셋 활용하기 (train_test_split), 6.1. Held against: `datasets`, whose rows and order a plain split has,
seed for seed, and scikit-learn, whose sizes the classes of a stratified split and the groups of a grouped one have.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from minillm._checks import check_int, check_number, describe


def split_sizes(rows: int, test_size: Any = None, train_size: Any = None) -> tuple[int, int]:
    """(rows to train on, rows to test on): a float is a share, an int a number of rows; None what the other leaves.

    Both None are a quarter for the test. A share is rounded up for the test and down for training, as in scikit-learn.
    """
    if test_size is None and train_size is None:
        test_size = 0.25
    test = None if test_size is None else _count("test_size", test_size, rows, math.ceil)
    train = None if train_size is None else _count("train_size", train_size, rows, math.floor)
    train = rows - test if train is None else train
    test = rows - train if test is None else test
    if train < 1 or test < 1 or train + test > rows:
        raise ValueError(
            f"{rows} rows cannot give {train} to train and {test} to test "
            f"(test_size={test_size}, train_size={train_size}); each must have one, both together {rows} at most"
        )
    return train, test


def _count(name: str, size: Any, rows: int, rounded: Any) -> int:
    if isinstance(size, float) or (hasattr(size, "dtype") and size.dtype.kind == "f"):
        share = check_number(name, size)
        if not 0 < share < 1:
            raise ValueError(f"{name} as a share must lie between 0 and 1, got {share:g}; rows are an int")
        return rounded(share * rows)
    return check_int(name, size, 1)


def split_rows(rows: int, train: int, test: int, seed: int | None) -> tuple[np.ndarray, np.ndarray]:
    """(rows to train on, rows to test on): the test set is the beginning of one shuffled order.

    ValueError for more rows than there are, and for a negative number or seed (None: another order each time)."""
    check_int("train", train, 0)
    check_int("test", test, 0)
    check_int("rows", rows, train + test)
    if seed is not None:
        check_int("seed", seed, 0)
    order = np.random.default_rng(seed).permutation(rows)
    return order[test : test + train], order[:test]


def stratified_rows(
    labels: Sequence[Any], train: int, test: int, seed: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """As `split_rows`, with each class in both halves as often as its share of all rows says, to one row.

    ValueError for a class of one row, which can be in one half only, and for halves smaller than the classes.
    """
    names = list(dict.fromkeys(labels))
    classes = [[row for row, label in enumerate(labels) if label == name] for name in names]
    for name, members in zip(names, classes):
        if len(members) < 2:
            raise ValueError(f"each class needs two rows to be in both halves, {describe(name)} has one")
    if min(train, test) < len(classes):
        raise ValueError(
            f"each half must have a row of each of the {len(classes)} classes, got {train} to train and {test} to test"
        )
    generator = np.random.default_rng(seed)
    sizes = np.array([len(members) for members in classes])
    for_train = _shares(sizes, train)
    for_test = _shares(sizes - for_train, test)
    chosen: tuple[list[int], list[int]] = ([], [])
    for members, first, second in zip(classes, for_train, for_test):
        drawn = generator.permutation(members)
        chosen[0].extend(drawn[:first])
        chosen[1].extend(drawn[first : first + second])
    return generator.permutation(chosen[0]), generator.permutation(chosen[1])


def grouped_rows(
    groups: Sequence[Hashable], test_size: Any = None, train_size: Any = None, seed: int | None = 0
) -> tuple[list[int], list[int]]:
    """(rows to train on, rows to test on), in their order: all rows of a group are on one side.

    groups: what group each row is of. Sizes count groups, as in `split_sizes`; a group may be of any number of rows.
    ValueError for what is no list, or holds what cannot be a key, such as lists.
    """
    groups = _check_groups(groups)
    names = list(dict.fromkeys(groups))
    train, test = split_sizes(len(names), test_size, train_size)
    for_train, for_test = ({names[i] for i in drawn} for drawn in split_rows(len(names), train, test, seed))
    return (
        [row for row, name in enumerate(groups) if name in for_train],
        [row for row, name in enumerate(groups) if name in for_test],
    )


def _check_groups(groups: Any) -> list[Hashable]:
    try:
        rows = list(groups)
        hash(tuple(rows))
    except TypeError as error:
        came = f"got {describe(groups)} ({error})"
        raise ValueError(f"groups must list one name for each row, {came}") from None
    return rows


def _shares(sizes: np.ndarray, wanted: int) -> np.ndarray:
    """`wanted` rows dealt to classes of `sizes`: whole parts first, then one each to the largest remainders."""
    exact = sizes / sizes.sum() * wanted
    shares = np.floor(exact).astype(int)
    largest_first = np.argsort(shares - exact, kind="stable")
    shares[largest_first[: wanted - shares.sum()]] += 1
    return shares
