"""Runs, the registry, prompts: what is written stays, what contradicts it is refused, writers lose nothing."""

import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from minillm.apps.ops import ModelRegistry, Prompts, Records, Runs
from minillm.evaluation import paired


def test_a_run_keeps_params_history_tags_and_artifacts(records):
    ticks = iter(range(100))
    runs = Runs(records, clock=lambda: next(ticks))
    run = runs.start("이름", "first", {"rate": 0.1})
    run.log_params({"층": 2, "rate": 0.1})
    for step, value in ((2, 0.5), (1, 0.75), (3, math.inf)):
        run.log_metric("loss", value, step)
    run.log_metric("nan", float("nan"))
    run.set_tag("note", "one"), run.set_tag("note", "둘")
    run.log_artifact("model", b"weights")
    run.end()
    again = runs.get(run.id)
    assert again.params == {"rate": "0.1", "층": "2"}
    assert again.tags == {"note": "둘"}
    assert [(p.step, p.value) for p in again.history["loss"]] == [(1, 0.75), (2, 0.5), (3, math.inf)]
    assert again.metrics["loss"] == math.inf
    assert math.isnan(again.metrics["nan"])
    assert records.get(again.artifacts["model"]) == b"weights"
    assert again.info == {
        "experiment": "이름",
        "name": "first",
        "status": "FINISHED",
        "start": 0,
        "end": 5000,
    }


def test_refusals_write_nothing(records):
    run = Runs(records).start("e", params={"a": 1})
    with pytest.raises(ValueError, match="'1' already"):
        run.log_params({"b": 2, "a": 3})
    for bad in ("1", True, None, 10**400):
        with pytest.raises(ValueError, match="metric 'y' must be a number"):
            run.log_metrics({"x": 1.0, "y": bad})
    with pytest.raises(ValueError, match="surrogate"):
        run.log_param("c", "\ud800")
    assert run.params == {"a": "1"}
    assert run.history == {}
    with pytest.raises(ValueError, match="no run"):
        Runs(records).get("x")


def test_odd_names_are_refused_and_never_called_damage(records):
    runs, models, prompts = Runs(records), ModelRegistry(records), Prompts(records)
    run = runs.start("e")
    for bad in (["a"], {"a": 1}, 10**30, object(), "", "a\0b", "\ud800"):
        for call in (
            runs.all, runs.get, models.moves, lambda x: models.register("m", b"x", x), lambda x: models.get(x, "a"),
            lambda x: models.in_stage(x, "None"), lambda x: prompts.scores(x, 1, "d"),
            lambda x: prompts.scores("p", 1, x), lambda x: run.log_param(x, 1),
            lambda x: run.log_metric(x, 1), lambda x: run.set_tag(x, 1),
        ):  # fmt: skip
            with pytest.raises(ValueError) as caught:
                call(bad)
            assert "damaged" not in str(caught.value)
    for bad in ("../x", "/x", "a//b", "./a", "a/", "c:x", "a\\b", ".", 3):
        with pytest.raises(ValueError, match="artifact's name"):
            run.log_artifact(bad, b"")
    assert (run.params, run.history, run.tags, run.artifacts) == ({}, {}, {}, {})


def test_an_ended_run_is_closed_until_it_is_resumed(records):
    runs = Runs(records)
    run = runs.start("e")

    def fails():
        with run:
            run.log_metric("loss", 1.0, 1)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert run.info["status"] == "FAILED"
    with pytest.raises(ValueError, match="has ended"):
        run.log_metric("loss", 0.5, 2)
    with runs.resume(run.id) as run:
        run.log_metric("loss", 0.5, 2)
    assert run.info["status"] == "FINISHED"
    assert [p.step for p in run.history["loss"]] == [1, 2]
    assert [one.id for one in runs.all("e")] == [run.id]
    assert runs.all("other") == []


WRITER = """
import sys
from minillm.apps.ops import ModelRegistry, Records, Runs
records = Records(sys.argv[1])
run, models = Runs(records).get(sys.argv[2]), ModelRegistry(records)
for step in range(40):
    run.log_metric(sys.argv[3], step, step)
    models.register("shared", b"%d %d" % (int(sys.argv[3]), step))
"""


