"""What a new user types wrong: one plain line, the right exit code, nothing written, and no wait for torch."""

import json
import os
import re
import subprocess
import sys

import pytest

from minillm.data import python_docs
from minillm.tokenizer import BPETokenizer

# /proc is closed even to root; other POSIX systems have none, and close / instead
CLOSED = (
    [("train --out /proc/model", 1, r"cannot write to folder /proc/model: no file can be made in /\S* \(")]
    if os.name == "posix"
    else []
)
# (command line, exit code, what the line must say). It runs in a folder with the files that `place` makes.
MISTAKES = [
    # commands and options that are not there
    ("serch with", 2, r"there is no command 'serch': did you mean 'search'\? `minillm --help`"),
    ("indx --out i", 2, "did you mean 'index'"),
    ("trian --out m", 2, "did you mean 'train'"),
    ("Tour", 2, "did you mean 'tour'"),
    ("xyzzy", 2, r"there is no command 'xyzzy'\. "),
    ("--quick", 2, "required: COMMAND"),
    ("tour --quik", 2, "unrecognized arguments: --quik: did you mean '--quick'"),
    ("tour please", 2, "unrecognized arguments: please"),
    ("train --ouput m", 2, "required: --out"),
    ("train --out m --depth=3", 2, "unrecognized arguments: --depth=3"),
    (
        "search with --mode bm52",
        2,
        "--mode must be one of auto, bm25, dense, hybrid, weighted, got 'bm52': did you mean 'bm25'",
    ),
    ("assignment", 2, "required: COMMAND"),
    ("assignment mke", 2, "did you mean 'make'"),
    ("train", 2, "required: --out"),
    ("index", 2, "required: --out"),
    ("generate", 2, "required: prompt"),
    (
        "generate smollm2 What is a token",
        2,
        r"unrecognized arguments: is a token \(a text of .* needs quotes\)",
    ),
    ("generate smollm2 x --model made", 1, "name the model once: smollm2 and --model made came"),
    (
        "generate smolm2 x",
        1,
        r"no model at smolm2: .*, nor a real model \(smollm2, e5, minilm\) or owner/name",
    ),
    ("search", 2, "required: query"),
    ("sql", 2, "required: database"),
    ("sql absent.sqlite names", 1, r"database 'absent\.sqlite' cannot be read: No such file"),
    ("sql tiny.txt names", 1, r"database 'tiny\.txt' cannot be read: it is no SQLite database"),
    ("sql nothing names", 1, r"must hold 1 to 100 \.csv files, it holds 0"),
    ("ask", 2, "required: question"),
    ("train --out", 2, "--out: expected one argument"),
    # numbers
    ("tour --threads 0", 2, r"--threads must be between 1 and \d+, got 0"),
    ("tour --threads -2", 2, r"--threads must be between 1 and \d+, got -2"),
    ("tour --threads 1000000", 2, r"--threads must be between 1 and \d+, got 1000000"),
    ("tour --threads two", 2, "--threads must be a whole number, got 'two'"),
    ("tour --seed -1", 2, "--seed must be at least 0, got -1"),
    ("tour --seed 1.5", 2, "--seed must be a whole number, got '1.5'"),
    (f"tour --seed {2**63}", 2, f"--seed must be between 0 and {2**63 - 1}, got {2**63}"),
    (f"tour --seed {'9' * 5000}", 2, "--seed must be a whole number"),
    ("index --out i --threads 0", 2, "--threads must be"),
    ("study --port 0", 2, "--port must be between 1 and 65535, got 0"),
    ("study --port x", 2, "--port must be a whole number, got 'x'"),
    ("assignment grade c --jobs 0", 2, "--jobs must be between 1 and 64, got 0"),
    ("assignment grade c --timeout nan", 2, "--timeout must be between 1 and 86400, got 'nan'"),
    ("train --out m --vocab-size 3", 2, "--vocab-size must be between 257 and 262144, got 3"),
    ("train --out m --vocab-size 1000000000", 2, "--vocab-size must be between 257 and 262144"),
    ("train --out m --layers 0", 2, "--layers must be at least 1, got 0"),
    ("train --out m --width 100", 2, "--width must be a multiple of 64, got 100; the nearest are 64 and 128"),
    ("train --out m --width 0", 2, "--width must be at least 64, got 0"),
    ("train --out m --width -64", 2, "--width must be at least 64, got -64"),
    ("train --out m --steps 0", 2, "--steps must be at least 1, got 0"),
    ("train --out m --steps ten", 2, "--steps must be a whole number, got 'ten'"),
    ("train --out m --batch-size 0", 2, "--batch-size must be at least 1, got 0"),
    ("train --out m --context 0", 2, "--context must be at least 1, got 0"),
    ("train --out m --learning-rate nan", 2, "--learning-rate must be above 0 and at most 1, got 'nan'"),
    ("train --out m --learning-rate inf", 2, "--learning-rate must be above 0 and at most 1, got 'inf'"),
    ("train --out m --learning-rate 0", 2, "--learning-rate must be above 0 and at most 1, got '0'"),
    ("train --out m --learning-rate fast", 2, "--learning-rate must be a number, got 'fast'"),
    (
        "train --out m --layers 1000 --width 65536",
        1,
        "--layers 1000 --width 65536 .* need at least .* GB of memory",
    ),
    ("train --out m --batch-size 100000000", 1, "--batch-size 100000000 .* GB of memory, this machine has"),
    ("generate x --model made --max-tokens 0", 2, "--max-tokens must be at least 1, got 0"),
    ("generate x --model made --max-tokens 100000", 1, "--max-tokens must be at most 63 here, got 100000"),
    ("generate x --model made/model --max-tokens 64", 1, "--max-tokens must be at most 63 here, got 64"),
    ("generate x --temperature -1", 2, "--temperature must be between 0 and 1000, got '-1'"),
    ("generate x --temperature nan", 2, "--temperature must be between 0 and 1000, got 'nan'"),
    ("generate x --top-k -1", 2, "--top-k must be at least 0, got -1"),
    ("generate x --top-p 2", 2, "--top-p must be above 0 and at most 1, got '2'"),
    ("generate x --top-p 0", 2, "--top-p must be above 0 and at most 1, got '0'"),
    ("generate x --min-p 1.5", 2, "--min-p must be between 0 and 1, got '1.5'"),
    ("generate x --repetition-penalty 0", 2, "--repetition-penalty must be between 0.001 and 1000, got '0'"),
    ("generate x --seed -1", 2, "--seed must be at least 0, got -1"),
    ("search q -k 0", 2, "-k must be at least 1, got 0"),
    ("search q -k -3", 2, "-k must be at least 1, got -3"),
    ("search q -k many", 2, "-k must be a whole number, got 'many'"),
    # texts
    (["generate", "a\udcff b", "--model", "made"], 2, r"prompt must be UTF-8 text, got b'a\\xff b'"),
    (["ask", "\udcff"], 2, "question must be UTF-8 text"),
    (["tour", "--ask", "\udcff"], 2, "--ask must be UTF-8 text"),
    (
        ["generate", "word " * 100, "--model", "made"],
        1,
        r"the prompt has \d+ tokens, and made/model reads at most 64",
    ),
    # text to read
    ("train --out m --data nowhere", 1, "no file or folder at 'nowhere'"),
    ("index --out i --data nowhere", 1, "no file or folder at 'nowhere'"),
    ("tour --data nowhere", 1, "no file or folder at 'nowhere'"),
    ("tour --data nothing", 1, r"folder 'nothing' holds no text file \(\.txt, \.md, .*\.py\)"),
    ("train --out m --data tiny.txt", 1, "tiny.txt holds 6 characters of text, .* at least 10,000"),
    ("train --out m --data tiny.txt", 1, "tiny.txt holds 6 characters of text"),
    ("index --out i --data tiny.txt", 1, "an index needs two passages at least, .* this text makes 1"),
    ("train --out m --data empty.txt", 1, "'empty.txt' holds no text"),
    ("train --out m --data binary.txt", 1, "'binary.txt' is a binary file"),
    ("train --out m --data cp949.txt", 1, "'cp949.txt' is not UTF-8 text: .* CP949"),
    ("index --out i --data utf16.txt", 1, "'utf16.txt' is UTF-16 text"),
    (["train", "--out", "m", "--data", ""], 2, "--data must be a path, got an empty text"),
    ("index --out i --images nothing", 1, r"'nothing' holds no picture \(\.png, \.jpg, \.jpeg\)"),
    ("index --out i --images nowhere", 1, "no file or folder at 'nowhere'"),
    ("index --out i --model made", 1, "--model needs --images PATH"),
    ("search nothing --picture tiny.txt", 1, "no pictures at nothing: `minillm index --images FOLDER"),
    # places to write
    ("train --out tiny.txt", 1, "cannot write to folder tiny.txt: tiny.txt is no folder"),
    (
        "index --out tiny.txt/below/it",
        1,
        r"cannot write to folder tiny\.txt/below/it: .*tiny\.txt is no folder",
    ),
    ("tour --out taken", 1, "cannot write to folder taken/index: taken/index is no folder"),
    ("tour --out page", 1, r"cannot write page/tour\.html: it is a folder"),
    *CLOSED,
    (["index", "--out", ""], 2, "--out must be a path, got an empty text"),
    # models and indexes
    ("generate x", 1, "no model at .*: run `minillm tour` here first, or name one with --model"),
    ("search x", 1, "no index at .*: run `minillm tour` here first, or name one with --index"),
    ("generate x --model nowhere", 1, "no model at nowhere: no such file or folder"),
    ("generate x --model nothing", 1, "no model at nothing: the folder holds neither config.json nor model/"),
    (
        "generate x --model tiny.txt",
        1,
        r"no model at tiny\.txt: it is a file, expected a folder, a \.gguf or a llama2\.c \.bin",
    ),
    (
        "generate x --model story.bin",
        1,
        r"story\.bin holds a model alone: name its tokenizer's file with --tokenizer",
    ),
    ("generate x --model made --tokenizer nowhere", 1, "no tokenizer at nowhere"),
    ("generate x --model made --tokenizer tiny.txt", 1, r"tokenizer 'tiny\.txt' is not a whole JSON file"),
    ("generate x --model made --tokenizer nothing", 1, r"'nothing/tokenizer\.json' cannot be read"),
    (
        "generate x --model changed",
        1,
        r"'changed/config\.json' is damaged or was changed .* 'changed/checksums\.json'",
    ),
    # converting and fetching
    ("convert made", 2, "required: target"),
    ("convert nowhere x.gguf", 1, "no model at nowhere: no such file or folder"),
    ("convert tiny.txt x", 1, r"no model at tiny\.txt: it is a file, expected a folder, a \.gguf"),
    ("convert made made/model", 1, "made/model is where the model is: name another place"),
    ("convert made tiny.txt", 1, r"cannot write to folder tiny\.txt: tiny\.txt is no folder"),
    (
        "convert made nothing/x.gguf --type q5",
        2,
        "--type must be one of f32, f16, q8_0, q4_0, q4_1, got 'q5'",
    ),
    ("convert made folder --type q8_0", 1, "--type is for a file that ends in .gguf, got folder"),
    ("convert made made.gguf", 1, r"cannot write made\.gguf: it is a folder"),
    ("fetch", 2, "required: name"),
    ("fetch smollm2 e6", 2, "name must be one of smollm2, e5, minilm, got 'e6'"),
    ("fetch smollm", 2, "name must be one of smollm2, e5, minilm, got 'smollm': did you mean 'smollm2'"),
    ("search x --index nowhere", 1, "no index at nowhere: no such file or folder"),
    ("search x --index nothing", 1, "no index at nothing: the folder holds neither passages.json nor index/"),
    ("ask x --index tiny.txt", 1, r"no index at tiny\.txt: it is a file, expected a folder"),
    (["search", "x", "--index", ""], 2, "--index must be a path, got an empty text"),
]

