"""`minillm serve`: a model behind OpenAI's HTTP interface, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from minillm.commands._adapters import base_of, named_adapters
from minillm.commands._find import find_model
from minillm.commands.generate import open_writer, tokenizer_path

LOOKUP = "prompt-lookup"  # drafts without a model


def serve(options: Namespace) -> None:
    """Open the model, warm it up, say where it listens, and answer."""
    from minillm.tokenizer import load_tokenizer

    folder, adapters = find_model(options.named), named_adapters(options.adapter or [])
    tokenizer = load_tokenizer(tokenizer_path(folder, options.tokenizer))

    from minillm.inference import Engine, SamplingParams, is_encoder_decoder
    from minillm.inference.server import Server

    model = open_writer(folder, tokenizer, options.tokenizer)
    if is_encoder_decoder(model):
        raise ValueError(f"{folder} holds a {type(model).__name__}: only decoder-only models are served")
    put_on(model, adapters)
    batch, drafts = options.max_batch_size, {}
    if options.draft is not None:
        drafts = {"draft": _draft(options.draft, tokenizer), "k": options.draft_tokens}
    engine = Engine(model, tokenizer, max_batch_size=batch, max_batch_tokens=max(2048, batch), **drafts)
    defaults = None
    if model.generation_config:  # the settings that the model's makers found to work
        defaults = SamplingParams.from_folder(base_of(folder), n=1, beams=1, early_stopping=False)
    name = options.model_name or _name(options.named or folder)
    limits = ("max_prompt_tokens", "max_tokens", "max_requests", "max_body", "end_seconds")
    given = {one: getattr(options, one) for one in limits if getattr(options, one) is not None}
    encoder = open_served(options.encoder, given)
    server = Server(engine, options.host, options.port, name, options.api_key, defaults, **given)
    engine.generate([[0]], SamplingParams(max_tokens=2))  # what is compiled at first is compiled before
    also = "" if encoder is None else f", {encoder} at {server.url}/v1/embeddings"
    also += f", with the adapters {', '.join(adapters)}" if adapters else ""
    print(f"{name} at {server.url}/v1{also} (Ctrl-C ends it)", file=sys.stderr, flush=True)
    server.run()
    print("ended", file=sys.stderr, flush=True)


def put_on(model: Any, adapters: dict[str, Path]) -> None:
    """Put adapters on a model under their names; none of them is active until a client asks for it."""
    from minillm.training.adapters import load_adapter
    from minillm.training.lora import set_adapter

    for name, folder in adapters.items():
        load_adapter(model, folder, name)
    if adapters:
        set_adapter(model, None)


def _draft(named: Path, tokenizer: Any) -> Any:
    """What guesses the next tokens: prompt-lookup, or a smaller model. ValueError for one with other tokens."""
    from minillm.inference import PromptLookup
    from minillm.tokenizer import load_tokenizer

    if named.as_posix() == LOOKUP:
        return PromptLookup()
    folder = find_model(named)
    theirs = load_tokenizer(tokenizer_path(folder, None))
    if theirs.vocab != tokenizer.vocab:
        raise ValueError(f"--draft {folder} has other tokens than the model: its guesses would mean nothing")
    return open_writer(folder, theirs, None)


def open_served(source: Path | None, settings: dict[str, Any]) -> str | None:
    """Open the sentence encoder and put it among the settings; the name that clients ask for."""
    if source is None:
        return None
    from minillm.search import open_encoder

    settings["encoder"] = encoder = open_encoder(source.as_posix())  # a name is a str
    encoder.encode(["warm"])
    settings["encoder_name"] = name = _name(source)
    return name


def _name(model: Path) -> str:
    """owner/name of the hub as it is; of a file or folder the name alone."""
    if not model.exists():
        return model.as_posix()
    return (model.stem if model.is_file() else model.resolve().name) or "minillm"
