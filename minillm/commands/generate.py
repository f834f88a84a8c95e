"""`minillm generate`: a text goes on, or an instruct model answers. A wrong path or number is said before torch is
imported.
"""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from minillm.commands._adapters import base_of, is_adapter, open_merged
from minillm.commands._find import find_model
from minillm.commands._sampling import sampling_params
from minillm.commands._show import print_json

DEFAULT_TOKENS = 100


def generate(options: Namespace) -> None:
    """Print the continuation or the answer as it is written, or one JSON value at its end."""
    from minillm.tokenizer import load_tokenizer

    if options.named is not None and options.model is not None:
        raise ValueError(f"name the model once: {options.named} and --model {options.model} came")
    if not options.json and (options.logprobs is not None or options.prompt_logprobs is not None):
        raise ValueError("--logprobs and --prompt-logprobs are shown with --json")
    folder = find_model(options.model if options.named is None else options.named)
    tokenizer = load_tokenizer(tokenizer_path(folder, options.tokenizer))
    chat = not options.raw and bool(getattr(tokenizer, "chat_template", None))
    text = chat_prompt(tokenizer, options.prompt) if chat else options.prompt
    prompt = tokenizer.encode(text, allowed_special="all") or [tokenizer.encode("\n")[0]]
    fitting_tokens(options.max_tokens, len(prompt), window_of(folder), folder)

    from minillm.inference import generate_batch, is_encoder_decoder, stream_text

    model = open_writer(folder, tokenizer, options.tokenizer)
    translates = is_encoder_decoder(model)  # it reads the prompt and writes another text
    if translates:
        prompt = tokenizer(options.prompt)["input_ids"]
    max_tokens = fitting_tokens(
        options.max_tokens, 1 if translates else len(prompt), model.config.max_length, folder
    )
    answers = chat or translates  # an answer is shown alone, a continuation after its prompt
    params = sampling_params(options, model, base_of(folder), chat, max_tokens)
    before = "" if answers else options.prompt
    if options.json:
        rows = generate_batch(model, [prompt], params, tokenizer)
        found = [_as_json(row, before) for row in rows]
        print_json({"prompt": options.prompt, **(found[0] if params.n == 1 else {"completions": found})})
    elif (params.n, params.beams, params.best_of) == (1, 1, None):
        print(before, end="", flush=True)
        try:
            for piece in stream_text(model, tokenizer, prompt, params):
                print(piece, end="", flush=True)
        finally:
            print()
    else:
        rows = generate_batch(model, [prompt], params, tokenizer)
        print("\n\n".join(before + row.text for row in rows))


def _as_json(row: Any, before: str) -> dict[str, Any]:
    said = {"token_ids": row.token_ids, "text": before + row.text}
    more = {"logprobs": row.logprobs, "prompt_logprobs": row.prompt_logprobs}
    return said | {name: value for name, value in more.items() if value is not None}


def open_writer(folder: Path, tokenizer: Any, tokenizer_given: Path | None) -> Any:
    """The model of a folder or file, a GGUF's matrices as their codes; ValueError for one that writes nothing.

    It holds the model and its tokenizer against each other, too.
    """
    from minillm.inference import is_encoder_decoder
    from minillm.models import load_model
    from minillm.quantization import load_packed

    if is_adapter(folder):
        model = open_merged(folder)
    else:
        model = load_packed(folder) if _stays_packed(folder) else load_model(folder)
    if not is_encoder_decoder(model) and not model.generates:
        raise ValueError(f"{folder} holds a {type(model).__name__}, which writes no text")
    if tokenizer.vocab_size > model.config.vocab_size:
        raise ValueError(
            f"the tokenizer {tokenizer_given or folder} has {tokenizer.vocab_size:,} tokens and the model {folder} "
            f"{model.config.vocab_size:,}: they do not belong together"
        )
    return model


def _stays_packed(path: Path) -> bool:
    """Whether this is a GGUF file of codes that `load_packed` takes."""
    if path.suffix != ".gguf":
        return False
    from minillm.models import Llama
    from minillm.quantization.packed import KINDS, model_config, read_gguf

    file = read_gguf(path)
    return model_config(file)[0].model_class is Llama and any(
        one.type in KINDS for one in file.tensors.values()
    )


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
    if is_adapter(model) and not (model / "tokenizer.json").exists():
        model = base_of(model)
    if model.is_dir() or model.suffix == ".gguf":
        return model
    from minillm.data.e5s1 import is_e5s1

    if is_e5s1(model):
        raise ValueError(f"{model} turns text into vectors, it writes none")
    raise ValueError(f"{model} holds a model alone: name its tokenizer's file with --tokenizer")


def window_of(model: Path) -> int | None:
    """The most tokens, prompt and new ones, that config.json says; None where only opening the model will tell."""
    try:
        config: Any = json.loads((base_of(model) / "config.json").read_bytes())
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
