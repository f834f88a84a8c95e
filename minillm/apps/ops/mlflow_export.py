"""Show our runs to a real MLflow: `mlflow ui --backend-store-uri sqlite:///mlflow.db` then has them.

Experiment, name, status, times, params, tags, every point of every metric and the artifacts go over. Each of their runs
carries the id of ours from its first moment on (tag minillm.run), and a call sends what is missing: a run that was sent
while it was running is brought up to date, and a call that was interrupted is continued, without a second copy.

Book: 13.1.2 실험 관리. Peer: MLflow, by its own client; no dependency of ours: `pip install mlflow`. Left out: two
calls at the same time. MLflow's SQL keeps equal points (key, step, time, value) once, infinity as the largest number.
"""

from __future__ import annotations

import posixpath
import re
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from minillm._checks import check_text, describe
from minillm.apps.ops.data_versions import manifest_bytes
from minillm.apps.ops.records import address
from minillm.apps.ops.runs import Point, Run, check_artifact_name

MOST_METRICS, MOST_TEXTS = 1000, 100  # in one call: MLflow's limits
LARGEST = 1.7976931348623157e308
OURS, ARTIFACTS = "minillm.run", "minillm.artifacts"


def log_to_mlflow(runs: Iterable[Run], tracking_uri: str) -> dict[str, str]:
    """Send runs to MLflow's tracking store; returns {our id: MLflow's id}, also of runs that were there already.

    tracking_uri: "sqlite:////folder/mlflow.db", "http://...". Raises ImportError with the command to run where MLflow
    is not installed, ValueError for no runs of ours, and for names that MLflow does not take; then nothing is sent.
    A new experiment keeps its artifacts where MLflow does by default: with SQLite in ./mlruns.
    """
    runs = list(runs)
    if not all(isinstance(run, Run) for run in runs):
        raise ValueError(f"runs must be a list of Run, got {describe(runs)}")
    check_text("tracking_uri", tracking_uri)
    try:
        from mlflow.tracking import MlflowClient
    except ImportError:
        raise ImportError("log_to_mlflow needs MLflow: pip install mlflow") from None
    for run in runs:
        _check_names(run)
    client = MlflowClient(tracking_uri=tracking_uri)
    return {run.id: _send(client, run) for run in runs}


def _send(client: Any, run: Run) -> str:
    from mlflow.entities import Metric, Param, RunTag

    info = run.info  # the status first: what is logged after it belongs to the next call
    theirs = _theirs(client, run, info)
    id, there = theirs.info.run_id, theirs.data
    for some in _parts(run.params.items(), MOST_TEXTS):
        client.log_batch(id, params=[Param(*pair) for pair in some])
    for some in _parts(_missing(client, id, there.metrics, run), MOST_METRICS):
        client.log_batch(id, metrics=[Metric(key, p.value, p.time, p.step) for key, p in some])
    kept = run.artifacts
    version = address(manifest_bytes(kept))
    if kept and there.tags.get(ARTIFACTS) != version:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in kept.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(run.runs.records.get(content))
            client.log_artifacts(id, folder)
    tags = run.tags | {OURS: run.id} | ({ARTIFACTS: version} if kept else {})
    for some in _parts(tags.items(), MOST_TEXTS):
        client.log_batch(id, tags=[RunTag(*pair) for pair in some])
    if info["status"] != "RUNNING":
        client.set_terminated(id, info["status"], info["end"])
    elif theirs.info.status != "RUNNING":  # it was resumed
        client.update_run(id, status="RUNNING")
    return id


def _theirs(client: Any, run: Run, info: dict[str, Any]) -> Any:
    """MLflow's run that carries our id: the one that is there, or a new one."""
    experiment = client.get_experiment_by_name(info["experiment"])
    place = experiment.experiment_id if experiment else client.create_experiment(info["experiment"])
    there = client.search_runs([place], f"tags.`{OURS}` = '{run.id}'")
    if there:
        return there[0]
    return client.create_run(place, start_time=info["start"], tags={OURS: run.id}, run_name=info["name"])


def _missing(client: Any, id: str, known: Iterable[str], run: Run) -> Iterator[tuple[str, Point]]:
    """The points of our run that MLflow's run does not have yet."""
    there = {
        (key, m.step, m.timestamp, repr(m.value)) for key in known for m in client.get_metric_history(id, key)
    }
    for key, points in run.history.items():
        for point in points:
            shown = max(-LARGEST, min(LARGEST, point.value)) if point.value == point.value else point.value
            if not there & {(key, point.step, point.time, repr(value)) for value in (shown, point.value)}:
                yield key, point


def _parts(items: Iterable[Any], most: int) -> Iterator[list[Any]]:
    items = iter(items)
    while some := list(islice(items, most)):
        yield some


def _check_names(run: Run) -> None:
    for what, names in (("param", run.params), ("metric", run.history), ("tag", run.tags)):
        for name in names:
            path = posixpath.normpath(name)
            if (
                not re.fullmatch(r"[/\w.\- :]+", name)
                or path != name
                or path.startswith(("..", "/"))
                or path == "."
            ):
                raise ValueError(
                    f"MLflow takes no {what} of the name {name!r}: letters, digits and _-.:/ and spaces"
                )
    kept = run.artifacts
    folders = {str(parent) for name in kept for parent in PurePosixPath(check_artifact_name(name)).parents}
    if folders & kept.keys():
        raise ValueError(
            f"artifact {min(folders & kept.keys())!r} is a file and a folder: no folder can hold both"
        )
