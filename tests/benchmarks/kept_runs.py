"""Runs of a quality table, a line for each (method, seed): measured once, kept in a file, the rest another time."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from minillm._files import write_whole


class KeptRuns:
    """The command line of such a table and what is in its file: `given`, and `done` by (method, seed)."""

    def __init__(self, title: str, methods: Iterable[str], file: str) -> None:
        parser = argparse.ArgumentParser(description=title)
        parser.add_argument("methods", nargs="*", metavar="METHOD")
        parser.add_argument("--kept", required=True, type=Path, help="a folder")
        parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
        parser.add_argument("--list", action="store_true", help="print what is recorded, measure nothing")
        parser.add_argument("--write", action="store_true", help="put the table into BENCHMARKS.md")
        self.given = given = parser.parse_args()
        if unknown := set(given.methods) - set(methods):
            parser.error(f"unknown: {'; '.join(sorted(unknown))}; there are {'; '.join(methods)}")
        given.kept.mkdir(parents=True, exist_ok=True)
        self.file = given.kept / file
        text = self.file.read_text("utf-8") if self.file.is_file() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole != text:  # a process was killed while it wrote its last line
            write_whole(self.file, whole)
        self.done = {(row["method"], row["seed"]): row for row in map(json.loads, whole.splitlines())}
        torch.set_num_threads(1)

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row that was measured."""
        self.done[row["method"], row["seed"]] = row
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")

    def asked(self) -> dict[tuple[str, int], dict[str, Any]]:
        """What is kept of the seeds that are asked for."""
        return {key: row for key, row in self.done.items() if key[1] in self.given.seeds}
