"""A trace on disk: one line of JSON a span, appended when the span ends, in one call of the system.

    {"trace_id": ..., "span_id": ..., "parent_id": ..., "name": ..., "start": ns, "end": ns, "attributes": {...}, ...}

    the process is killed (kill -9)   every span that ended is there: its line is with the operating system
    power cut                         the last seconds may be gone (Linux writes back after up to half a minute), unless
                                      the tracer was told sync=True, which waits for the disk at each span, or `flush`
                                      was called; the file's size may have grown before its bytes came: such lines are
                                      no JSON and are counted, not read
    several processes, one file       O_APPEND puts each line at the end as it is then; a line that a killed process
                                      left half written does not swallow the next one

Left out: rotation, file systems over a network. Book 9.4 데이터 로깅.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from minillm._checks import check_path, describe
from minillm._files import BadFileError, read_bytes

HEAD = b'{"trace_id":'  # how a line begins; inside a text of JSON the quotes are escaped
encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


class SpanRecord(NamedTuple):
    """A span that has ended. start, end: nanoseconds since 1970. parent_id: None for the first of a trace.

    kind: "internal" or "client". status: "ok" or "error", which `message` explains.
    events: [{"name", "time", "attributes"}, ...].
    """

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    kind: str
    start: int
    end: int
    status: str
    message: str
    attributes: Mapping[str, Any]
    events: tuple[Mapping[str, Any], ...]

    @property
    def seconds(self) -> float:
        """How long it took; 0 at least, since clocks are set back."""
        return max(0, self.end - self.start) / 1e9


class Trace(NamedTuple):
    """What a file held: the spans, in the order in which they ended, and how many lines were none."""

    records: list[SpanRecord]
    damaged: int


def check_records(records: Any) -> None:
    """ValueError for anything but a list of SpanRecords."""
    if isinstance(records, Trace):
        raise ValueError("records must be a list of SpanRecords, got a Trace: give its .records")
    if not isinstance(records, (list, tuple)):
        raise ValueError(f"records must be a list of SpanRecords, got {describe(records)}")
    for one in records:
        if not isinstance(one, SpanRecord):
            raise ValueError(f"records must hold SpanRecords, got {describe(one)}")


def line_of(record: SpanRecord) -> bytes:
    """The record as a line. Half a surrogate pair, which UTF-8 cannot hold, becomes its JSON escape."""
    return encode(record._asdict()).encode("utf-8", "backslashreplace") + b"\n"


class SpanFile:
    """Appends lines. A file that ends within one gets a line end first."""

    def __init__(self, path: str | Path, sync: bool = False) -> None:
        self.path, self.sync = check_path("path", path), sync
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open(
            "ab", buffering=0
        )  # no buffer of ours: what is written is out of our hands
        if (size := self._file.tell()) and not _ends_a_line(self.path, size):
            self._file.write(b"\n")

    def append(self, line: bytes) -> None:
        """OSError where the disk takes no more, ValueError after `close`."""
        written = self._file.write(line)  # one call of the system, and so in one piece beside other writers
        if written != len(line):
            self._file.write(b"\n")
            raise OSError(f"only {written} of {len(line)} bytes of a span could be written")
        if self.sync:
            os.fsync(self._file.fileno())

    def flush(self) -> None:
        """Wait until all of it is on the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Take no more."""
        self._file.close()


def _ends_a_line(path: Path, size: int) -> bool:
    with path.open("rb") as file:
        file.seek(size - 1)
        return file.read(1) == b"\n"


def read_trace(path: str | Path) -> Trace:
    """The spans of a file. Lines that are none (half written ones) are counted; BadFileError where it holds no span."""
    data = read_bytes(path, "trace")
    records: list[SpanRecord] = []
    damaged = 0
    for line in data.split(b"\n"):
        if line.strip():
            found, start = _whole(line)
            records += [] if found is None else [found]
            damaged += found is None or start > 0
    if damaged and not records:
        raise BadFileError(f"trace {str(path)!r} holds no span: it is no file that a Tracer wrote")
    return Trace(records, damaged)


def _whole(line: bytes) -> tuple[SpanRecord | None, int]:
    """The span of a line and where it begins; of a line that begins with half a span, the whole one at its end."""
    for start in _starts(line):
        try:
            return _checked(json.loads(line[start:])), start
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
    return None, 0


def _starts(line: bytes) -> Iterator[int]:
    start = line.find(HEAD)
    for _ in range(8):  # a hostile line may hold thousands
        if start < 0:
            return
        yield start
        start = line.find(HEAD, start + 1)


def _checked(found: Any) -> SpanRecord:
    record = SpanRecord(**{**found, "events": tuple(found["events"])})
    texts = (record.trace_id, record.span_id, record.name, record.kind, record.status, record.message)
    numbers = all(type(one) is int and 0 <= one < 2**63 for one in (record.start, record.end))
    maps = (record.attributes, *record.events)
    if not (
        all(isinstance(one, str) for one in texts) and numbers and all(isinstance(one, dict) for one in maps)
    ):
        raise ValueError("a field is of another type")
    if not isinstance(record.parent_id, str | None):
        raise ValueError("parent_id is no text")
    if not (_hexadecimal(record.trace_id, 32) and _hexadecimal(record.span_id, 16)):
        raise ValueError("an id has another form")
    return record


def _hexadecimal(text: str, length: int) -> bool:
    return len(text) == length and not set(text) - set("0123456789abcdef")
