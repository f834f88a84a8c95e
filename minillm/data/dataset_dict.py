"""DatasetDict: the splits of a data set by name, and each verb of a Dataset on all of them.

    {"train": Dataset, "test": Dataset}      splits.map(f) = {"train": train.map(f), "test": test.map(f)}

Book: 3.3.3 데이터셋 활용하기. Held against: `datasets.DatasetDict`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minillm._checks import describe

_VERBS = (
    "map", "filter", "shuffle", "sort", "select_columns", "remove_columns", "rename_column", "rename_columns",
    "with_format", "set_format", "reset_format",
)  # fmt: skip
_FACTS = ("column_names", "num_rows", "num_columns", "shape", "features")


class DatasetDict(dict):
    """Splits by name. Verbs of a Dataset act on each split; column_names, num_rows, ... give a dict of each.

    Raises ValueError for a split that is no Dataset, KeyError with the known names for an unknown one.
    """

    def __init__(self, splits: Mapping[str, Any] | None = None) -> None:
        super().__init__(splits or {})
        for name, split in self.items():
            if not isinstance(name, str) or not hasattr(split, "train_test_split"):
                raise ValueError(f"split {describe(name)} must be a Dataset, got {describe(split)}")

    def __missing__(self, name: Any) -> Any:
        raise KeyError(f"no split is named {describe(name)}; there are {', '.join(self) or 'none'}")

    def __getattr__(self, name: str) -> Any:
        if name in _FACTS:
            return {split: getattr(rows, name) for split, rows in self.items()}
        if name in _VERBS:
            return lambda *args, **options: self._each(name, *args, **options)
        raise AttributeError(
            f"a DatasetDict has no {name!r}: take a split first ({', '.join(map(repr, self)) or 'it has none'})"
        )

    def _each(self, verb: str, *args: Any, **options: Any) -> DatasetDict | None:
        done = {split: getattr(rows, verb)(*args, **options) for split, rows in self.items()}
        return None if verb in ("set_format", "reset_format") else DatasetDict(done)

    def __repr__(self) -> str:
        return f"DatasetDict({dict.__repr__(self)})"
