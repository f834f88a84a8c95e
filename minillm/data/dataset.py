"""Dataset (데이터셋): a table of named columns that never changes; each verb gives a new one that shares what it can.

    Dataset.from_dict({"text": ["a", "b", "c"], "label": [0, 1, 0]})
        [1]                 {"text": "b", "label": 1}                       a row
        ["text"]            ["a", "b", "c"]                                 a column
        [0:2]               {"text": ["a", "b"], "label": [0, 1]}           a piece, as a dict of columns
        .filter(keep)       the same columns, and the numbers of rows 0, 2  nothing is copied

The columns are lists; a Dataset is those and the numbers of the rows that it shows. Select, filter, shuffle, sort and
split change only the numbers; map makes the columns that its function gives and shares the others.

Book: 3.3.3 데이터셋 활용하기. Held against: `datasets`, whose names, values and seeded orders these are. Left out:
files larger than memory, streaming, a cache of what `map` gave, several processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from minillm._checks import check_choice, check_flag, check_int, describe, is_listing
from minillm.data.columns import Kind, column, columns_of, joined, plain
from minillm.data.dataset_dict import DatasetDict
from minillm.data.dataset_files import TableFiles
from minillm.data.dataset_formats import FORMATS, formatted
from minillm.data.dataset_map import RowFunction, check_peer_options, kept_rows, made_columns
from minillm.data.splits import split_rows, split_sizes, stratified_rows

Row = dict[str, Any]
Names = str | Sequence[str]


class Dataset(TableFiles, Sequence):
    """A table of named columns; a sequence of rows, each a dict. Raises ValueError for what it cannot hold.

    features: column -> "string", "int64", "float64", "bool", [kind] for lists, {name: kind} for dicts.
    """

    def __init__(self, columns: Mapping[str, Any] | None = None) -> None:
        """Columns of one length; from_list, from_csv, from_json, ... take other forms."""
        if columns is not None and not isinstance(columns, Mapping):
            raise ValueError(f"a Dataset is made of a dict of columns, got {describe(columns)}")
        self._columns: dict[str, list] = {}
        self._kinds: dict[str, Kind] = {}
        for name, values in (columns or {}).items():
            if not isinstance(name, str):
                raise ValueError(f"the name of a column must be a str, got {describe(name)}")
            self._columns[name], self._kinds[name] = column(name, values)
        lengths = {name: len(values) for name, values in self._columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns must be of one length, got {lengths}")
        self._rows: Sequence[int] = range(next(iter(lengths.values()), 0))
        self._format: tuple[str | None, tuple[str, ...] | None] = (None, None)

    def _like(self, columns: dict[str, list], kinds: dict[str, Kind], rows: Sequence[int]) -> Dataset:
        """A Dataset of finished columns, which shows `rows` of them in this one's format."""
        new = object.__new__(type(self))
        new._columns, new._kinds, new._rows = columns, kinds, rows
        form, shown = self._format
        new._format = form, None if shown is None else tuple(name for name in shown if name in columns)
        return new

    # --- where it comes from ----------------------------------------------------------------------------------

    @classmethod
    def from_dict(cls, columns: Mapping[str, Any]) -> Dataset:
        """From {"text": [...], "label": [...]}: lists, arrays or tensors of one length."""
        return cls(columns)

    @classmethod
    def from_list(cls, rows: Iterable[Mapping[str, Any]]) -> Dataset:
        """From rows, each a dict. A name that a row lacks is None there (`datasets` takes the first row's names)."""
        if isinstance(rows, Mapping) or not is_listing(rows):
            raise ValueError(f"rows must be a list of dicts, got {describe(rows)}")
        return cls(columns_of(rows))

    @classmethod
    def from_generator(
        cls, generator: Callable[..., Iterable[Row]], gen_kwargs: Mapping[str, Any] | None = None
    ) -> Dataset:
        """From the rows that `generator(**gen_kwargs)` yields."""
        if not callable(generator):
            raise ValueError(f"generator must be a function that yields rows, got {describe(generator)}")
        return cls.from_list(generator(**(gen_kwargs or {})))

    # --- looking at it ----------------------------------------------------------------------------------------

    @property
    def column_names(self) -> list[str]:
        return list(self._columns)

    @property
    def num_rows(self) -> int:
        return len(self._rows)

    @property
    def num_columns(self) -> int:
        return len(self._columns)

    @property
    def shape(self) -> tuple[int, int]:
        return self.num_rows, self.num_columns

    @property
    def features(self) -> dict[str, Kind]:
        return dict(self._kinds)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: Any) -> Any:
        """A name gives a column, a number a row, a slice or a list of numbers a dict of columns; all of them new."""
        form, names = self._format
        names = self.column_names if names is None else names
        if isinstance(key, str):
            return formatted(form, self._kinds, self._piece(self._rows, self.known(key)))[key]
        if isinstance(key, slice):
            return formatted(form, self._kinds, self._piece(self._rows[key], names))
        if hasattr(key, "__iter__") and getattr(key, "ndim", 1):
            return formatted(form, self._kinds, self._piece([self._row(number) for number in key], names))
        row = self._row(key)
        return formatted(form, self._kinds, {name: plain(self._columns[name][row]) for name in names})

    def _piece(self, rows: Iterable[int], names: Iterable[str]) -> dict[str, list]:
        return {name: [plain(self._columns[name][row]) for row in rows] for name in names}

    def _row(self, number: Any) -> int:
        index = check_int("the number of a row", number)
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of a Dataset of {len(self)} rows")
        return self._rows[index]

    def known(self, names: Names) -> list[str]:
        """`names`, one or several, as a list; ValueError if one of them is no column."""
        names = [names] if isinstance(names, str) or not hasattr(names, "__iter__") else list(names)
        for name in names:
            if not isinstance(name, str) or name not in self._columns:
                raise ValueError(
                    f"no column is named {describe(name)}; there are {', '.join(self._columns) or 'none'}"
                )
        return names

    def __iter__(self) -> Iterator[Row]:
        return (self[number] for number in range(len(self)))

    def iter(self, batch_size: int, drop_last_batch: bool = False) -> Iterator[dict[str, Any]]:
        """Pieces of `batch_size` rows, each a dict of columns."""
        size, exact = check_int("batch_size", batch_size, 1), check_flag("drop_last_batch", drop_last_batch)
        stop = len(self) - len(self) % size if exact else len(self)
        return (self[start : start + size] for start in range(0, stop, size))

    def unique(self, column: str) -> list[Any]:
        """The different values of a column, in the order in which they first come."""
        return list(dict.fromkeys(self._scalars(column, "has no list of different values")))

    def _scalars(self, name: str, why: str) -> list[Any]:
        """The values of a column without its format; ValueError if they are lists or dicts."""
        (name,) = self.known(name)
        if not isinstance(self._kinds[name], str):
            raise ValueError(f"column {name!r} holds {self._kinds[name]} and {why}")
        return [self._columns[name][row] for row in self._rows]

    def to_dict(self) -> dict[str, list]:
        return self._piece(self._rows, self._columns)

    def to_list(self) -> list[Row]:
        return list(self.with_format(None))

    def __repr__(self) -> str:
        return f"Dataset(features={self.column_names}, num_rows={self.num_rows})"

    # --- other rows: the columns are shared -------------------------------------------------------------------

    def select(self, indices: Iterable[int]) -> Dataset:
        """The rows of these numbers, in this order; one may come twice."""
        if not hasattr(indices, "__iter__") or isinstance(indices, (str, Mapping)):
            raise ValueError(f"indices must be the numbers of rows, got {describe(indices)}")
        return self._like(self._columns, self._kinds, [self._row(number) for number in indices])

    def _in_order(self, numbers: Sequence[int] | np.ndarray) -> Dataset:
        """As `select`, of numbers that are known to be there."""
        numbers = numbers.tolist() if isinstance(numbers, np.ndarray) else numbers
        return self._like(self._columns, self._kinds, [self._rows[number] for number in numbers])

    def take(self, n: int) -> Dataset:
        """The first n rows, or all if there are fewer."""
        return self._like(self._columns, self._kinds, self._rows[: check_int("n", n, 0)])

    def skip(self, n: int) -> Dataset:
        """All rows but the first n."""
        return self._like(self._columns, self._kinds, self._rows[check_int("n", n, 0) :])

    def shard(self, num_shards: int, index: int, contiguous: bool = True) -> Dataset:
        """Part number `index` of `num_shards` parts of about one size; contiguous=False: every num_shards-th row."""
        parts = check_int("num_shards", num_shards, 1)
        index = check_int("index", index, 0, parts - 1)
        if not check_flag("contiguous", contiguous):
            return self._like(self._columns, self._kinds, self._rows[index::parts])
        size, longer = divmod(len(self), parts)  # the first `longer` parts have a row more
        start = index * size + min(index, longer)
        return self._like(self._columns, self._kinds, self._rows[start : start + size + (index < longer)])

    def filter(
        self,
        function: Callable[..., Any],
        with_indices: bool = False,
        input_columns: Names | None = None,
        batched: bool = False,
        batch_size: int | None = 1000,
        fn_kwargs: Mapping[str, Any] | None = None,
        *,
        num_proc: int | None = None,
        load_from_cache_file: bool | None = None,
        desc: str | None = None,
        keep_in_memory: bool | None = None,
        writer_batch_size: int | None = None,
    ) -> Dataset:
        """The rows for which `function(row)` is true; batched: it takes a dict of columns and gives a list.

        num_proc, load_from_cache_file, desc, keep_in_memory, writer_batch_size: as in `map`.
        """
        check_peer_options(num_proc, load_from_cache_file, desc, keep_in_memory, writer_batch_size)
        work = RowFunction(function, with_indices, input_columns, batched, batch_size, fn_kwargs=fn_kwargs)
        return self.select(kept_rows(work, self))

    def shuffle(self, seed: int | None = 0) -> Dataset:
        """The rows in a random order: numpy's default_rng(seed).permutation, which is `datasets`' order, too.

        seed=None: another order each time.
        """
        return self._in_order(np.random.default_rng(_seed(seed)).permutation(len(self)))

    def sort(self, column_names: Names, reverse: bool | Sequence[bool] = False) -> Dataset:
        """The rows in the order of one column, or of several, the first counting most; None comes last."""
        names = self.known(column_names)
        turned = [reverse] * len(names) if isinstance(reverse, bool) else list(reverse)
        if len(turned) != len(names):
            raise ValueError(
                f"reverse must be one flag, or one for each of {len(names)} columns, got {turned}"
            )
        order = list(range(len(self)))
        for name, down in reversed(list(zip(names, turned))):
            values = self._scalars(name, "has no order")
            there = [number for number in order if values[number] is not None]
            missing = [number for number in order if values[number] is None]
            order = sorted(there, key=values.__getitem__, reverse=check_flag("reverse", down)) + missing
        return self._in_order(order)

    def train_test_split(
        self,
        test_size: float | int | None = None,
        train_size: float | int | None = None,
        shuffle: bool = True,
        stratify_by_column: str | None = None,
        seed: int | None = 0,
    ) -> DatasetDict:
        """{"train": ..., "test": ...}: a float is a share of the rows, an int their number; a quarter for the test.

        shuffle=False: the test set is the end. seed=None: another one each time. stratify_by_column: each value of that
        column has its share in both.
        """
        train, test = split_sizes(len(self), test_size, train_size)
        seed = _seed(seed)
        if not check_flag("shuffle", shuffle):
            if stratify_by_column is not None:
                raise ValueError("a stratified split is drawn at random: shuffle must be True, got False")
            chosen = range(train), range(train, train + test)
        elif stratify_by_column is None:
            chosen = split_rows(len(self), train, test, seed)
        else:
            labels = self._scalars(stratify_by_column, "names no classes")
            chosen = stratified_rows(labels, train, test, seed)
        return DatasetDict({"train": self._in_order(chosen[0]), "test": self._in_order(chosen[1])})

    # --- other columns: the rest is shared --------------------------------------------------------------------

    def map(
        self,
        function: Callable[..., Any],
        with_indices: bool = False,
        input_columns: Names | None = None,
        batched: bool = False,
        batch_size: int | None = 1000,
        drop_last_batch: bool = False,
        remove_columns: Names | None = None,
        fn_kwargs: Mapping[str, Any] | None = None,
        *,
        num_proc: int | None = None,
        load_from_cache_file: bool | None = None,
        desc: str | None = None,
        keep_in_memory: bool | None = None,
        writer_batch_size: int | None = None,
    ) -> Dataset:
        """The columns that `function` gives beside, or in place of, those that are there.

        function(row) gives a dict of new values, or None for none. batched: it takes a dict of columns of `batch_size`
        rows (None: all) and gives a dict of columns; they may be longer or shorter where all others are removed.
        with_indices: the number of the row comes as second argument. input_columns: the values of these columns come
        instead of the row. What the function does to its row counts only if it returns the row.
        num_proc, load_from_cache_file, desc, keep_in_memory, writer_batch_size: taken, as `datasets` has them, and
        without effect: one process works, in memory, and keeps nothing for the next run.
        """
        check_peer_options(num_proc, load_from_cache_file, desc, keep_in_memory, writer_batch_size)
        removed = self.known([] if remove_columns is None else remove_columns)
        work = RowFunction(
            function, with_indices, input_columns, batched, batch_size, drop_last_batch, fn_kwargs
        )
        made, seen = made_columns(work, self, removed)
        kept = [name for name in self._columns if name not in removed and name not in made]
        lengths = {name: len(values) for name, values in made.items()} | dict.fromkeys(kept, seen)
        if len(set(lengths.values())) > 1:
            raise ValueError(
                f"map gave columns of different lengths: {lengths}; "
                "where rows are added or dropped, the old columns must be named in remove_columns"
            )
        rows = self._rows[:seen]
        columns = {name: self._gathered(name, rows) for name in kept}
        finished = {name: column(name, values) for name, values in made.items()}
        columns |= {name: values for name, (values, _) in finished.items()}
        kinds = self._kinds | {name: kind for name, (_, kind) in finished.items()}
        names = [name for name in dict.fromkeys([*self._columns, *made]) if name in columns]
        return self._like(
            {name: columns[name] for name in names},
            {name: kinds[name] for name in names},
            range(next(iter(lengths.values()), 0)),
        )

    def _gathered(self, name: str, rows: Sequence[int]) -> list:
        """These rows of a column, the column itself if they are all of it."""
        values = self._columns[name]
        return values if rows == range(len(values)) else [values[row] for row in rows]

    def add_column(self, name: str, column: Any) -> Dataset:
        """With a further column, a value a row."""
        if name in self._columns:
            raise ValueError(f"there is a column {name!r} already; map changes one, remove_columns drops it")
        added = Dataset({name: column})
        if self._columns and len(added) != len(self):
            raise ValueError(f"column {name!r} must have {len(self)} values, one a row, got {len(added)}")
        columns = {old: self._gathered(old, self._rows) for old in self._columns}
        return self._like(columns | added._columns, self._kinds | added._kinds, range(len(added)))

    def select_columns(self, column_names: Names) -> Dataset:
        """These columns only, in this order."""
        names = self.known(column_names)
        kept = {name: self._columns[name] for name in names}
        return self._like(kept, {name: self._kinds[name] for name in names}, self._rows if kept else range(0))

    def remove_columns(self, column_names: Names) -> Dataset:
        """All columns but these."""
        removed = self.known(column_names)
        return self.select_columns([name for name in self._columns if name not in removed])

    def rename_column(self, original_column_name: str, new_column_name: str) -> Dataset:
        return self.rename_columns({original_column_name: new_column_name})

    def rename_columns(self, column_mapping: Mapping[str, str]) -> Dataset:
        """With new names for some columns: {"document": "text"}."""
        self.known(list(column_mapping))
        new = {name: column_mapping.get(name, name) for name in self._columns}
        if len(set(new.values())) < len(new) or not all(
            isinstance(name, str) and name for name in new.values()
        ):
            raise ValueError(f"the new names must be different names, got {list(new.values())}")
        renamed = self._like(
            {new[name]: values for name, values in self._columns.items()},
            {new[name]: kind for name, kind in self._kinds.items()},
            self._rows,
        )
        form, shown = self._format
        renamed._format = form, None if shown is None else tuple(new[name] for name in shown)
        return renamed

    # --- how values come out ----------------------------------------------------------------------------------

    def with_format(self, type: str | None = None, columns: Names | None = None) -> Dataset:
        """Values come out as "torch" tensors, "numpy" arrays or (None) plain; rows have only these `columns`."""
        new = self._like(self._columns, self._kinds, self._rows)
        new.set_format(type, columns)
        return new

    def set_format(self, type: str | None = None, columns: Names | None = None) -> None:
        """As `with_format`, for this very Dataset: the one verb that changes it, as in `datasets`; rows stay."""
        check_choice("type", type, FORMATS)
        self._format = type, None if columns is None else tuple(self.known(columns))

    def reset_format(self) -> None:
        """Values come out plain again, of all columns."""
        self.set_format()


