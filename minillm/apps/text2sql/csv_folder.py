"""A folder of CSV files as an SQLite database: each file a table, named like it. Book: 6.1. Left out: references."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from minillm._checks import check_path
from minillm._files import BadFileError
from minillm.apps.text2sql.tables import quoted
from minillm.data.dataset_files import read_csv

MOST_FILES = 100


def database_of_csv(folder: str | Path, path: str | Path, encoding: str = "utf-8") -> list[str]:
    """Write the database of the CSV files in `folder` to `path`, a new file; the names of its tables.

    Types as Dataset.from_csv guesses them; an empty field is NULL; hidden files (.name) are left out. encoding: "cp949"
    for what Korean Windows programs wrote. BadFileError for a folder without CSV files, a file
    that cannot be read, and two files whose names are the same table.
    """
    folder, path = check_path("folder", folder), check_path("path", path)
    files = sorted(
        one for one in folder.iterdir()
        if one.suffix.lower() == ".csv" and one.is_file() and not one.name.startswith(".")
    )  # fmt: skip
    if not files or len(files) > MOST_FILES:
        raise BadFileError(
            f"folder {str(folder)!r} must hold 1 to {MOST_FILES} .csv files, it holds {len(files)}"
        )
    names = [one.stem for one in files]
    if len({name.lower() for name in names}) < len(names):
        raise BadFileError(
            f"folder {str(folder)!r} holds files that would be the same table: {', '.join(names)}"
        )
    connection = sqlite3.connect(path)
    try:
        for file in files:
            columns = read_csv(file, encoding=encoding)
            if not columns:
                raise BadFileError(f"data file {str(file)!r} has no columns")
            given = ", ".join(f"{quoted(name)} {_kind(values)}" for name, values in columns.items())
            connection.execute(f"CREATE TABLE {quoted(file.stem)} ({given})")
            places = ", ".join("?" * len(columns))
            connection.executemany(
                f"INSERT INTO {quoted(file.stem)} VALUES ({places})", zip(*columns.values())
            )
        connection.commit()
    except (sqlite3.Error, OverflowError) as error:
        raise BadFileError(f"data file {str(file)!r} cannot be a table: {error}") from None
    finally:
        connection.close()
    return names


def _kind(values: list) -> str:
    kinds = {type(value) for value in values if value is not None}
    return "TEXT" if str in kinds or not kinds else "REAL" if float in kinds else "INTEGER"