def test_three_writers_lose_no_row(tmp_path):
    records = Records(tmp_path / "ops")
    run = Runs(records).start("e")
    command = [sys.executable, "-c", WRITER, str(tmp_path / "ops"), run.id]
    writers = [subprocess.Popen([*command, str(i)]) for i in range(3)]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    assert {key: [p.value for p in points] for key, points in run.history.items()} == {
        str(i): list(range(40)) for i in range(3)
    }
    kept = [records.get(one.object) for one in ModelRegistry(records).in_stage("shared", "None")]
    assert sorted(kept) == sorted(b"%d %d" % (i, step) for i in range(3) for step in range(40))
    records.close()


def test_stages_are_checked_and_logged(records):
    models = ModelRegistry(records)
    run = Runs(records).start("e")
    first, second = models.register("names", b"one", run.id), models.register("names", b"two")
    assert (first.version, second.version, first.stage, first.run) == (1, 2, "None", run.id)
    with pytest.raises(ValueError, match="not Production"):
        models.move("names", 1, "Production", "in a hurry")
    for version in (1, 2):
        models.move("names", version, "Staging", "tests pass")
        models.move("names", version, "Production", "asked for")
    assert [one.version for one in models.in_stage("names", "Production")] == [2]
    assert models.get("names", 1).stage == "Archived"
    assert [(v, old, new) for v, old, new, _ in models.moves("names")] == [
        (1, "None", "Staging"), (1, "Staging", "Production"), (2, "None", "Staging"),
        (1, "Production", "Archived"), (2, "Staging", "Production"),
    ]  # fmt: skip
    models.set_alias("names", "champion", 1), models.set_alias("names", "champion", 2)
    assert models.get("names", "champion").version == 2
    for call in (
        lambda: models.get("names", "other"),
        lambda: models.get("names", 3),
        lambda: models.move("names", 2, "production", "x"),
        lambda: models.set_alias("names", "champion", 9),
        lambda: models.register("names", b"x", "no run"),
    ):
        with pytest.raises(ValueError):
            call()
    assert models.get("names", "champion").version == 2
    assert len(models.moves("names")) == 5


def test_prompts_keep_their_numbers_and_scores(records):
    prompts = Prompts(records)
    assert [prompts.add("ask", text) for text in ("{q}", "답만 쓰세요: {q}", "{q}")] == [1, 2, 1]
    assert prompts.get("ask", 2) == "답만 쓰세요: {q}"
    rng = np.random.default_rng(0)
    old, new = (rng.integers(0, 2, 60).astype(float) for _ in range(2))
    prompts.score("ask", 1, "v1", old), prompts.score("ask", 2, "v1", new), prompts.score("ask", 2, "v1", new)
    assert prompts.compare("ask", 2, 1, "v1") == paired(new, old)
    with pytest.raises(ValueError, match="other scores"):
        prompts.score("ask", 2, "v1", old)
    for call in (
        lambda: prompts.scores("ask", 2, "v2"),
        lambda: prompts.get("ask", 3),
        lambda: prompts.score("ask", 1, "v2", []),
        lambda: prompts.score("ask", 3, "v1", old),
    ):
        with pytest.raises(ValueError):
            call()


def test_whole_numbers_of_numpy_are_kept_as_such(records):
    """SQLite takes one of numpy for bytes, which sort behind every number, and find no version."""
    run, models, prompts = Runs(records).start("e"), ModelRegistry(records), Prompts(records)
    for step in np.arange(3)[::-1]:
        run.log_metric("loss", float(step), step)
    assert [(type(p.step), p.step) for p in run.history["loss"]] == [(int, 0), (int, 1), (int, 2)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.log_metric("one", torch.tensor(1.0, requires_grad=True) * 1, torch.tensor(7))
    assert run.history["one"][0].step == 7
    one = np.int64(models.register("m", b"w").version)
    models.move("m", one, "Staging", "tried")
    models.set_alias("m", "champion", one)
    assert (
        models.get("m", one)
        == models.get("m", "champion")
        == ("m", 1, models.get("m", 1).object, None, "Staging")
    )
    prompts.add("ask", "{q}", "first"), prompts.add("ask", "답: {q}")
    prompts.score("ask", np.int64(2), "v1", [1.0])
    assert prompts.get("ask", np.int64(2)) == "답: {q}"
    assert prompts.scores("ask", np.int64(2), "v1") == prompts.scores("ask", 2, "v1") == [1.0]


def test_the_versions_of_a_prompt_are_listed(records):
    prompts = Prompts(records)
    assert prompts.log("ask") == []
    prompts.add("ask", "{q}", "첫째"), prompts.add("other", "x"), prompts.add("ask", "Q: {q}")
    assert prompts.log("ask") == [(1, "첫째"), (2, "")]
