"""A function over the rows of a table, one at a time or in batches: what `map` and `filter` have in common.

    function({"text": "a"})            -> {"length": 1}              a row
    function({"text": ["a", "bb"]})    -> {"length": [1, 2]}         batched: a dict of columns

Book: 3.3.3 데이터셋 활용하기. Held against: `datasets`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minillm._checks import check_flag, check_int, describe
from minillm.data.columns import plain

if TYPE_CHECKING:
    from minillm.data.dataset import Dataset


class RowFunction:
    """A user's function and how it wants its rows. Raises ValueError for what is no function or no such column."""

    def __init__(
        self,
        function: Callable[..., Any],
        with_indices: bool = False,
        input_columns: str | Sequence[str] | None = None,
        batched: bool = False,
        batch_size: int | None = 1000,
        drop_last_batch: bool = False,
        fn_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        if not callable(function):
            raise ValueError(f"function must be a function of a row, got {describe(function)}")
        if fn_kwargs is not None and not isinstance(fn_kwargs, Mapping):
            raise ValueError(f"fn_kwargs must be a dict of arguments, got {describe(fn_kwargs)}")
        self.function, self.input_columns, self.options = function, input_columns, fn_kwargs or {}
        self.with_indices = check_flag("with_indices", with_indices)
        self.batched = check_flag("batched", batched)
        self.drop_last_batch = check_flag("drop_last_batch", drop_last_batch)
        self.batch_size = None if batch_size is None else check_int("batch_size", batch_size, 1)

    def answers(self, table: Dataset, removed: Sequence[str] = ()) -> Iterator[tuple[range, Any]]:
        """(numbers of the rows, what the function gave); a row that is given back lacks the names `removed`."""
        names = None if self.input_columns is None else table.known(self.input_columns)
        size = (self.batch_size or len(table) or 1) if self.batched else 1
        for start in range(0, len(table), size):
            numbers = range(start, min(start + size, len(table)))
            if self.drop_last_batch and len(numbers) < size:
                return
            row = table[start : start + size] if self.batched else table[start]
            arguments = [row] if names is None else [row[name] for name in names]
            if self.with_indices:
                arguments.append(list(numbers) if self.batched else start)
            answer = self.function(*arguments, **self.options)
            if answer is row:
                answer = {name: value for name, value in row.items() if name not in removed}
            yield numbers, answer


def check_peer_options(
    num_proc: Any, load_from_cache_file: Any, desc: Any, keep_in_memory: Any, writer_batch_size: Any
) -> None:
    """Options of `datasets` that change no value. They are taken so that code written for it runs: here one process
    does the work, everything is in memory, nothing is kept from another run, and no bar is shown."""
    for name, value in (("num_proc", num_proc), ("writer_batch_size", writer_batch_size)):
        if value is not None:
            check_int(name, value, 1)
    for name, value in (("load_from_cache_file", load_from_cache_file), ("keep_in_memory", keep_in_memory)):
        if value is not None:
            check_flag(name, value)
    if desc is not None and not isinstance(desc, str):
        raise ValueError(f"desc must be a text, got {describe(desc)}")


def kept_rows(work: RowFunction, table: Dataset) -> list[int]:
    """The numbers of the rows for which the function is true."""
    kept: list[int] = []
    for numbers, answer in work.answers(table):
        answers = plain(answer) if work.batched else [answer]
        if not isinstance(answers, list) or len(answers) != len(numbers):
            raise ValueError(
                f"a batched filter must give {len(numbers)} answers, one a row, got {describe(answer)}"
            )
        kept += [number for number, keep in zip(numbers, answers) if keep]
    return kept


def made_columns(work: RowFunction, table: Dataset, removed: Sequence[str]) -> tuple[dict[str, list], int]:
    """(the columns that the function gives, how many rows it has seen)."""
    made: dict[str, list] | None = None
    seen = 0
    for numbers, answer in work.answers(table, removed):
        if answer is not None and not isinstance(answer, Mapping):
            raise ValueError(f"the function of map must give a dict or None, got {describe(answer)}")
        if not seen and answer is not None:
            made = {name: [] for name in answer}
        if (made is None) != (answer is None) or (made is not None and made.keys() != answer.keys()):
            raise ValueError(
                f"the function of map gave {_listed(made)} for row 0 and {_listed(answer)} for row {numbers[0]}"
            )
        for name in made or ():
            made[name] += _values(name, answer[name]) if work.batched else [answer[name]]
        seen += len(numbers)
    return made or {}, seen


def _values(name: str, values: Any) -> list:
    if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__iter__"):
        raise ValueError(f"a batched function must give lists; column {name!r} came as {describe(values)}")
    return list(values)


def _listed(names: Mapping[str, Any] | None) -> str:
    return "None" if names is None else f"the columns {', '.join(map(repr, names)) or 'none'}"
