"""The command line, as a user or a script meets it: output, one-line errors, exit codes."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from minillm.cli import build_parser, main
from minillm.course.tour.run import run_tour
from minillm.course.tour.stages import TourSettings

TINY = TourSettings(
    vocab_size=300, layers=1, width=64, context=32, batch_size=4, steps=4, new_tokens=12, dense_steps=3, threads=1
)  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A finished tour with a model that knows nothing, on the real reference: (folder, result)."""
    folder = tmp_path_factory.mktemp("tour")
    return folder, run_tour(out=folder, settings=TINY, say=lambda _: None, progress=False)


def run(capsys, *arguments):
    code = main(list(map(str, arguments)))
    out, err = capsys.readouterr()
    return code, out, err


def test_a_tour_leaves_whole_files_and_tells_what_it_measured(tiny):
    folder, result = tiny
    assert {"model", "index", "tour.html"} <= set(os.listdir(folder))
    assert not list(folder.rglob("*.part"))
    names = [stage["name"] for stage in result["stages"]]
    assert names == ["tokenizer", "training", "KV cache", "quantization", "index", "search quality", "answer"]
    figures = {stage["name"]: stage["figures"] for stage in result["stages"]}
    assert figures["KV cache"]["same_tokens"] is True
    assert figures["tokenizer"]["vocab_size"] == 300
    # after four steps of a few tokens the model still knows next to nothing: every token is about as likely
    uniform = math.log2(300) / figures["tokenizer"]["bytes_per_token"]
    assert figures["training"]["bits_per_byte"] == pytest.approx(uniform, rel=0.1)
    assert figures["quantization"]["nf4_bytes"] < figures["quantization"]["int8_bytes"]
    assert set(figures["search quality"]) == {"bm25", "dense", "hybrid", "weighted"}
    json.dumps(result)
    page = (folder / "tour.html").read_text(encoding="utf-8")
    assert page.count('<img alt="') == 4
    assert all(name in page for name in names)


def test_the_same_seed_gives_the_same_figures(tiny, tmp_path):
    again = run_tour(out=tmp_path, settings=TINY, say=lambda _: None, progress=False)

    def quality(result):
        stages = {stage["name"]: dict(stage["figures"]) for stage in result["stages"]}
        stages["KV cache"].pop("speed_ratio")
        return stages, result["answer"], result["sample"]

    assert quality(again) == quality(tiny[1])


def test_the_lessons_and_files_that_a_tour_names_are_there(tiny):
    root = Path(__file__).parents[1]
    for stage in tiny[1]["stages"]:
        assert (root / stage["file"]).is_file(), stage["file"]
        assert list((root / "notebooks").glob(f"{stage['lesson']}_*.ipynb")), stage["lesson"]


def test_generate_continues_the_prompt_and_repeats_with_a_seed(tiny, capsys):
    arguments = ["generate", "The with 문", "--model", tiny[0] / "model", "--max-tokens", 8, "--seed", 3]
    code, out, _ = run(capsys, *arguments, "--json")
    assert code == 0
    value = json.loads(out)
    assert value["text"].startswith("The with 문")
    assert 1 <= len(value["token_ids"]) <= 8
    assert json.loads(run(capsys, *arguments, "--json")[1]) == value
    printed = run(capsys, *arguments)[1]
    assert printed.startswith("The with 문")


def test_generate_starts_from_the_checkpoints_own_settings(tiny, tmp_path, capsys):
    folder = tmp_path / "model"
    shutil.copytree(tiny[0] / "model", folder)
    arguments = ["generate", "The with", "--model", folder, "--max-tokens", 8, "--json"]

    def new(*options, **settings):
        if settings:
            (folder / "generation_config.json").write_text(json.dumps(settings))
        return json.loads(run(capsys, *arguments, *options)[1])["token_ids"]

    greedy = new("--temperature", 0)
    assert new() != greedy  # drawn at 0.8, without a file
    assert new(do_sample=False) == greedy
    assert new(do_sample=True, top_k=1) == greedy  # the best of one
    assert new("--top-k", 0, do_sample=True, top_k=1, temperature=5.0) != greedy  # what the user says counts
    ending = greedy[2]
    assert new(eos_token_id=[1023, ending])[-1] == ending