def _seed(seed: int | None) -> int | None:
    return None if seed is None else check_int("seed", seed, 0)


def concatenate_datasets(dsets: Sequence[Dataset]) -> Dataset:
    """The rows of several Datasets, one after the other; they must have the same columns of the same kinds."""
    if isinstance(dsets, Dataset) or not hasattr(dsets, "__iter__"):
        raise ValueError(f"dsets must be a list of Datasets, got {describe(dsets)}")
    dsets = list(dsets)
    if not dsets or not all(isinstance(part, Dataset) for part in dsets):
        raise ValueError(f"dsets must be a list of Datasets, got {describe(dsets)}")
    first = dsets[0]
    kinds = dict(first._kinds)
    for number, part in enumerate(dsets[1:], 1):
        if part._kinds.keys() != kinds.keys():
            raise ValueError(f"Dataset {number} has the columns {part.column_names}, the first {list(kinds)}")
        for name in kinds:
            try:
                kinds[name] = joined(kinds[name], part._kinds[name])
            except ValueError as error:
                raise ValueError(f"column {name!r} is of two kinds, {error} (Dataset {number})") from None
    columns = {
        name: [value for part in dsets for value in part._gathered(name, part._rows)] for name in kinds
    }
    return first._like(columns, kinds, range(sum(map(len, dsets))))
