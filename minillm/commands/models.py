"""`minillm train` and `generate`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from minillm.commands._show import print_json


def train(options: Namespace) -> None:
    """Two stages of the tour, with sizes of the user's choice."""
    from minillm.course.tour.stages import TourSettings, load_corpus, train_model, train_tokenizer

    settings = TourSettings(
        vocab_size=options.vocab_size, layers=options.layers, width=options.width, steps=options.steps,
        batch_size=options.batch_size, context=options.context, learning_rate=options.learning_rate,
        seed=options.seed, threads=options.threads,
    )  # fmt: skip
    corpus = load_corpus(settings, options.data)
    tokenizer = train_tokenizer(corpus, settings)
    trained = train_model(corpus, tokenizer.value, settings, options.out, progress=not options.json)
    summary = {"folder": str(options.out), **tokenizer.figures, **trained.figures}
    if options.json:
        print_json(summary)
    else:
        print(f"{options.out}: {trained.figure}; {trained.meaning}")


def generate(options: Namespace) -> None:
    """Print the continuation as it is drawn, or one JSON value at its end."""
    from minillm.inference import SamplingParams, stream
    from minillm.models import load_model
    from minillm.tokenizer import load_tokenizer

    folder = model_folder(options.model)
    model = load_model(folder)
    tokenizer = load_tokenizer(options.tokenizer or folder)
    prompt = tokenizer.encode(options.prompt) or [tokenizer.encode("\n")[0]]
    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    given |= {"max_tokens": options.max_tokens, "seed": options.seed, "n": 1}
    if model.generation_config:  # the settings that the model's makers found to work
        params = SamplingParams.from_folder(folder, **given)
    else:
        params = SamplingParams(**{"temperature": 0.8} | given)
    new: list[int] = []
    shown = options.prompt
    if not options.json:
        print(shown, end="", flush=True)
    for token in stream(model, prompt, params, tokenizer=tokenizer):
        new.append(token)
        text = tokenizer.decode(prompt + new)
        # a character may be split over two tokens: print only what later tokens cannot change
        if not options.json and not text.endswith("\ufffd") and text.startswith(shown):
            print(text[len(shown) :], end="", flush=True)
            shown = text
    if options.json:
        print_json({"prompt": options.prompt, "token_ids": new, "text": tokenizer.decode(prompt + new)})
    else:
        print()


def model_folder(given: Path | None) -> Path:
    """The model the user named, or the one `minillm tour` left behind."""
    from minillm.course.paths import tour_folder

    folder = given or tour_folder() / "model"
    if not folder.exists():
        hint = (
            "run `minillm tour` first, or name a folder with --model"
            if given is None
            else "no such file or folder"
        )
        raise ValueError(f"no model at {folder}: {hint}")
    return folder
