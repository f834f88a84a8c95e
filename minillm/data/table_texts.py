"""Rows of a table as documents: each says the names of its columns, so that a row can be read, found and quoted alone.

    item,price                     prices.csv:1    "item: tea
    tea,3                                           price: 3"

Book: 9.1.1 데이터 저장. Peer: LlamaIndex' PagedCSVReader. Left out: the table as a whole; sums and counts over rows are
questions for a database (chapter 6).
"""

from __future__ import annotations

from pathlib import Path

from minillm.data.documents import Document
from minillm.data.readers import read_csv_columns

CSV = {"delimiter": ",", "quoting": 0, "columns": [], "encoding": "utf-8-sig"}


def csv_documents(file: Path, name: str) -> list[Document]:
    """A Document for every row that holds something, called "name:3" for the third; its title is its first field, and
    its fields are its metadata, too. Empty fields are left out. BadFileError as `read_csv_columns`."""
    columns = read_csv_columns(file, CSV)
    documents = []
    for number, fields in enumerate(zip(*columns.values()), 1):
        row = {column: field.strip() for column, field in zip(columns, fields) if field.strip()}
        if row:
            text = "\n".join(f"{column}: {field}" for column, field in row.items())
            documents.append(Document(f"{name}:{number}", next(iter(row.values())), text, row))
    return documents
