"""Files as documents, by the name that a LlamaIndex user looks for; the reading is `minillm index`'s own.

Book: 9.1.1 데이터 저장. Peer: LlamaIndex' SimpleDirectoryReader.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from minillm._checks import describe
from minillm.data import Document
from minillm.data.text_files import read_files


class SimpleDirectoryReader:
    """Reads .txt, .md, .rst, .py, .ipynb, .jsonl, .csv and .pdf (with pypdf) in a folder and below, or in single files.

    refused: after `load_data`, each file that could not be read, and why; others: how many of other kinds, by
    suffix."""

    def __init__(
        self, input_dir: str | Path | None = None, input_files: Sequence[str | Path] | None = None
    ) -> None:
        if (input_dir is None) == (input_files is None) or isinstance(input_files, (str, Path)):
            raise ValueError(
                f"name a folder (input_dir) or a list of files (input_files), got {describe((input_dir, input_files))}"
            )
        self.paths = [input_dir] if input_files is None else list(input_files)
        self.refused: dict[str, str] = {}
        self.others: dict[str, int] = {}

    def load_data(self) -> list[Document]:
        """The documents. BadFileError where nothing can be read, saying why."""
        reading = read_files(self.paths)
        self.refused, self.others = reading.refused, dict(reading.others)
        return reading.documents
