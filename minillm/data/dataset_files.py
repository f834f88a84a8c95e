"""A Dataset's ways from and to files: csv, JSON and text by hand, parquet and DataFrames by pyarrow, pandas.

csv has no types: a column whose every field is a whole number is "int64", a number "float64", True or False "bool",
anything else text; an empty field is None. A number with a leading zero (a telephone number, a postal code) is text,
and so are whole numbers beyond 64 bits (an order number): as floats they would lose digits.

Book: 3.3.3 데이터셋 활용하기. Held against: `datasets`, which reads csv by pandas: there "NA" and "null" are missing
values, too, and 010 is 10. Left out: streams, files larger than memory.
"""

from __future__ import annotations

import csv
import glob
import inspect
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from minillm._checks import check_choice, check_flag, check_path, describe
from minillm._files import BadFileError, replace_whole, write_whole
from minillm.data.columns import NAMES, columns_of
from minillm.data.readers import Row, read_csv_columns, read_json_value, read_rows, read_text

Columns = dict[str, list[Any]]

_WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_READ: dict[str, Callable[[str], Any]] = {
    "int64": int, "float64": float, "bool": {"True": True, "true": True, "False": False, "false": False}.__getitem__,
    "string": str,
}  # fmt: skip


def read_csv(
    path: Path,
    delimiter: str = ",",
    column_names: Sequence[str] | None = None,
    features: Mapping[str, str] | None = None,
    quoting: int = csv.QUOTE_MINIMAL,
    encoding: str = "utf-8",
) -> Columns:
    """The columns of a csv file. column_names: of a file without a header line; features: column -> "string", "int64",
    "float64" or "bool", where the guess would be wrong; quoting: csv.QUOTE_NONE for files whose quotes are text;
    encoding: "cp949" for what Korean Windows programs wrote."""
    _check_delimiter("delimiter", delimiter)
    if isinstance(column_names, str):
        raise ValueError(f"column_names must be a list of names, got {describe(column_names)}")
    options = {
        "delimiter": delimiter, "quoting": quoting, "columns": list(column_names or []), "encoding": encoding
    }  # fmt: skip
    columns = read_csv_columns(path, options)
    wanted = dict(features or {})
    for name, kind in wanted.items():
        if kind not in _READ or (columns and name not in columns):
            raise ValueError(
                f"features must name columns ({', '.join(columns)}) and one of {', '.join(_READ)}, "
                f"got {name!r}: {describe(kind)}"
            )
    return {
        name: _typed(path, name, fields, wanted.get(name) or _guess(fields))
        for name, fields in columns.items()
    }


def _check_delimiter(name: str, delimiter: Any) -> None:
    if not isinstance(delimiter, str) or len(delimiter) != 1:
        raise ValueError(f"{name} must be one character, got {describe(delimiter)}")


def _typed(path: Path, name: str, fields: Sequence[str], kind: str) -> list[Any]:
    values: list[Any] = []
    for number, field in enumerate(fields, 1):
        try:
            values.append(None if field == "" else _READ[kind](field))
        except (ValueError, KeyError):
            raise BadFileError(
                f"data file {str(path)!r}: {name!r} of row {number} must be {kind}, got {describe(field)}"
            ) from None
    return values


def _guess(fields: Sequence[str]) -> str:
    filled = [field for field in fields if field]
    if not filled:
        return "string"
    if all(map(_WHOLE.fullmatch, filled)):
        return (
            "int64"
            if all(len(field) < 21 and -(2**63) <= int(field) < 2**63 for field in filled)
            else "string"
        )
    if all(map(_NUMBER.fullmatch, filled)):
        return "float64"
    return "bool" if all(field in ("True", "False", "true", "false") for field in filled) else "string"


def read_json(path: Path, field: str | None = None, encoding: str = "utf-8") -> Columns:
    """The columns of a JSON file: an object a line, one list of objects, or (`field`) such a list within one object."""
    if field is not None:
        value = read_json_value(path, encoding)
        if not isinstance(value, dict) or not isinstance(value.get(field), list):
            raise BadFileError(f"data file {str(path)!r} must be an object with a list {describe(field)}")
        return columns_of(value[field])
    return columns_of(read_rows(path, "json or jsonl", {"encoding": encoding}))