CHILD = """
import contextlib, io, json, os, sys, time
from minillm.cli import main
rows = []
for arguments in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    start = time.process_time()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as error:
            code = error.code
    took = time.process_time() - start
    rows.append([code, out.getvalue(), err.getvalue(), "torch" in sys.modules, took, sorted(os.listdir("."))])
print(json.dumps(rows))
"""


def place(folder):
    """The files that a mistake may be about."""
    (folder / "tiny.txt").write_text("hello\n")
    (folder / "empty.txt").write_text(" \n")
    (folder / "binary.txt").write_bytes(b"ab\0cd")
    (folder / "cp949.txt").write_bytes("한국어 문서".encode("cp949"))
    (folder / "utf16.txt").write_bytes("한국어 문서".encode("utf-16"))
    (folder / "story.bin").write_bytes(b"")
    for name in ("nothing", "made/model", "made.gguf", "changed", "taken", "page/tour.html"):
        (folder / name).mkdir(parents=True)
    (folder / "taken" / "index").write_text("")
    config = {"model_type": "llama", "max_position_embeddings": 64, "vocab_size": 300}
    for name in ("made/model", "changed"):
        (folder / name / "config.json").write_text(json.dumps(config))
        BPETokenizer.train(["a few words"], 260).save(folder / name)
    sums = json.loads((folder / "changed" / "checksums.json").read_text())
    (folder / "changed" / "checksums.json").write_text(json.dumps(sums | {"config.json": "0" * 64}))


