"""The command line: `minillm tour` and its friends. What each command does is in `minillm/commands/`.

Errors a user can mend are one line on standard error. Exit codes: 0 done; 1 a file or a text that will not do;
2 a wrong command line; 130 Ctrl-C, which leaves whole files only; 141 nobody reads the output any more
(`minillm search ... | head -1`, or standard output was closed from the start), as a shell reports it for other
programs. `minillm` alone prints its help. `--json` prints one JSON value on standard output.
"""

from __future__ import annotations

import argparse
import errno
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from minillm import __version__
from minillm.commands import (
    alignment,
    chat,
    classroom,
    encoders,
    generate,
    machine,
    models,
    search,
    serve,
    sql,
    trace,
)
from minillm.commands._parser import Commands, Parser, number, path, whole
from minillm.commands._sampling import take_sampling

# Threads that spin for long while they wait fight with whatever else the machine runs: beside one busy program a
# training step took about 190 ms, and about 130 with short spins; alone, 50 to 60 either way. GNU OpenMP reads this
# when torch is loaded, which the commands do later.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the process's exit code (argparse's own exits, --help among them, raise SystemExit)."""
    if sys.stderr is None:  # closed: print() would take standard output instead
        sys.stderr = _nowhere()
    if sys.stdout is None:
        sys.stdout = _nowhere()
        return _fail("standard output is closed, nobody would read the result", 141)
    if hasattr(sys.stdout, "reconfigure"):  # a terminal of another encoding shows \uac00 for what it lacks
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            _run(sys.argv[1:] if arguments is None else arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        return _fail("stopped: the program that read the output has closed it", 141)
    except KeyboardInterrupt:
        return _fail("stopped; every file that was written is whole", 130)
    except (MemoryError, RuntimeError) as error:
        lack = isinstance(error, MemoryError) or re.search(r"allocate memory|out of memory", str(error))
        if not lack:
            raise
        return _fail("this machine has not enough memory for that: smaller sizes need less", 1)
    except OSError as error:
        if error.errno == errno.ENOSPC and error.filename is None:  # standard output, written to a full disk
            _drop_output()
        where = f"{error.filename}: " if error.filename is not None else ""
        return _fail(f"{where}{error.strerror or error}", 1)
    except (ValueError, ImportError) as error:
        return _fail(str(error), 1)
    return 0


def _run(arguments: Sequence[str]) -> None:
    parser = build_parser()
    if not arguments:
        parser.print_help()
        return
    options = parser.parse_args(arguments)
    options.command(options)


def _fail(message: str, code: int) -> int:
    kind = "" if message.startswith("stopped") else "error: "
    print(f"minillm: {kind}{' '.join(message.split())}", file=sys.stderr)
    return code


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")


def _drop_output() -> None:
    """What is still waiting to be written goes nowhere, or Python would complain about it when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def build_parser() -> argparse.ArgumentParser:
    """Every command with its options and help."""
    parser = Parser(
        prog="minillm",
        description="Every system of a modern LLM stack, built by hand. Start with `minillm tour`.",
        epilog="`minillm COMMAND --help` explains one command.",
    )
    parser.add_argument("--version", action="version", version=f"minillm {__version__}")
    top = Commands(parser)

    one = top.add("tour", machine.tour, "the whole stack here, from raw text to an answer with its source")
    one.take("--ask", "the question to answer at the end", metavar="QUESTION")
    one.take("--quick", "a smaller model, under 45 seconds", action="store_true")
    one.take("--out", "where model/, index/ and tour.html go (default: tour/ here)", type=Path, metavar="DIR")
    one.data().run().json()

    one = top.add("study", classroom.study, "open your own, unsolved copies of the lessons in JupyterLab")
    one.take("lesson", "a lesson's number, for example 02_1 (default: all)", nargs="?")
    one.take("--solutions", "copies with the solutions in", action="store_true")
    one.take("--no-browser", "print the address instead of opening a browser", action="store_true")
    one.take("--ip", "the address to listen at: 0.0.0.0 for a container or a remote machine", metavar="HOST")
    one.take(
        "--port", "the port to listen at (default: the first free one from 8888 on)", type=whole(1, 65535)
    )
    one.take("--allow-root", "run as root (as root, it is passed on anyway)", action="store_true")

    one = top.add("train", models.train, "train a tokenizer and a small model on text")
    one.take("--out", "the model folder to write", type=Path, required=True, metavar="DIR")
    one.take("--vocab-size", "tokens in the vocabulary", type=whole(257, 2**18), default=2048)
    one.take("--layers", "transformer blocks", type=whole(1), default=4)
    one.take("--width", "model width, a multiple of 64", type=whole(64, multiple=64), default=192)
    one.take("--steps", "optimizer steps", type=whole(1), default=1600)
    one.take("--batch-size", "sequences a step", type=whole(1), default=4)
    one.take("--context", "tokens a sequence", type=whole(1), default=128)
    one.take("--learning-rate", "peak of the cosine schedule", type=number(0, 1, above=True), default=2e-3)
    one.data().run().json()

    one = top.add(
        "generate", generate.generate, "continue a prompt, or ask a model that was taught to answer"
    )
    one.parser.intermixed = True
    places = "a model folder, a tour's folder, a .gguf or a llama2.c .bin"
    names = "smollm2 (a real model, once `minillm fetch smollm2` has brought it), owner/name of the hub"
    one.take("named", f"{names}, or what --model takes", type=Path, nargs="?", metavar="model")
    one.take("prompt", "the text to continue, or the question")
    one.take("--model", f"{places}, or a name (default: tour/ here)", type=Path, metavar="PATH")
    one.take("--raw", "continue the prompt as it is, without the model's chat template", action="store_true")
    one.take(
        "--tokenizer", "a tokenizer file or folder (default: beside the model)", type=Path, metavar="PATH"
    )
    one.take(
        "--max-tokens", "new tokens at most (default: 100, or what the model's window holds)", type=whole(1)
    )
    take_sampling(one, several=True)
    one.json()

    one = top.add("chat", chat.chat, "talk with a model that was taught to answer")
    one.take("named", f"{names}, or {places} (default: tour/ here)", type=Path, nargs="?", metavar="model")
    one.take("--system", "what the model is told before you begin", metavar="TEXT")
    one.take("--server", "talk to the model behind this server of OpenAI's interface", metavar="URL")
    one.take("--model", "with --server: which of its models (default: its first)", metavar="NAME")
    one.take("--api-key", "with --server: the key it asks for (default: OPENAI_API_KEY)", metavar="KEY")
    one.take(
        "--tokenizer", "a tokenizer file or folder (default: beside the model)", type=Path, metavar="PATH"
    )
    most = "tokens of an answer at most (default: 512, or a quarter of the model's window)"
    one.take("--max-tokens", most, type=whole(1))
    take_sampling(one, several=False)

    one = top.add("serve", serve.serve, "a model behind OpenAI's HTTP interface, until Ctrl-C")
    one.take("named", f"{names}, or {places} (default: tour/ here)", type=Path, nargs="?", metavar="model")
    one.take("--host", "the address to listen at: 0.0.0.0 for other machines", default="127.0.0.1")
    one.take("--port", "the port to listen at, 0 for a free one", type=whole(0, 65535), default=8000)
    one.take(
        "--api-key", "what clients must send as their API key (default: none is asked for)", metavar="KEY"
    )
    one.take("--model-name", "the name clients ask for (default: of the file or folder)", metavar="NAME")
    vectors = "a sentence encoder for /v1/embeddings: minilm, e5, a folder of sentence-transformers or train-encoder"
    one.take("--encoder", vectors, type=Path, metavar="ENCODER")
    beside = "a LoRA adapter of the model, asked for by its NAME; may be given several times"
    one.take("--adapter", beside, action="append", metavar="NAME=DIR")
    one.take(
        "--tokenizer", "a tokenizer file or folder (default: beside the model)", type=Path, metavar="PATH"
    )
    one.take(
        "--max-prompt-tokens", "tokens of a prompt at most (default: what the window holds)", type=whole(1)
    )
    one.take("--max-tokens", "tokens of an answer at most (default: what the window holds)", type=whole(1))
    one.take(
        "--max-requests", "prompts at a time, waiting ones too; more get 429", type=whole(1), default=256
    )
    guesses = "what guesses the next tokens, checked by the model: prompt-lookup, or a smaller model of its vocabulary"
    one.take("--draft", guesses, type=Path, metavar="DRAFT")
    one.take("--draft-tokens", "with --draft: guesses of a text at most", type=whole(1, 64), default=4)
    one.take("--max-batch-size", "texts written at a time", type=whole(1, 4096), default=64)
    one.take("--max-body", "bytes of a request at most", type=whole(1), default=2**20)
    ending = "seconds that running answers have to end when the server does"
    one.take("--end-seconds", ending, type=number(0, 3600), default=10)

    taught = {
        "sft": (alignment.sft, "teach a model to answer, by your own conversations, measured"),
        "dpo": (alignment.dpo, "teach a model which of two answers is better, by your own pairs, measured"),
    }
    for name, (run, summary) in taught.items():
        one = top.add(name, run, summary)
        one.take("model", f"{places}, or {names}", type=Path)
        one.take("data", "your rows: a .jsonl file, described below", type=Path, metavar="FILE")
        one.take("--out", "the model's folder to write, a new one", type=Path, required=True, metavar="DIR")
        one.take("--epochs", "passes over the rows", type=whole(1, 1000), default=3 if name == "sft" else 1)
        one.take("--batch-size", "rows a step", type=whole(1, 65_536), default=8)
        peak = "1e-3, of a large model 2e-5" if name == "sft" else "1e-4, of a large model 1e-6"
        peak += f", with --lora {'1e-3' if name == 'sft' else '1e-4'}"
        one.take("--learning-rate", f"its peak (default: {peak})", type=number(0, 1, above=True))
        one.take("--max-length", "tokens of a row at most (default: the model's window)", type=whole(2))
        if name == "sft":
            cut = "what happens to a longer one: its end or its beginning is cut off, or it is dropped"
            one.take("--truncation", cut, choices=["keep_start", "keep_end", "drop"], default="keep_start")
            learned = "which answers of a conversation are learned"
            one.take("--turns", learned, choices=["every", "last"], default="every")
            one.take("--packing", "several short rows side by side, none sees another", action="store_true")
        else:
            one.take("--beta", "small lets the model go far", type=number(0, 100, above=True), default=0.1)
            one.take("--loss", "what is made small", choices=["dpo", "hinge", "ipo"], default="dpo")
        one.take("--held-out", "the share kept for the questions", type=number(0.001, 0.9), default=0.1)
        narrow = "train a LoRA adapter of this rank (8 if none is given), not the model: --out is an adapter's folder"
        one.take("--lora", narrow, type=whole(1, 4096), nargs="?", const=8, metavar="RANK")
        one.take("--lora-layers", "with --lora: in so many of the last blocks only", type=whole(1))
        one.take(
            "--qlora", "with --lora: the model below it in 4 bits (NF4, scales too)", action="store_true"
        )
        one.run().json()
        one.parser.epilog = alignment.explained(name)

    one = top.add("convert", models.convert, "write a model in another format: a .gguf file or a folder")
    one.take(
        "source", "a model folder, a .gguf, a llama2.c .bin, smollm2, or owner/name of the hub", type=Path
    )
    one.take("target", "the .gguf file to write, or the folder in Hugging Face's layout", type=Path)
    kinds = ["f32", "f16", "q8_0", "q4_0", "q4_1"]
    one.take("--type", "of the matrices in a .gguf file (default f16)", choices=kinds).json()

    real = ["smollm2", "e5", "minilm"]
    one = top.add("fetch", models.fetch, "download real models, each once: smollm2, e5, minilm")
    one.take("names", "the models' names", choices=real, nargs="+", metavar="name").json()

    one = top.add("index", search.index, "index text for keyword, dense and hybrid search, or pictures")
    kinds = ".txt, .md, .rst, .py (docstrings and code), .ipynb, .jsonl (text, title, id), .csv, .pdf"
    given = f"files and folders of text: {kinds} (default: Python's language reference)"
    one.take("paths", given, type=Path, nargs="*", metavar="PATH")
    one.take(
        "--out", "the index folder to write, or to bring up to date", type=Path, required=True, metavar="DIR"
    )
    named = "e5, minilm, a folder of sentence-transformers or owner/name (default: a small one, trained on this text)"
    one.take("--encoder", f"what makes the vectors: {named}", metavar="NAME")
    one.take("--store", "a vector store to keep the vectors in, too (12_4)", type=Path, metavar="FILE")
    one.take("--namespace", "where in the store (default: the unnamed one)", metavar="NAME")
    pictures = "index pictures in place of text, a PNG or JPEG file or a folder of them: found by words and by pictures"
    one.take("--images", pictures, type=Path, metavar="PATH")
    own = "with --images: a folder of a CLIP in transformers' format (default: the course's, which knows shapes alone)"
    one.take("--model", own, type=Path, metavar="DIR")
    one.data().run().json()
    one.parser.epilog = search.updating_in_words()

    one = top.add(
        "train-encoder", encoders.train_encoder, "fine-tune a sentence encoder on your own text, measured"
    )
    given = f"files and folders of text: {kinds} (default: Python's language reference)"
    one.take("paths", given, type=Path, nargs="*", metavar="PATH")
    one.take("--pairs", "your own pairs in place of documents: a .jsonl file", type=Path, metavar="FILE")
    named = "small (token vectors, trained here), e5, minilm, a folder or owner/name"
    one.take("--encoder", f"what to start from: {named}", default="small", metavar="NAME")
    one.take("--out", "the encoder's folder to write, a new one", type=Path, required=True, metavar="DIR")
    one.take("--epochs", "passes over the pairs (default: 1; small: 10)", type=whole(1, 1000))
    one.take("--batch-size", "pairs a step (default: 32; small: 128)", type=whole(2, 65_536))
    one.take("--learning-rate", "its peak (default: 2e-5; small: 3e-3)", type=number(0, 1, above=True))
    trained = "layers of a transformer to train, counted from the last, 0 for all of it (default: 4)"
    one.take("--last-layers", trained, type=whole(0))
    one.take(
        "--hard-negatives", "wrong answers by keyword search for each pair", type=whole(0, 100), default=0
    )
    little = "texts in memory at a time; slower, and the gradients of the whole batch (default: all)"
    one.take("--pieces", little, type=whole(1))
    one.take("--held-out", "the share that is kept for the questions", type=number(0.01, 0.9), default=0.2)
    one.run().json()
    one.parser.epilog = encoders.explained()

    listed = top.add("search", search.search, "rank the passages, or the pictures, of an index for a query")
    alike = "of pictures: rank them by their likeness to this file, in place of a text: `search DIR --picture FILE`"
    listed.take("--picture", alike, type=Path, metavar="FILE")
    listed.take("--store", "the vector store to search in, in place of the index", type=Path, metavar="FILE")
    listed.take("--namespace", "where in the store (default: the unnamed one)", metavar="NAME")
    listed.take(
        "--filter",
        'which records of the store, as JSON: {"document": "with"}, of pictures: {"folder": "2024"}',
        metavar="JSON",
    )
    listed.take("named", "an index folder, as --index", type=Path, nargs="?", metavar="index")
    listed.take("query", "what to look for, in plain words")
    listed.take("-k", "passages to list", type=whole(1), default=5)
    ask = top.add("ask", search.ask, "answer a question with the best passage, quoted and named")
    ask.take("named", "an index folder, as --index", type=Path, nargs="?", metavar="index")
    ask.take("question", "the question, in plain words")
    shown = "passages to show, the first in full (default 1); with --generate: to answer from (default 3)"
    ask.take("-k", shown, type=whole(1))
    ask.take(
        "--generate", "answer in a model's own words, the passages as numbered sources", action="store_true"
    )
    ask.take(
        "--model", "with --generate: smollm2 (the default), or what `chat` takes; with --server its name"
    )
    ask.take("--server", "with --generate: a model behind this server of OpenAI's interface", metavar="URL")
    ask.take("--api-key", "with --server: the key it asks for (default: OPENAI_API_KEY)", metavar="KEY")
    ask.parser.epilog = search.declining_in_words()
    for one in (listed, ask):
        one.parser.intermixed = True
        one.take("--index", "an index folder, or a tour's (default: tour/ here)", type=Path, metavar="DIR")
        names = ["auto", "bm25", "dense", "hybrid", "weighted"]
        meaning = "auto (what `index` found best on this text), bm25, dense, hybrid or weighted"
        how = {"choices": names, "dest": "method", "metavar": "NAME"}
        one.take("--mode", meaning, default="auto", **how).json()
        hidden = {"help": argparse.SUPPRESS, "default": argparse.SUPPRESS}
        one.parser.add_argument("--method", **how, **hidden)  # its older name

    one = top.add("sql", sql.sql, "ask your own database in English or Korean; it is only read")
    one.take("database", "an SQLite file, or a folder of .csv files", type=path)
    one.take("question", "the question (default: show the tables)", nargs="?")
    one.take("--query", "run this query instead of the model's, in the same sandbox", metavar="SQL")
    one.take("--encoding", "of the .csv files, cp949 for older Korean ones (default: utf-8)", default="utf-8")
    one.json()
    one.parser.epilog = sql.EXPLAINED
    one.parser.formatter_class = argparse.RawDescriptionHelpFormatter

    group = top.add("trace", None, "what a program of models did, from the file that its Tracer wrote")
    verbs = Commands(group.parser)
    written = {
        "show": (trace.show, "show every step as a tree, the slowest ones, tokens and cost"),
        "html": (trace.html, "write a page with every step as a bar, its values a click away"),
        "otlp": (trace.otlp, "write OpenTelemetry's JSON, for its collectors and viewers"),
    }
    for name, (run, summary) in written.items():
        one = verbs.add(name, run, summary)
        one.take("file", "the trace", type=path, metavar="FILE")
        one.take("--trace", "only the trace whose id begins so", metavar="ID")
        if name == "show":
            million = "what a million tokens cost, read and written: MODEL=READING,WRITING; may be given several times"
            one.take("--price", million, action="append", metavar="PRICE")
        else:
            one.take(
                "--out", "where to write, - for a pipe (default: beside the trace)", type=Path, metavar="PATH"
            )
        if name == "otlp":
            one.take("--service", "the program's name", default="minillm")
        one.json()

    one = top.add("bench", machine.bench, "measure against the real libraries on this machine")
    one.take("names", "benchmarks to run (default: all)", nargs="*", metavar="NAME")
    one.take("--list", "list the benchmarks", action="store_true")
    one.take("--quick", "fewer rounds and smaller inputs", action="store_true")
    one.take("--write", "record the results in BENCHMARKS.md", action="store_true").json()

    group = top.add("assignment", None, "hand a lesson out to a class, and grade what comes back")
    verbs = Commands(group.parser)
    one = verbs.add("make", classroom.assignment_make, "write the student version of a lesson")
    one.take("lesson", "the lesson's number, for example 02_1")
    one.take("--out", "the course folder to write", type=Path, required=True, metavar="DIR").json()
    one = verbs.add("grade", classroom.assignment_grade, "grade the notebooks students handed in")
    one.take("folder", "the course folder that `assignment make` wrote", type=Path, metavar="DIR")
    one.take("--student", "grade this one only", metavar="NAME")
    one.take("--force", "grade again what has not changed", action="store_true")
    one.take(
        "--timeout", "seconds one exercise may take (default: by its stored solution)", type=number(1, 86_400)
    )
    one.take(
        "--jobs", "answers graded at a time (default: one a core, four at most)", type=whole(1, 64)
    ).json()

    one = top.add("doctor", machine.doctor, "what this machine has, and what to do about what is missing")
    whole_file = "a model to read through instead, byte by byte: is it whole? A folder, a file or a name"
    one.take("model", whole_file, type=Path, nargs="?").json()
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
