"""From the files that data sets come in to plain values: rows as dicts, a text, or arrays of pixels.

    json, jsonl     a list of objects, or one object a line
    csv, tsv        a table with a header line (or given columns); csv with quotes, tsv without
    squad           questions nested in paragraphs nested in articles, flattened to one dict a question
    text, lines     one str; one {"text": ...} a line
    stories         texts between <|endoftext|> marks
    idx             MNIST's own format: images uint8 (N, 28, 28) and labels uint8 (N,)
    files           no reading: a dict from each file's name to its path

A name that ends in .gz is unpacked on the way. A file that is cut or damaged is refused by name (BadFileError).
Book: 3.3 허깅페이스 라이브러리 사용법 익히기. Left out: parquet, which dataset_files.py reads through pyarrow.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minillm._checks import describe
from minillm._files import BadFileError, read_bytes

Row = dict[str, Any]


def read_plain(path: Path) -> bytes:
    """The file's bytes, unpacked when its name ends in .gz."""
    data = read_bytes(path, "data file")
    if path.suffix != ".gz":
        return data
    try:
        if not data:  # gzip takes no bytes for no text; here it is a file that lost everything
            raise EOFError("it is empty")
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise BadFileError(f"data file {str(path)!r} is not a whole gzip file: {error}") from None


def read_text(path: Path, encoding: str | None = None) -> str:
    """The file's text in the `encoding` that its user names; None or "utf-8": UTF-8, a byte order mark is dropped."""
    try:
        known = codecs.lookup("utf-8" if encoding is None else encoding).name
    except (LookupError, TypeError, ValueError):
        raise ValueError(
            f'encoding must be the name of one, as "utf-8" or "cp949", got {describe(encoding)}'
        ) from None
    try:
        return read_plain(path).decode("utf-8-sig" if known == "utf-8" else known)
    except UnicodeError as error:
        hint = '. Older Korean files are often in another: encoding="cp949"' if encoding == "utf-8" else ""
        name = known.upper() if known == "utf-8" else known
        raise BadFileError(f"data file {str(path)!r} is not {name} text: {error}{hint}") from None


def _refuse(path: Path, why: object) -> BadFileError:
    return BadFileError(f"data file {str(path)!r} is cut short or damaged: {why}")


def read_json_value(path: Path, encoding: str | None = None) -> Any:
    """The one value of a JSON file."""
    try:
        return json.loads(read_text(path, encoding))
    except BadFileError:
        raise
    except (ValueError, RecursionError) as error:
        raise _refuse(path, error) from None


def _json(path: Path, options: dict) -> list[Row]:
    rows = read_json_value(path, options.get("encoding"))
    if not isinstance(rows, list):
        raise _refuse(path, f"expected a JSON list, got {type(rows).__name__}")
    return rows


def _jsonl(path: Path, options: dict) -> list[Row]:
    rows = []
    for number, line in enumerate(read_text(path, options.get("encoding")).split("\n"), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise _refuse(path, f"line {number}: {error}") from None
    return rows


def _json_or_jsonl(path: Path, options: dict) -> list[Row]:
    """Which of the two it is shows in the first character: a list begins with [."""
    return (_json if read_text(path, options.get("encoding")).lstrip().startswith("[") else _jsonl)(
        path, options
    )


def _squad(path: Path, options: dict) -> list[Row]:
    rows = []
    try:
        for article in json.loads(read_text(path))["data"]:
            for paragraph in article["paragraphs"]:
                for asked in paragraph["qas"]:
                    key = "guid" if "guid" in asked else "id"
                    answers = asked.get("answers") or asked.get("plausible_answers") or []
                    row = {
                        key: asked[key],
                        "title": article.get("title", ""),
                        "context": paragraph["context"],
                        "question": asked["question"],
                        "answers": {
                            "answer_start": [answer["answer_start"] for answer in answers],
                            "text": [answer["text"] for answer in answers],
                        },
                    }
                    if "is_impossible" in asked:
                        row["is_impossible"] = asked["is_impossible"]
                    rows.append(row)
    except BadFileError:
        raise
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise _refuse(path, f"not in SQuAD's layout ({type(error).__name__}: {error})") from None
    return rows


def _table(path: Path, lines: list[list[str]], options: dict) -> list[Row]:
    columns, lines = _named(path, lines, options)
    types: dict[str, Callable[[str], Any]] = {
        column: {"int": int, "float": float}[kind] for column, kind in options.get("types", {}).items()
    }
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append({column: types.get(column, str)(field) for column, field in zip(columns, line)})
        except ValueError as error:
            raise _refuse(path, f"row {number}: {error}") from None
    return rows


def _named(path: Path, lines: list[list[str]], options: dict) -> tuple[list[str], list[list[str]]]:
    """(names of the columns, the lines below them), each line with a field for each column."""
    columns = options.get("columns") or (lines.pop(0) if lines else [])
    if len(set(columns)) < len(columns):
        raise _refuse(path, f"two columns have one name: {', '.join(columns)}")
    for number, line in enumerate(lines, 1):
        if len(line) != len(columns):
            raise _refuse(
                path, f"row {number} has {len(line)} fields, expected {len(columns)} ({', '.join(columns)})"
            )
    return columns, lines


def _csv_lines(path: Path, options: dict) -> list[list[str]]:
    text = read_text(path, options.get("encoding"))
    dialect = {name: options[name] for name in ("delimiter", "quoting") if name in options}
    spaces = options.get("skip_spaces", False)
    limit = csv.field_size_limit(min(max(len(text), 1), 2**31 - 1))  # else a field ends at 131,072 characters
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=spaces, **dialect)
        return [line for line in reader if line]
    except csv.Error as error:
        raise _refuse(path, error) from None
    finally:
        csv.field_size_limit(limit)