def read_lines(
    path: Path, encoding: str = "utf-8", keep_linebreaks: bool = False, sample_by: str = "line"
) -> Columns:
    """{"text": [...]} of a text file, a row for each "line", for each "paragraph" (an empty line ends one), or one for
    the "document". Lines end at \\n, \\r\\n or \\r; keep_linebreaks: as \\n they stay at the end of their line."""
    check_choice("sample_by", sample_by, ("line", "paragraph", "document"))
    text = read_text(path, encoding).replace("\r\n", "\n").replace("\r", "\n")
    if sample_by == "document":
        return {"text": [text]}
    parts = text.split("\n" if sample_by == "line" else "\n\n")
    if sample_by == "paragraph":
        return {"text": [part for part in parts if part]}
    end = "\n" if check_flag("keep_linebreaks", keep_linebreaks) else ""
    last = [parts[-1]] if parts[-1] else []  # the last line may lack its end
    return {"text": [part + end for part in parts[:-1]] + last}


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> Columns:
    """The columns of a parquet file, by pyarrow."""
    parquet = _library("pyarrow.parquet", "parquet files")
    try:
        table = parquet.read_table(path, columns=None if columns is None else list(columns))
    except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise BadFileError(f"data file {str(path)!r} is no whole parquet file: {error}") from None
    if missing := set(columns or ()) - set(table.column_names):
        raise ValueError(
            f"{str(path)!r} has no column {min(missing)!r}; it has {', '.join(table.column_names)}"
        )
    return table.to_pydict()


READERS: dict[str, Callable[..., Columns]] = {
    "csv": read_csv, "json": read_json, "parquet": read_parquet, "text": read_lines
}  # fmt: skip


def read_files(paths: Any, kind: str, **options: Any) -> Columns:
    """The columns of a file, or of a list of files one after the other; None where a file lacks a column.

    A path may have *, ? and [...]: the files of such names, in their order. ValueError for an unknown option.
    """
    several = paths if isinstance(paths, (list, tuple)) else [paths]
    if not several:
        raise ValueError("a path or a list of paths must be given, got an empty list")
    check_options(kind, options)
    checked = [one for path in several for one in _found(check_path("path", path))]
    tables = [READERS[kind](path, **options) for path in checked]
    if len(tables) == 1:
        return tables[0]
    lengths = [len(next(iter(table.values()), ())) for table in tables]
    return {
        name: [value for table, rows in zip(tables, lengths) for value in table.get(name, [None] * rows)]
        for name in dict.fromkeys(name for table in tables for name in table)
    }


def check_options(kind: str, options: Iterable[str]) -> None:
    """ValueError for an option that files of this kind are not read with."""
    known = list(inspect.signature(READERS[kind]).parameters)[1:]
    for name in options:
        if name not in known:
            hint = "; its name here is delimiter" if name == "sep" and kind == "csv" else ""
            raise ValueError(f"{kind} files are read without {name!r}{hint}; options are {', '.join(known)}")


def _found(path: Path) -> list[Path]:
    """The files of a path with * or ?, or [..], in the order of their names; another path is itself."""
    if path.exists() or not any(sign in str(path) for sign in "*?["):
        return [path]
    found = sorted(map(Path, glob.glob(str(path), recursive=True)))
    if not found:
        raise BadFileError(f"data files {str(path)!r}: there are none")
    return found


def _library(name: str, what: str) -> Any:
    """A package that core installs do without."""
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(
            f"{what} need {name.partition('.')[0]}: pip install -e '.[tables]' ({error})"
        ) from None


def frame_columns(frame: Any, preserve_index: bool | None = None) -> dict[str, list]:
    """The columns of a pandas DataFrame as lists; NaN, NaT and NA are None. preserve_index: its index as a column;
    None: if it does more than count."""
    check_choice("preserve_index", preserve_index, (None, True, False))
    pandas = _library("pandas", "DataFrames")
    if not isinstance(frame, pandas.DataFrame):
        raise ValueError(f"from_pandas takes a DataFrame, got {describe(frame)}")
    counts = isinstance(frame.index, pandas.RangeIndex)
    if preserve_index or (preserve_index is None and not counts):
        index = frame.index.name or "__index_level_0__"
        frame = frame.assign(**{index: frame.index.tolist()})
    return {name: [_cell(value, pandas) for value in frame[name].tolist()] for name in frame.columns}