def test_search_and_ask_name_their_passages(tiny, capsys):
    code, out, _ = run(
        capsys,
        "search",
        "with statement",
        "--index",
        tiny[0] / "index",
        "-k",
        3,
        "--method",
        "bm25",
        "--json",
    )
    rows = json.loads(out)
    assert code == 0
    assert [row["rank"] for row in rows] == [1, 2, 3]
    assert any(row["id"].startswith(("with#", "compound#", "context-managers#")) for row in rows)
    assert all("with" in row["text"].lower() for row in rows)
    code, out, _ = run(
        capsys, "ask", "How does the with statement work?", "--index", tiny[0] / "index", "--method", "bm25"
    )
    assert code == 0
    assert re.search(r"\[[\w-]+#\d+\]", out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", "x", "--model", "nowhere"], "no model at nowhere"),
        (["search", "x", "--index", "nowhere"], "no index at nowhere"),
        (["tour", "--data", "nowhere"], "nowhere"),
        (["assignment", "make", "99_9", "--out", "x"], "99_9"),
        (["assignment", "grade", "nowhere"], "nowhere"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_exit_code_1(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert err.startswith("minillm: error: ")
    assert message in err
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "arguments",
    [[], ["nonsense"], ["tour", "--seed", "x"], ["search"], ["assignment"], ["search", "x", "--method", "y"]],
)
def test_a_wrong_command_line_is_exit_code_2(capsys, arguments):
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2


def test_too_little_text_is_refused(capsys, tmp_path):
    (tmp_path / "note.txt").write_text("너무 짧다\n", encoding="utf-8")
    code, _, err = run(capsys, "tour", "--data", tmp_path / "note.txt", "--out", tmp_path / "out")
    assert code == 1
    assert "needs at least 10,000" in err
    assert not (tmp_path / "out").exists()


def test_the_users_own_korean_text_goes_through_the_whole_tour(tmp_path):
    from minillm.data import korean_documents

    for document in korean_documents(120, seed=1):
        (tmp_path / f"{document.id}.txt").write_text(document.text, encoding="utf-8")
    result = run_tour(
        out=tmp_path / "out",
        data=tmp_path,
        settings=TINY,
        ask="토큰이 무엇인가요?",
        say=lambda _: None,
        progress=False,
    )
    assert "search quality" not in [stage["name"] for stage in result["stages"]]
    assert result["answer"]["id"]
    named = tmp_path / result["answer"]["id"].split("#")[0]
    assert result["answer"]["text"] in named.read_text(encoding="utf-8")


def test_ctrl_c_is_exit_code_130_and_leaves_whole_files(tmp_path):
    command = [
        sys.executable,
        "-m",
        "minillm.cli",
        "tour",
        "--quick",
        "--out",
        str(tmp_path),
        "--threads",
        "1",
    ]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # under nohup, and in many CI runners, SIGINT is ignored, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    for line in process.stdout:  # the tokenizer is done: training has begun
        if "tokenizer" in line:
            break
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert not list(tmp_path.rglob("*.part"))


def test_every_command_has_help_that_says_what_it_does(capsys):
    verbs = next(
        action for action in build_parser()._actions if hasattr(action, "choices") and action.choices
    ).choices
    assert {
        "tour",
        "study",
        "train",
        "generate",
        "index",
        "search",
        "ask",
        "bench",
        "assignment",
        "doctor",
    } == set(verbs)
    for name in verbs:
        with pytest.raises(SystemExit) as error:
            main([name, "--help"])
        assert error.value.code == 0
        assert len(capsys.readouterr().out.splitlines()) > 4


def test_help_answers_without_loading_torch():
    code = "import sys; from minillm.cli import build_parser; build_parser(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_doctor_prints_json_for_scripts(capsys):
    code, out, _ = run(capsys, "doctor", "--json")
    assert code == 0
    assert {"what", "found"} <= set(json.loads(out)[0])
    assert run(capsys, "doctor")[0] == 0
