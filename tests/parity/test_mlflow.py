"""A real MLflow with a SQLite back end shows our runs. Skipped where MLflow is not installed (pip install mlflow)."""

import math

import pytest

from minillm.apps.ops import Records, Runs, log_to_mlflow


def test_without_mlflow_the_error_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mlflow.tracking", None)
    with pytest.raises(ImportError, match="pip install mlflow"):
        log_to_mlflow([], f"sqlite:///{tmp_path / 'm.db'}")
    with pytest.raises(ValueError, match="list of Run"):
        log_to_mlflow([3], "sqlite:///m.db")


def test_mlflow_shows_the_same_runs(tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="MLflow is not installed: pip install mlflow")
    from mlflow.tracking import MlflowClient

    monkeypatch.chdir(tmp_path)  # MLflow puts artifacts into the working folder
    runs = Runs(Records(tmp_path / "ops"))
    for number in range(3):
        run = runs.start("korean names", f"run {number}", {"rate": 0.1 * number, "data": "김"})
        for step in range(1200 if number == 0 else 5):
            run.log_metric("loss", 1 / (1 + step), step)
        run.log_metrics({"accuracy": 0.5, "diverged": math.nan}, 7)
        run.set_tag("note", "첫째")
        run.log_artifact("out/model.json", b'{"a": 1}')
        if number < 2:
            run.end("FINISHED" if number else "FAILED")
    address = f"sqlite:///{tmp_path / 'mlflow.db'}"
    sent = log_to_mlflow(runs.all(), address)
    assert log_to_mlflow(runs.all(), address) == sent  # nothing twice
    client = MlflowClient(tracking_uri=address)
    place = client.get_experiment_by_name("korean names").experiment_id
    assert {run.info.run_id for run in client.search_runs([place])} == set(sent.values())
    assert len(sent) == 3
    for ours in runs.all():
        theirs = client.get_run(sent[ours.id])
        assert theirs.data.params == ours.params
        assert ours.tags.items() <= theirs.data.tags.items()
        assert (theirs.info.run_name, theirs.info.status) == (ours.info["name"], ours.info["status"])
        assert (theirs.info.start_time, theirs.info.end_time) == (ours.info["start"], ours.info["end"])
        for key, points in ours.history.items():
            found = sorted(
                (m.step, m.value, m.timestamp) for m in client.get_metric_history(sent[ours.id], key)
            )
            assert [(step, at) for step, _, at in found] == [(p.step, p.time) for p in points]
            for (_, value, _), point in zip(found, points):
                assert value == point.value or (math.isnan(value) and math.isnan(point.value))
        path = client.download_artifacts(sent[ours.id], "out/model.json", str(tmp_path))
        with open(path, "rb") as file:
            assert file.read() == b'{"a": 1}'
