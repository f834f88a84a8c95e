"""What a quality table has measured is there when its script is called again."""

import sys

import pytest

from tests.benchmarks.kept_runs import KeptRuns


def opened(monkeypatch, folder, *arguments):
    monkeypatch.setattr(sys, "argv", ["script", *arguments, "--kept", str(folder)])
    return KeptRuns("a table", ("one", "two"), "runs.jsonl")


def test_rows_come_back_and_only_those_of_the_seeds_asked_for(monkeypatch, tmp_path):
    runs = opened(monkeypatch, tmp_path / "new")
    for seed in (0, 7):
        runs.add({"method": "one", "seed": seed, "right": [True]})
    again = opened(monkeypatch, tmp_path / "new", "--seeds", "7")
    assert set(again.done) == {("one", 0), ("one", 7)}
    assert again.asked() == {("one", 7): {"method": "one", "seed": 7, "right": [True]}}


def test_a_line_that_was_cut_off_is_measured_again(monkeypatch, tmp_path):
    runs = opened(monkeypatch, tmp_path)
    runs.add({"method": "one", "seed": 0, "right": [True]})
    runs.add({"method": "two", "seed": 0, "right": [False]})
    runs.file.write_text(runs.file.read_text()[:-9])
    again = opened(monkeypatch, tmp_path)
    assert set(again.done) == {("one", 0)}
    again.add({"method": "two", "seed": 0, "right": [True]})
    assert opened(monkeypatch, tmp_path).done["two", 0]["right"] == [True]


def test_an_unknown_method_is_refused_before_anything_is_made(monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit):
        opened(monkeypatch, tmp_path / "new", "three")
    assert "unknown: three; there are one; two" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