def _csv(path: Path, options: dict) -> list[Row]:
    return _table(path, _csv_lines(path, options), options)


def read_csv_columns(path: Path, options: dict) -> dict[str, list[str]]:
    """The columns of a csv file as text; a file that has only its header line has columns without rows."""
    columns, lines = _named(path, _csv_lines(path, options), options)
    fields = list(map(list, zip(*lines))) or [[] for _ in columns]
    return dict(zip(columns, fields))


def _tsv(path: Path, options: dict) -> list[Row]:
    # No quoting: a quotation mark is a character like any other (csv would join lines at an open one).
    lines = [line.rstrip("\r").split("\t") for line in read_text(path).split("\n")]
    return _table(path, [line for line in lines if line != [""]], options)


def _lines(path: Path, options: dict) -> list[Row]:
    return [{"text": line} for line in read_text(path).splitlines() if line.strip()]


def _stories(path: Path, options: dict) -> list[Row]:
    stories = (story.strip() for story in read_text(path).split("<|endoftext|>"))
    return [{"text": story} for story in stories if story]


def read_idx(path: Path) -> np.ndarray:
    """An IDX file of unsigned bytes: two zero bytes, type 8, the number of axes, their lengths (big-endian), pixels."""
    data = read_plain(path)
    axes = data[3] if len(data) >= 4 else 0
    if data[:3] != b"\0\0\x08" or axes < 1 or len(data) < 4 + 4 * axes:
        raise _refuse(path, "expected an IDX file of unsigned bytes")
    shape = tuple(int(length) for length in np.frombuffer(data, ">u4", count=axes, offset=4))
    pixels = len(data) - 4 - 4 * axes
    if pixels != int(np.prod(shape, dtype=np.int64)):
        raise _refuse(path, f"it holds {pixels:,} values, expected {shape}")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape).copy()


_ROW_READERS: dict[str, Callable[[Path, dict], list[Row]]] = {
    "json": _json,
    "jsonl": _jsonl,
    "json or jsonl": _json_or_jsonl,
    "squad": _squad,
    "csv": _csv,
    "tsv": _tsv,
    "lines": _lines,
    "stories": _stories,
}


def read_source(paths: Sequence[Path], kind: str, options: dict) -> list[Row] | str | dict[str, Any]:
    """The value of a split: rows of all files, or what its format gives.

    options: "columns" (names for a table without a header), "types" (column -> "int" or "float"), "where" (keep the
    rows with these values), "add" (for each file, values to add to its rows), "skip_spaces" (after a csv's commas).
    """
    if kind == "text":
        return "".join(read_text(path) for path in paths)
    if kind == "files":
        return {path.stem: path for path in paths}
    if kind == "idx":
        images, labels = (read_idx(path) for path in paths)
        if len(images) != len(labels):
            raise _refuse(paths[1], f"{len(labels):,} labels for {len(images):,} images")
        return {"images": images, "labels": labels}
    wanted = options.get("where", {}).items()
    return [
        {**row, **added}
        for path, added in zip(paths, options["add"])
        for row in read_rows(path, kind, options)
        if all(row.get(column) == value for column, value in wanted)
    ]


def read_rows(path: Path, kind: str, options: dict) -> list[Row]:
    """The rows of one file of a table's `kind`; for "csv" options may name "delimiter" and "quoting", too."""
    return _objects(path, _ROW_READERS[kind](path, options))


def _objects(path: Path, rows: list[Any]) -> list[Row]:
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise _refuse(path, f"row {number} must be an object, got {type(row).__name__}")
    return rows