def _cell(value: Any, pandas: Any) -> Any:
    missing = value is pandas.NA or value is pandas.NaT or (isinstance(value, float) and value != value)
    return None if missing else value


def to_frame(columns: Mapping[str, list]) -> Any:
    """The columns as a pandas DataFrame."""
    return _library("pandas", "DataFrames").DataFrame(dict(columns))


def write_csv(path: Any, columns: Mapping[str, list], delimiter: str = ",") -> Path:
    """A csv file with a header line, UTF-8; None is an empty field. ValueError for lists, dicts and bytes."""
    _check_delimiter("sep", delimiter)
    for name, values in columns.items():
        for row, value in enumerate(values):
            if isinstance(value, (list, dict, bytes)):
                raise ValueError(
                    f"a csv file holds text and numbers; {name!r} of row {row} is {describe(value)}: use to_json"
                )
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values()))
    return write_whole(path, text.getvalue())


def write_json(path: Any, rows: Iterable[Row], lines: bool = True, ascii_only: bool = False) -> Path:
    """A JSON file: an object a line, or one list of them; Korean as it is, or as \\uXXXX."""
    try:
        written = [json.dumps(row, ensure_ascii=ascii_only, allow_nan=True) for row in rows]
    except TypeError as error:
        raise ValueError(
            f"to_json cannot write a value that is not of {', '.join(NAMES.values())}: {error}"
        ) from None
    return write_whole(path, "".join(f"{row}\n" for row in written) if lines else f"[{','.join(written)}]\n")


def write_parquet(path: Any, columns: Mapping[str, list]) -> Path:
    """A parquet file, by pyarrow."""
    arrow, parquet = _library("pyarrow", "parquet files"), _library("pyarrow.parquet", "parquet files")
    table = arrow.table(dict(columns))
    return replace_whole(path, lambda temporary: parquet.write_table(table, temporary))


class TableFiles:
    """The part of Dataset that reads and writes files; it needs `from_dict`, `to_list` and `to_dict`."""

    @classmethod
    def from_csv(cls, path: Any, **options: Any) -> Any:
        """From a csv file or a list of them; delimiter, column_names, features, quoting, encoding: see `read_csv`."""
        return cls.from_dict(read_files(path, "csv", **options))

    @classmethod
    def from_json(cls, path: Any, field: str | None = None, encoding: str = "utf-8") -> Any:
        """From JSON: an object a line, or one list of objects; `field`: where that list stands in one object."""
        return cls.from_dict(read_files(path, "json", field=field, encoding=encoding))

    @classmethod
    def from_parquet(cls, path: Any, columns: Sequence[str] | None = None) -> Any:
        """From parquet files, through pyarrow (extra `tables`); `columns`: only those are read."""
        return cls.from_dict(read_files(path, "parquet", columns=columns))

    @classmethod
    def from_text(cls, path: Any, **options: Any) -> Any:
        """From text files, {"text": line} for each line; encoding, keep_linebreaks, sample_by: see `read_lines`."""
        return cls.from_dict(read_files(path, "text", **options))

    @classmethod
    def from_pandas(cls, frame: Any, preserve_index: bool | None = None) -> Any:
        """From a pandas DataFrame; NaN becomes None. preserve_index: its index as a column, None: if it is no count."""
        return cls.from_dict(frame_columns(frame, preserve_index))

    def to_csv(self, path: Any, sep: str = ",", index: bool = False) -> Path:
        """Write a csv file with a header line; ValueError for lists and dicts, which it cannot hold.

        sep: between the fields; index: pandas' option for the numbers of the rows, which are not written.
        """
        if check_flag("index", index):
            raise ValueError(
                "to_csv writes no numbers of rows: index must be False; add_column gives them a column"
            )
        return write_csv(path, self.to_dict(), sep)

    def to_json(self, path: Any, lines: bool = True, force_ascii: bool = False) -> Path:
        """Write JSON: an object a line, or (lines=False) one list of objects.

        force_ascii: Korean as \\uac00, `datasets`' default; here text stays readable.
        """
        return write_json(
            path, self.to_list(), check_flag("lines", lines), check_flag("force_ascii", force_ascii)
        )

    def to_parquet(self, path: Any) -> Path:
        """Write a parquet file, through pyarrow."""
        return write_parquet(path, self.to_dict())

    def to_pandas(self) -> Any:
        """The rows as a pandas DataFrame."""
        return to_frame(self.to_dict())
