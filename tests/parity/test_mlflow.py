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


@pytest.fixture
def mlflow(tmp_path, monkeypatch):
    """(runs, address, client, what MLflow shows of the one run)"""
    pytest.importorskip("mlflow", reason="MLflow is not installed: pip install mlflow")
    from mlflow.tracking import MlflowClient

    monkeypatch.chdir(tmp_path)
    address = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=address)

    def shown():
        places = [place.experiment_id for place in client.search_experiments()]
        (theirs,) = client.search_runs(places)
        history = {
            key: sorted((m.step, m.value) for m in client.get_metric_history(theirs.info.run_id, key))
            for key in theirs.data.metrics
        }
        return theirs, history

    return Runs(Records(tmp_path / "ops")), address, client, shown


def test_a_run_that_was_running_is_brought_up_to_date(mlflow, tmp_path):
    runs, address, client, shown = mlflow
    run = runs.start("e", "one", {f"p{i}": i for i in range(130)})
    run.log_metrics({"loss": 1.0, "far": math.inf, "none": math.nan}, 0), run.set_tag("note", "old")
    run.log_artifact("a/out", b"old")
    log_to_mlflow([run], address)
    assert shown()[0].info.status == "RUNNING"
    run.log_metric("loss", 0.5, 1), run.set_tag("note", "new"), run.log_param("late", 1)
    run.log_artifact("a/out", b"new"), run.end()
    sent = log_to_mlflow([run], address)
    for _ in range(2):
        theirs, history = shown()
        assert (theirs.info.run_id, theirs.info.status) == (sent[run.id], "FINISHED")
        assert theirs.info.end_time == run.info["end"]
        assert history["loss"] == [(0, 1.0), (1, 0.5)]
        assert {key: len(points) for key, points in history.items()} == {"loss": 2, "far": 1, "none": 1}
        assert (theirs.data.params, theirs.data.tags["note"]) == (run.params, "new")
        with open(client.download_artifacts(sent[run.id], "a/out", str(tmp_path)), "rb") as file:
            assert file.read() == b"new"
        assert log_to_mlflow([run], address) == sent
    runs.resume(run.id).log_metric("loss", 0.25, 2)
    log_to_mlflow([run], address)
    assert (shown()[0].info.status, len(shown()[1]["loss"])) == ("RUNNING", 3)


def test_a_send_that_was_interrupted_is_continued(mlflow, monkeypatch):
    runs, address, client, shown = mlflow
    run = runs.start("e")
    for step in range(2500):
        run.log_metric("loss", step / 3, step)
    run.log_artifact("out", b"1"), run.end("KILLED")
    whole, calls = type(client).log_batch, []

    def breaks(self, *given, **named):
        calls.append(1)
        if len(calls) == 2:  # after the first 1,000 points
            raise ConnectionError
        return whole(self, *given, **named)

    monkeypatch.setattr(type(client), "log_batch", breaks)
    with pytest.raises(ConnectionError):
        log_to_mlflow([run], address)
    theirs, history = shown()
    assert (theirs.info.status, len(history["loss"])) == ("RUNNING", 1000)
    sent = log_to_mlflow([run], address)
    theirs, history = shown()  # one run, not two
    assert (theirs.info.run_id, theirs.info.status) == (sent[run.id], "KILLED")
    assert history["loss"] == [(step, step / 3) for step in range(2500)]


def test_names_that_mlflow_refuses_are_found_before_a_run_is_made(mlflow):
    runs, address, client, _ = mlflow
    fine, odd = runs.start("e"), [runs.start("e") for _ in range(5)]
    odd[0].log_param("rate (log)", 1), odd[1].log_metric("a//b", 1), odd[2].set_tag("../x", 1)
    odd[3].log_artifact("a", b"1"), odd[3].log_artifact("a/b", b"2")
    with runs.records.transaction(write=True) as rows:  # a record of an older minillm
        rows.execute("INSERT INTO artifacts VALUES (?, '../x', ?)", (odd[4].id, runs.records.put(b"1")))
    for run in odd:
        with pytest.raises(ValueError, match=r"name|folder"):
            log_to_mlflow([fine, run], address)
    assert client.get_experiment_by_name("e") is None
    log_to_mlflow([fine], address)
    assert len(client.search_runs([client.get_experiment_by_name("e").experiment_id])) == 1
