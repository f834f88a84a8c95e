"""Show our runs to a real MLflow: `mlflow ui --backend-store-uri sqlite:///mlflow.db` then has them.

Experiment, name, status, times, params, tags, every point of every metric and the artifacts go over. A run that was
sent before (by its tag minillm.run) is skipped, so that the call can be repeated.

Book: 13.1.2 실험 관리. Peer: MLflow, by its own client; no dependency of ours: `pip install mlflow`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from minillm._checks import check_text, describe
from minillm._files import _stays_inside
from minillm.apps.ops.runs import Run

BATCH = 1000  # metrics in one call, MLflow's limit
OURS = "minillm.run"


def log_to_mlflow(runs: Iterable[Run], tracking_uri: str) -> dict[str, str]:
    """Send runs to MLflow's tracking store; returns {our id: MLflow's id}, also of runs that were there already.

    tracking_uri: "sqlite:////folder/mlflow.db", "http://...". Raises ImportError with the command to run where MLflow
    is not installed, ValueError for other runs.
    """
    runs = list(runs)
    if not all(isinstance(run, Run) for run in runs):
        raise ValueError(f"runs must be a list of Run, got {describe(runs)}")
    check_text("tracking_uri", tracking_uri)
    try:
        from mlflow.tracking import MlflowClient
    except ImportError:
        raise ImportError("log_to_mlflow needs MLflow: pip install mlflow") from None
    client = MlflowClient(tracking_uri=tracking_uri)
    return {run.id: _send(client, run) for run in runs}


def _send(client, run: Run) -> str:
    from mlflow.entities import Metric, Param, RunTag

    info = run.info
    experiment = client.get_experiment_by_name(info["experiment"])
    place = experiment.experiment_id if experiment else client.create_experiment(info["experiment"])
    there = client.search_runs([place], f"tags.`{OURS}` = '{run.id}'")
    if there:
        return there[0].info.run_id
    new = client.create_run(place, start_time=info["start"], run_name=info["name"]).info.run_id
    client.log_batch(new, params=[Param(*pair) for pair in run.params.items()])
    points = [Metric(key, p.value, p.time, p.step) for key, all_of in run.history.items() for p in all_of]
    for start in range(0, len(points), BATCH):
        client.log_batch(new, metrics=points[start : start + BATCH])
    with tempfile.TemporaryDirectory() as folder:
        for name, content in run.artifacts.items():
            if not _stays_inside(name):
                raise ValueError(f"artifact {name!r} has no name that a folder can hold")
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(run.runs.records.get(content))
        if run.artifacts:
            client.log_artifacts(new, folder)
    # the mark comes last: a call that was stopped is sent anew
    client.log_batch(new, tags=[RunTag(*pair) for pair in {**run.tags, OURS: run.id}.items()])
    if info["status"] != "RUNNING":
        client.set_terminated(new, info["status"], info["end"])
    return new
