"""`minillm train-encoder` as a user types it: documents, pairs, every encoder, and nothing half-written."""

import json

import numpy as np
import pytest

from minillm.cli import main
from minillm.data import python_docs
from minillm.search import SentenceEncoder, StaticEncoder, fine_tuning, open_encoder
from tests.search.test_sentence_encoder import tiny, tokenizer

__all__ = ["tokenizer"]  # the fixture, which pytest finds by its name
QUICK = ["--epochs", "2", "--threads", "1"]


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notes")
    for one in python_docs()[:16]:
        (folder / f"{one.id}.md").write_text(f"# {one.title}\n\n{one.text}", encoding="utf-8")
    return folder


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.jsonl"
    rows = [
        {
            "anchor": f"what is thing {i}",
            "positive": f"thing {i} is number {i * i}",
            "negatives": [f"thing {i}!"],
        }
        for i in range(40)
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def run(capsys, *arguments, code=0):
    assert main(["train-encoder", *map(str, arguments)]) == code
    return capsys.readouterr()


def test_ones_own_documents_are_learned_and_asked(notes, tmp_path, capsys):
    out = tmp_path / "mine"
    printed = run(capsys, notes, "--out", out, *QUICK).out
    assert "held-out questions among" in printed
    assert "none in the training text" in printed
    for line in ("hit@1", "keyword search", "before", "after", "hit@1, after against before:"):
        assert line in printed
    encoder = open_encoder(out)
    assert isinstance(encoder, StaticEncoder)
    assert np.isfinite(encoder.encode(["with statement"])).all()
    assert main(["index", str(notes), "--out", str(tmp_path / "index"), "--encoder", str(out)]) == 0


def test_ones_own_pairs_and_a_transformer(pairs, tokenizer, tmp_path, capsys):
    folder = SentenceEncoder(tiny(), tokenizer).save_pretrained(tmp_path / "tiny")
    out = tmp_path / "tuned"
    command = ["--pairs", pairs, "--encoder", folder, "--out", out, *QUICK, "--json"]
    told = json.loads(run(capsys, *command, "--last-layers", 1, "--pieces", 4, "--hard-negatives", 1).out)
    assert told["questions"] + told["pairs"] == 40
    assert told["texts"] == 80
    assert told["steps"] == 2 * -(-told["pairs"] // 32)
    assert {row["system"] for row in told["table"]} == {"keyword search", "before", "after"}
    assert (
        sum(told["after_against_before"]["hit@1"][name] for name in ("wins", "losses", "ties"))
        == told["questions"]
    )
    before, after = (open_encoder(path).model.state_dict() for path in (folder, out))
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("blocks.1.") for name in changed)


def test_what_does_not_go_is_said_and_nothing_is_written(notes, pairs, tmp_path, capsys):
    there = tmp_path / "there"
    there.mkdir()
    (there / "file").write_text("x")
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"anchor": "a"}\n')
    short = tmp_path / "short.jsonl"
    short.write_text("\n".join(json.dumps({"anchor": f"q {i}", "positive": f"a {i}"}) for i in range(9)))
    out = ["--out", tmp_path / "new"]
    for arguments, message in (
        ([notes, "--out", there], "must be a new or an empty folder"),
        ([notes, "--pairs", pairs, *out], "name your documents or --pairs, not both"),
        (["--pairs", tmp_path / "none", *out], "no file of pairs at"),
        (["--pairs", bad, *out], "line 1: it must have the keys anchor and positive"),
        (
            ["--pairs", pairs, "--last-layers", 1, *out],
            "--last-layers is for transformers; small has no layers",
        ),
        (["--pairs", short, *out], "too little text for the small encoder"),
        ([tmp_path / "none", *out], "no file or folder at"),
        ([notes, "--encoder", tmp_path / "none", *out], "--encoder must be e5"),
    ):
        assert message in run(capsys, *arguments, code=1).err
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "bad.jsonl",
        "pairs.jsonl",
        "short.jsonl",
        "there",
    ]


def test_a_run_of_one_step_learns(pairs, tokenizer, tmp_path, capsys):
    """The first step of a warm-up has the rate zero: it must not be the only one."""
    folder = SentenceEncoder(tiny(), tokenizer).save_pretrained(tmp_path / "tiny")
    out = tmp_path / "tuned"
    command = ["--pairs", pairs, "--encoder", folder, "--out", out, "--threads", 1, "--batch-size", 64]
    assert "in 1 step\n" in run(capsys, *command).out
    before, after = (open_encoder(path).model.state_dict() for path in (folder, out))
    assert any(not np.array_equal(before[name], after[name]) for name in before)


def test_ctrl_c_ends_cleanly(notes, tmp_path, capsys, monkeypatch):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(fine_tuning, "fine_tune", stop)
    assert (
        "stopped; every file that was written is whole"
        in run(capsys, notes, "--out", tmp_path / "new", *QUICK, code=130).err
    )
    monkeypatch.undo()

    def half_and_stop(self, folder):
        (folder / "half").write_text("")
        raise KeyboardInterrupt

    monkeypatch.setattr(StaticEncoder, "save_pretrained", half_and_stop)
    run(capsys, notes, "--out", tmp_path / "new", *QUICK, code=130)
    assert list(tmp_path.iterdir()) == []
