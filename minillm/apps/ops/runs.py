"""Experiment runs (실험 관리) in MLflow's words: params were set, metrics came out, artifacts were made.

    run = Runs(records).start("names", params={"learning_rate": 0.1})
    run.log_metric("loss", 2.3, step=1); run.log_artifact("model.json", data); run.end()

Every call is one transaction: it is on the disk when it returns, and several processes log at once. A param is written
once: a run that says two learning rates says none. A metric keeps its history, by step.

Book: 13.1.2 실험 관리. Peer: MLflow (mlflow_export.py). Left out: nested runs, a server, deletion.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from minillm._checks import check_choice, check_int, describe
from minillm._files import stays_inside
from minillm.apps.ops.records import Records, check_name, check_records

ENDS = ("FINISHED", "FAILED", "KILLED")
LONGEST_VALUE = 6000  # characters of a param, MLflow's limit


class Point(NamedTuple):
    """One value of a metric; time in milliseconds since 1970, as in MLflow."""

    step: int
    value: float
    time: int


class Run:
    """One run: reads and writes go to the records. As a context manager it ends FINISHED, or FAILED on an error."""

    def __init__(self, runs: Runs, id: str) -> None:
        self.runs, self.id = runs, id

    def log_param(self, key: str, value: Any) -> None:
        """One setting, kept as str(value). ValueError for another value of a key that has one."""
        self.log_params({check_name("a param's name", key): value})

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Several settings, all of them or none."""
        texts = _texts("param", params)
        with self._open() as rows:
            for key, value in texts.items():
                rows.execute("INSERT OR IGNORE INTO params VALUES (?, ?, ?)", (self.id, key, value))
                there = rows.execute(
                    "SELECT value FROM params WHERE run = ? AND key = ?", (self.id, key)
                ).fetchone()
                if there[0] != value:
                    raise ValueError(
                        f"param {key!r} is {there[0]!r} already and does not change, got {value!r}"
                    )

    def log_metric(self, key: str, value: float, step: int = 0) -> None:
        """One more point of a metric; NaN and infinity are kept, as a run that diverged has them."""
        self.log_metrics({check_name("a metric's name", key): value}, step)

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Points of several metrics at one step, all of them or none."""
        step = check_int("step", step)
        if not isinstance(metrics, Mapping):
            raise ValueError(f"metrics must be a dict, got {describe(metrics)}")
        now, points = self.runs.now(), []
        for key, value in metrics.items():
            number = _number(check_name("a metric's name", key), value)
            points.append((self.id, key, step, None if math.isnan(number) else number, now))
        with self._open() as rows:
            rows.executemany(
                "INSERT INTO metrics (run, key, step, value, time) VALUES (?, ?, ?, ?, ?)", points
            )

    def set_tag(self, key: str, value: Any) -> None:
        """A note about the run; a later one replaces it."""
        ((key, text),) = _texts("tag", {check_name("a tag's name", key): value}).items()
        with self._open(ended=True) as rows:
            rows.execute("INSERT OR REPLACE INTO tags VALUES (?, ?, ?)", (self.id, key, text))

    def log_artifact(self, name: str, content: bytes) -> str:
        """Keep bytes that the run made under a name, in which / parts folders; returns their address. A later one
        replaces it."""
        check_artifact_name(name)
        kept = self.runs.records.put(content)
        with self._open() as rows:
            rows.execute("INSERT OR REPLACE INTO artifacts VALUES (?, ?, ?)", (self.id, name, kept))
        return kept

    def end(self, status: str = "FINISHED") -> None:
        """End the run: FINISHED, FAILED or KILLED. `Runs.resume` opens it again."""
        check_choice("status", status, ENDS)
        with self._open() as rows:
            rows.execute(
                "UPDATE runs SET status = ?, end = ? WHERE id = ?", (status, self.runs.now(), self.id)
            )

    @property
    def params(self) -> dict[str, str]:
        return dict(self._read("SELECT key, value FROM params WHERE run = ? ORDER BY key"))

    @property
    def tags(self) -> dict[str, str]:
        return dict(self._read("SELECT key, value FROM tags WHERE run = ? ORDER BY key"))

    @property
    def artifacts(self) -> dict[str, str]:
        """{name: address of its bytes}"""
        return dict(self._read("SELECT name, object FROM artifacts WHERE run = ? ORDER BY name"))

    @property
    def history(self) -> dict[str, list[Point]]:
        """{metric: its points, by step; points of one step in the order they were logged}"""
        found: dict[str, list[Point]] = {}
        query = "SELECT key, step, value, time FROM metrics WHERE run = ? ORDER BY key, step, number"
        for key, step, value, at in self._read(query):
            found.setdefault(key, []).append(Point(step, math.nan if value is None else value, at))
        return found

    @property
    def metrics(self) -> dict[str, float]:
        """{metric: its value at the last step}"""
        return {key: points[-1].value for key, points in self.history.items()}

    @property
    def info(self) -> dict[str, Any]:
        """experiment, name, status, start and end (milliseconds, None while it runs)"""
        found = self._read("SELECT experiment, name, status, start, end FROM runs WHERE id = ?")
        return dict(zip(("experiment", "name", "status", "start", "end"), found[0]))

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if self.info["status"] == "RUNNING":
            self.end("FINISHED" if kind is None else "FAILED" if issubclass(kind, Exception) else "KILLED")

    def _read(self, query: str) -> list[Any]:
        with self.runs.records.transaction() as rows:
            return rows.execute(query, (self.id,)).fetchall()

    def _open(self, ended: bool = False) -> Any:
        return _Writing(self, ended)


class _Writing:
    """A transaction that begins by looking whether the run still runs."""

    def __init__(self, run: Run, ended: bool) -> None:
        self.run, self.ended = run, ended
        self.transaction = run.runs.records.transaction(write=True)

    def __enter__(self) -> Any:
        rows = self.transaction.__enter__()
        (status,) = rows.execute("SELECT status FROM runs WHERE id = ?", (self.run.id,)).fetchone()
        if status != "RUNNING" and not self.ended:
            error = ValueError(f"run {self.run.id} has ended ({status}): resume it to write more")
            self.transaction.__exit__(ValueError, error, None)
            raise error
        return rows

    def __exit__(self, *error: Any) -> Any:
        return self.transaction.__exit__(*error)


class Runs:
    """The runs of a project. clock: seconds since 1970, for tests that must not depend on the time."""

    def __init__(self, records: Records, clock: Callable[[], float] = time.time) -> None:
        self.records, self.clock = check_records(records), clock

    def now(self) -> int:
        return round(self.clock() * 1000)

    def start(self, experiment: str, name: str = "run", params: Mapping[str, Any] | None = None) -> Run:
        """A new run that is RUNNING, with its params."""
        check_name("experiment", experiment), check_name("name", name)
        texts, id = _texts("param", params or {}), secrets.token_hex(16)
        row = (id, experiment, name, "RUNNING", self.now())
        with self.records.transaction(write=True) as rows:
            rows.execute("INSERT INTO runs (id, experiment, name, status, start) VALUES (?, ?, ?, ?, ?)", row)
            rows.executemany("INSERT INTO params VALUES (?, ?, ?)", [(id, *pair) for pair in texts.items()])
        return Run(self, id)

    def get(self, id: str) -> Run:
        """The run of an id; ValueError where there is none."""
        with self.records.transaction() as rows:
            if (
                not isinstance(id, str)
                or not rows.execute("SELECT 1 FROM runs WHERE id = ?", (id,)).fetchone()
            ):
                raise ValueError(f"there is no run {describe(id)}")
        return Run(self, id)

    def resume(self, id: str) -> Run:
        """The run, RUNNING again: after a crash, or to log more."""
        run = self.get(id)
        with self.records.transaction(write=True) as rows:
            rows.execute("UPDATE runs SET status = 'RUNNING', end = NULL WHERE id = ?", (id,))
        return run

    def all(self, experiment: str | None = None) -> list[Run]:
        """All runs, or those of one experiment, oldest first."""
        experiment is None or check_name("experiment", experiment)
        where, given = ("", ()) if experiment is None else ("WHERE experiment = ?", (experiment,))
        with self.records.transaction() as rows:
            found = rows.execute(f"SELECT id FROM runs {where} ORDER BY number", given).fetchall()
        return [Run(self, id) for (id,) in found]


def check_artifact_name(name: Any) -> str:
    """A name that a folder can hold: "model.json", "plots/loss.png"."""
    check_name("an artifact's name", name)
    if not stays_inside(name) or str(PurePosixPath(name)) != name:
        raise ValueError(f"an artifact's name must be a path inside of the run's folder, got {name!r}")
    return name


def _texts(what: str, values: Mapping[str, Any]) -> dict[str, str]:
    if not isinstance(values, Mapping):
        raise ValueError(f"{what}s must be a dict, got {describe(values)}")
    texts = {check_name(f"a {what}'s name", key): str(value) for key, value in values.items()}
    for key, text in texts.items():
        if len(text) > LONGEST_VALUE:
            raise ValueError(f"{what} {key!r} has {len(text)} characters, at most {LONGEST_VALUE} are kept")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{what} {key!r} holds half a surrogate pair: {describe(text)!a}") from None
    return texts


def _number(key: str, value: Any) -> float:
    try:
        if isinstance(value, (bool, str, bytes)):
            raise TypeError
        if hasattr(value, "detach"):  # a loss with its graph: torch would warn
            value = value.detach()
        return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise ValueError(f"metric {key!r} must be a number, got {describe(value)}") from None
