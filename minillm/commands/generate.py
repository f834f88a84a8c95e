"""`minillm generate`: a text goes on, or an instruct model answers. A wrong path or number is said before torch is
imported.
"""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from minillm.commands._find import find_model
from minillm.commands._show import print_json

DEFAULT_TOKENS = 100
SETTINGS = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
USUAL = {"temperature": 0.8}  # where neither the user nor the model's makers say anything
ANSWERING = {
    "temperature": 0.2,
    "top_p": 0.9,
}  # the same for a chat: as in the example on SmolLM2's model card


def generate(options: Namespace) -> None:
    """Print the continuation or the answer as it is drawn, or one JSON value at its end."""
    from minillm.tokenizer import load_tokenizer

    if options.named is not None and options.model is not None:
        raise ValueError(f"name the model once: {options.named} and --model {options.model} came")
    folder = find_model(options.model if options.named is None else options.named)
    tokenizer = load_tokenizer(tokenizer_path(folder, options.tokenizer))
    chat = not options.raw and bool(getattr(tokenizer, "chat_template", None))
    text = chat_prompt(tokenizer, options.prompt) if chat else options.prompt
    prompt = tokenizer.encode(text, allowed_special="all") or [tokenizer.encode("\n")[0]]
    fitting_tokens(options.max_tokens, len(prompt), window_of(folder), folder)

    from minillm.inference import SamplingParams, is_encoder_decoder, stream
    from minillm.models import load_model

    model = load_model(folder)
    translates = is_encoder_decoder(model)  # it reads the prompt and writes another text
    if translates:
        prompt = tokenizer(options.prompt)["input_ids"]
    elif not model.generates:
        raise ValueError(f"{folder} holds a {type(model).__name__}, which writes no text")
    mismatch = (
        f"the tokenizer {options.tokenizer or folder} has {tokenizer.vocab_size:,} tokens and the model {folder} "
        f"{model.config.vocab_size:,}: they do not belong together"
    )
    if tokenizer.vocab_size > model.config.vocab_size:
        raise ValueError(mismatch)
    max_tokens = fitting_tokens(
        options.max_tokens, 1 if translates else len(prompt), model.config.max_length, folder
    )
    given = {name: getattr(options, name) for name in SETTINGS if getattr(options, name) is not None}
    given |= {"max_tokens": max_tokens, "seed": options.seed, "n": 1}
    if model.generation_config:  # the settings that the model's makers found to work
        params = SamplingParams.from_folder(folder, **given)
    else:
        params = SamplingParams(**(ANSWERING if chat else USUAL) | given)
    answers = chat or translates
    before = [] if answers else prompt  # an answer is shown alone, a continuation after its prompt
    new: list[int] = []
    shown = "" if answers else options.prompt
    if not options.json:
        print(shown, end="", flush=True)
    try:
        for token in stream(model, prompt, params, tokenizer=tokenizer):
            if token >= tokenizer.vocab_size:  # models may have room to spare: a trained one never chooses it
                raise ValueError(mismatch)
            new.append(token)
            text = tokenizer.decode(before + new, skip_special_tokens=answers)
            # a character may be split over two tokens: print only what later tokens cannot change
            if not options.json and not text.endswith("\ufffd") and text.startswith(shown):
                print(text[len(shown) :], end="", flush=True)
                shown = text
    finally:
        if not options.json:
            print()
    if options.json:
        text = tokenizer.decode(before + new, skip_special_tokens=answers)
        print_json({"prompt": options.prompt, "token_ids": new, "text": text})


def chat_prompt(tokenizer: Any, question: str) -> str:
    """The question as the model was taught to be asked."""
    from minillm.tokenizer.chat import apply_chat_template

    return apply_chat_template(tokenizer, [{"role": "user", "content": question}])


def tokenizer_path(model: Path, given: Path | None) -> Path:
    """The tokenizer that the user named, or the one beside the model; ValueError where there is none."""
    if given is not None:
        if not given.exists():
            raise ValueError(f"no tokenizer at {given}: no such file or folder")
        return given
    if model.is_dir() or model.suffix == ".gguf":
        return model
    from minillm.data.e5s1 import is_e5s1

    if is_e5s1(model):
        raise ValueError(f"{model} turns text into vectors, it writes none")
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