def arguments_of(typed):
    return typed.split() if isinstance(typed, str) else typed


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """(the folder's files, what each mistake gave), of one process that has not imported torch."""
    folder = tmp_path_factory.mktemp("user")
    place(folder)
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps([arguments_of(typed) for typed, _, _ in MISTAKES]),
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    return sorted(path.name for path in folder.iterdir()), json.loads(done.stdout)


@pytest.mark.parametrize(
    "number",
    range(len(MISTAKES)),
    ids=lambda n: "-".join(arguments_of(MISTAKES[n][0]))[:50].encode("ascii", "replace").decode(),
)
def test_a_mistake_is_one_plain_line_at_once(answers, number):
    typed, expected, message = MISTAKES[number]
    files, rows = answers
    code, out, err, torch_loaded, seconds, files_after = rows[number]
    assert (code, out) == (expected, ""), err
    assert err.count("\n") == 1
    assert re.match(r"minillm( \w+){0,2}: error: ", err)
    assert re.search(message, err), err
    assert "Traceback" not in err
    assert len(err) < 320
    assert files_after == files
    assert not torch_loaded
    assert seconds < 2
    words = re.sub(r"run `minillm tour`|\S*/tour/\S*", "", err).split(": error: ", 1)[1]
    if arguments_of(typed)[0].lower() != "tour":
        assert not re.search(r"\btours?\b|\bids?\b", words), err


def test_the_list_of_mistakes_is_long_and_tries_every_command():
    tried = {arguments_of(typed)[0] for typed, _, _ in MISTAKES}
    assert {
        "tour",
        "train",
        "generate",
        "index",
        "search",
        "ask",
        "assignment",
        "convert",
        "fetch",
        "sql",
    } <= tried
    assert len(MISTAKES) >= 60


def test_text_that_is_long_enough_but_too_short_for_the_context_says_the_longest(
    tmp_path, capsys, monkeypatch
):
    from minillm.cli import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(
        "\n\n".join(one.text for one in python_docs()[:6])[:20_000], encoding="utf-8"
    )
    options = ["--vocab-size", "300", "--layers", "1", "--width", "64", "--steps", "1", "--threads", "1"]
    assert main(["train", "--data", "text.txt", "--out", "m", "--context", "100000", *options]) == 1
    err = capsys.readouterr().err
    longest = int(re.search(r"--context must be at most (\d+) for this text, got 100000", err)[1])
    assert not (tmp_path / "m").exists()
    assert main(["train", "--data", "text.txt", "--out", "m", "--context", str(longest), *options]) == 0
    assert main(["train", "--data", "text.txt", "--out", "m", "--context", str(longest + 1), *options]) == 1
