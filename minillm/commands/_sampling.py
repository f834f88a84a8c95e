"""The options that say how a text is written, of `generate` and `chat`: SamplingParams' own, by their names."""

from __future__ import annotations

import argparse
import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from minillm._checks import describe
from minillm._files import read_json
from minillm.commands._parser import SEED, Options, number, text, whole

USUAL = {"temperature": 0.8}  # where neither the user nor the model's makers say anything
ANSWERING = {
    "temperature": 0.2,
    "top_p": 0.9,
}  # the same for a chat: as in the example on SmolLM2's model card
OF_ONE = (
    "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "frequency_penalty", "presence_penalty",
    "logit_bias", "no_repeat_ngram_size", "stop", "stop_token_ids", "ignore_eos", "min_tokens", "seed",
    "json_schema",
)  # fmt: skip
OF_SEVERAL = ("n", "best_of", "beams", "length_penalty", "early_stopping", "logprobs", "prompt_logprobs")


def bias(typed: str) -> tuple[int, float]:
    """Reads ID=NUMBER, for argparse."""
    token, _, value = typed.partition("=")
    try:
        return whole(0)(token), number(-100, 100)(value)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"must be a token id, =, and a number from -100 to 100, such as 11=-2.5, got {describe(typed)}"
        ) from None


def schema(typed: str) -> Any:
    """Reads a JSON schema, or the file that holds one, for argparse."""
    try:
        if typed.lstrip().startswith("{"):
            return json.loads(typed)
        return read_json(typed, "JSON schema")
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"must be a JSON schema or a file that holds one: {error}") from None


def take_sampling(one: Options, several: bool) -> None:
    """Give a command the options; several: those of several texts and of log probabilities, too."""
    own = "default: the checkpoint's generation_config.json"
    greedy = f"0 takes the likeliest token each time ({own}, else 0.8, or 0.2 for an answer)"
    one.take("--temperature", greedy, type=number(0, 1000))
    one.take("--top-k", f"sample among the k likeliest, 0 for all ({own}, else 0)", type=whole(0))
    nucleus = f"sample among the likeliest that sum to p ({own}, else 1, or 0.9 for an answer)"
    one.take("--top-p", nucleus, type=number(0, 1, above=True))
    least = f"drop tokens under this share of the likeliest's probability ({own}, else 0)"
    one.take("--min-p", least, type=number(0, 1))
    one.take("--repetition-penalty", f"over 1 discourages repeats ({own}, else 1)", type=number(0.001, 1000))
    one.take(
        "--frequency-penalty", "taken from a token's score for each time it was written", type=number(-2, 2)
    )
    one.take("--presence-penalty", "taken once from the score of every token written", type=number(-2, 2))
    many = {"action": "append"}
    one.take(
        "--logit-bias", "added to a token's score; may be given often", type=bias, **many, metavar="ID=NUMBER"
    )
    one.take(
        "--no-repeat-ngram-size",
        f"no run of N tokens comes twice, 0 for no rule ({own}, else 0)",
        type=whole(0),
    )
    one.take("--stop", "a text that ends the writing; may be given often", type=text, **many, metavar="TEXT")
    one.take(
        "--stop-token-ids", "a token id that ends it; may be given often", type=whole(0), **many, metavar="ID"
    )
    one.take("--ignore-eos", "write on after the model's end tokens", action="store_true", default=None)
    one.take("--min-tokens", "tokens that come before any end", type=whole(0))
    one.take("--seed", "seed of the sampling", type=SEED, default=0)
    follows = "the text follows this JSON schema; a file, or the schema itself"
    one.take("--json-schema", follows, type=schema, metavar="SCHEMA")
    if not several:
        return
    one.take("--n", "texts to write", type=whole(1))
    one.take("--best-of", "draw so many texts and keep the n most probable", type=whole(1))
    one.take("--beams", f"search with so many beams in place of drawing ({own}, else 1)", type=whole(1))
    longer = "of beams: above 0 favours long texts, below short ones"
    one.take("--length-penalty", f"{longer} ({own}, else 1)", type=number(-100, 100))
    when = f"of beams: whether to end with as many texts as beams ({own}, else false)"
    one.take("--early-stopping", when, choices=["true", "false", "never"])
    one.take("--logprobs", "with --json: log probabilities of each token and of the N best", type=whole(0))
    one.take("--prompt-logprobs", "with --json: the same of the prompt's tokens", type=whole(0))


def sampling_params(options: Namespace, model: Any, folder: Path, answers: bool, max_tokens: int) -> Any:
    """The settings that the user gave; else those of the model's makers; else what is usual."""
    from minillm.inference import SamplingParams

    given = {name: getattr(options, name, None) for name in (*OF_ONE, *OF_SEVERAL)}
    given = {name: value for name, value in given.items() if value is not None}
    if "logit_bias" in given:
        given["logit_bias"] = dict(given["logit_bias"])
    if "early_stopping" in given:
        given["early_stopping"] = {"true": True, "false": False}.get(given["early_stopping"], "never")
    given |= {"max_tokens": max_tokens, "n": given.get("n", 1)}
    if model.generation_config:  # the settings that the model's makers found to work
        return SamplingParams.from_folder(folder, **given)
    if given.get("beams", 1) > 1:  # beams draw nothing
        return SamplingParams(**{"temperature": 0.0} | given)
    return SamplingParams(**(ANSWERING if answers else USUAL) | given)
