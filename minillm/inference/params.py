"""How to generate: the settings of one request, and those that a checkpoint brings along.

A model folder may hold generation_config.json: what its makers found to work (temperature, top_p, ...), and more
than one end token. `SamplingParams.from_folder` reads the settings; the end tokens are the model's
(`model.eos_token_ids`). The names are vLLM's, the file's are transformers'.

Book 7.1.1 언어 모델이 언어를 생성하는 방법. Held against transformers' GenerationConfig and generate.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minillm._checks import LARGEST, check_choice, check_flag, check_int, check_number, check_path, describe
from minillm._files import BadFileError
from minillm.inference.grammar.calls import Calls
from minillm.inference.grammar.guide import compiled, schema_text
from minillm.models.weights import CONFIG, read_config, read_generation_config

# transformers' name -> (ours, transformers' own default)
_READ = {
    "max_new_tokens": ("max_tokens", None),
    "min_new_tokens": ("min_tokens", None),
    "temperature": ("temperature", 1.0),
    "top_k": ("top_k", 50),
    "top_p": ("top_p", 1.0),
    "min_p": ("min_p", None),
    "repetition_penalty": ("repetition_penalty", 1.0),
    "stop_strings": ("stop", None),
    "num_return_sequences": ("n", 1),
    "num_beams": ("beams", 1),
    "length_penalty": ("length_penalty", None),
    "early_stopping": ("early_stopping", None),
    "no_repeat_ngram_size": ("no_repeat_ngram_size", None),
}
# what we do not do, with the values that ask for nothing; anything else would give other tokens: refused by name
_REFUSED: dict[str, tuple[Any, ...]] = {
    "num_beam_groups": (1,),
    "min_length": (0,),
    "top_h": (),
    "typical_p": (1.0,),
    "epsilon_cutoff": (0.0,),
    "eta_cutoff": (0.0,),
    "encoder_repetition_penalty": (1.0,),
    "encoder_no_repeat_ngram_size": (0,),
    "diversity_penalty": (0.0,),
    "penalty_alpha": (0.0,),
    "guidance_scale": (1.0,),
    "bad_words_ids": ([],),
    "force_words_ids": ([],),
    "constraints": ([],),
    "suppress_tokens": ([],),
    "begin_suppress_tokens": ([],),
    "sequence_bias": ({}, []),
    "forced_bos_token_id": (),
    "forced_eos_token_id": (),
    "exponential_decay_length_penalty": (),
    "token_healing": (False,),
    "watermarking_config": (),
    "dola_layers": (),
    "max_time": (),
}
_FORCED = ("forced_bos_token_id", "forced_eos_token_id")  # done for encoder-decoders
# Every other key changes no token of one text: caches and speed (use_cache, assistants, compile_config, ...), what is
# reported (output_scores, ...), ids the model has (eos_token_id, ...), names of no meaning to transformers itself.
# max_length counts the prompt: the window does that.


@dataclass(frozen=True)
class SamplingParams:
    """How to generate: the names are vLLM's, those that it lacks are transformers'.

    max_tokens: new tokens at most. min_tokens: so many come before any end token or stop.
    temperature: 0 for greedy. top_k: 0 for all. top_p, min_p: probabilities.
    repetition_penalty: 1 for none, from 0.001 to 1000; prompt and new tokens. frequency_penalty, presence_penalty: from
    -2 to 2, 0 for none; taken from a token's score for each time it stands among the new tokens, or once.
    logit_bias: {token id: number from -100 to 100}, added to the score. no_repeat_ngram_size: no run of so many tokens
    comes twice, the prompt's included; 0 for no such rule.
    stop: token ids, tuples of ids or strings that end the text (one of them may stand alone). stop_token_ids: more ids
    that end it. ignore_eos: go on after the model's end tokens.
    seed: None draws a fresh one from the operating system. The j-th completion of every prompt draws with seed + j.
    n: completions a prompt. best_of: so many are drawn, and the n with the highest sum of log probabilities kept.
    beams: above 1, beam search (beams.py), which draws nothing; its n best. length_penalty: a text's sum of log
    probabilities is divided by its length to this power. early_stopping: True, False or "never", when beams end.
    logprobs: None, or how many of the best tokens to report with their log probability (of the model itself, nats)
    beside the chosen one. prompt_logprobs: the same for the prompt's tokens. json_schema: a JSON
    schema (a dict) that the text follows, see grammar/json_schema.py; it takes no stop, min_tokens or n-gram rule.
    calls: the functions that the text may call, see grammar/calls.py; the same holds for it.
    Raises ValueError naming the field that is wrong.
    """

    max_tokens: int = 16
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: Mapping[int, float] | None = field(default=None, hash=False)
    stop: Any = ()
    stop_token_ids: Any = ()
    ignore_eos: bool = False
    min_tokens: int = 0
    seed: int | None = None
    n: int = 1
    best_of: int | None = None
    beams: int = 1
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    json_schema: Any = field(default=None, hash=False)
    calls: Calls | None = None
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    no_repeat_ngram_size: int = 0

    def __post_init__(self) -> None:
        """Check every field."""
        check_int("max_tokens", self.max_tokens, 1)
        check_number("temperature", self.temperature, 0.0)
        check_int("top_k", self.top_k, 0)
        check_number("top_p", self.top_p, 0.0, 1.0)
        check_number("min_p", self.min_p, 0.0, 1.0)
        # a score times or over more than that leaves float32 or says nothing any more
        check_number("repetition_penalty", self.repetition_penalty, 1e-3, 1e3)
        check_number("frequency_penalty", self.frequency_penalty, -2.0, 2.0)
        check_number("presence_penalty", self.presence_penalty, -2.0, 2.0)
        check_flag("ignore_eos", self.ignore_eos)
        check_int("min_tokens", self.min_tokens, 0)
        check_int("n", self.n, 1)
        check_int("beams", self.beams, 1)
        check_number("length_penalty", self.length_penalty, -100.0, 100.0)
        check_int("no_repeat_ngram_size", self.no_repeat_ngram_size, 0)
        if self.min_tokens > self.max_tokens:
            raise ValueError(
                f"min_tokens must be at most max_tokens, got {self.min_tokens} > {self.max_tokens}"
            )
        if self.top_p == 0:
            raise ValueError("top_p must be above 0, for the best token alone use temperature=0 or top_k=1")
        check_choice("early_stopping", self.early_stopping, (True, False, "never"))
        if self.seed is not None:
            check_int("seed", self.seed, 0, 2**63 - 1)
        for name in ("logprobs", "prompt_logprobs"):
            if getattr(self, name) is not None:
                check_int(name, getattr(self, name), 0)
        if self.json_schema is not None or self.calls is not None:
            self._check_grammar()
        self._check_several()
        object.__setattr__(self, "json_schema", copy.deepcopy(self.json_schema))  # a caller's dict may change
        object.__setattr__(self, "logit_bias", _check_logit_bias(self.logit_bias))
        object.__setattr__(self, "stop", _check_stop(self.stop))
        object.__setattr__(self, "stop_token_ids", _check_stop_token_ids(self.stop_token_ids))

    def _check_grammar(self) -> None:
        """Compiles the schema, so that a wrong one is refused here, and asks for nothing that could cut its text."""
        if self.calls is None:
            compiled(schema_text(self.json_schema))
        elif not isinstance(self.calls, Calls) or self.json_schema is not None:
            raise ValueError(
                f"calls must be Calls, and hold what json_schema would say, got {describe(self.calls)}"
            )
        what = "json_schema" if self.calls is None else "calls"
        for name, free in (
            ("stop", ()),
            ("min_tokens", 0),
            ("no_repeat_ngram_size", 0),
        ):
            if getattr(self, name) != free:
                raise ValueError(f"{name} does not go with {what}: it could leave no text that follows it")

    def _check_several(self) -> None:
        """What n, best_of and beams ask of each other."""
        if self.best_of is not None:
            check_int("best_of", self.best_of, 1)
            if self.best_of < self.n:
                raise ValueError(f"best_of must be at least n, got {self.best_of} < {self.n}")
            if self.best_of > self.n and self.temperature == 0:
                raise ValueError("best_of chooses among drawn texts, and with temperature=0 all are the same")
        if self.beams == 1:
            return
        if self.best_of is not None:
            raise ValueError("beams keep the best by themselves: best_of must be None with them")
        if self.n > self.beams:
            raise ValueError(f"n must be at most beams, got {self.n} > {self.beams}")
        drawing = (self.top_k, self.top_p, self.min_p) != (0, 1.0, 0.0)
        if self.temperature not in (0, 1) or (self.temperature == 1 and drawing):
            raise ValueError(
                "beams above 1 search and draw nothing: temperature must be 0, or 1 without top_k, top_p and min_p; "
                f"got temperature={self.temperature}, top_k={self.top_k}, top_p={self.top_p}, min_p={self.min_p}"
            )

    @classmethod
    def from_folder(cls, folder: str | Path, **overrides: Any) -> SamplingParams:
        """The settings of a model folder's generation_config.json, as transformers' generate reads them.

        do_sample false, absent, or no such file: greedy (temperature 0). With do_sample true, top_k is 50 unless
        the file says otherwise. overrides: fields of SamplingParams that count instead of the file's. The file's
        end tokens are the model's (`model.eos_token_ids`), and so are an encoder-decoder's start token and the tokens
        it forces (conditioned.py). Raises BadFileError (a ValueError) for a damaged file,
        for a value that is out of range, and, by name, for a key that asks for what we do not do.
        """
        path = check_path("folder", folder)
        if not path.is_dir():
            raise BadFileError(f"model folder {str(path)!r} is missing or no folder")
        try:
            content = read_generation_config(path)
            if (path / CONFIG).exists() and read_config(path).get("is_encoder_decoder") is True:
                content = {name: value for name, value in content.items() if name not in _FORCED}
            fields = sampling_fields(content)
            cls(**{"max_tokens": LARGEST} | fields)  # whether the file's own values will do
        except ValueError as error:
            raise BadFileError(f"generation config in {str(path)!r} is refused: {error}") from None
        return cls(**fields | overrides)

    @property
    def width(self) -> int:
        """Texts of a prompt that are at work at a time."""
        return self.beams if self.beams > 1 else self.best_of or self.n

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """The strings among `stop`."""
        return tuple(item for item in self.stop if isinstance(item, str))

    @property
    def stop_ids(self) -> tuple[tuple[int, ...], ...]:
        """The ids and id sequences among `stop`, each as a tuple."""
        return tuple(item for item in self.stop if not isinstance(item, str))


def sampling_fields(content: Any) -> dict[str, Any]:
    """The fields of SamplingParams that a parsed generation_config.json sets; ValueError for what we do not do."""
    for name, harmless in _REFUSED.items():
        value = content.get(name)
        if value is not None and value not in harmless:
            raise ValueError(f"it asks for {name} = {describe(value)}, which minillm does not do")
    given = {name: value for name, value in content.items() if value is not None}
    fields = {ours: given.get(theirs, default) for theirs, (ours, default) in _READ.items()}
    fields = {name: value for name, value in fields.items() if value is not None}
    check_number("temperature", fields["temperature"], 0.0)
    if not check_flag("do_sample", given.get("do_sample", False)):
        fields["temperature"] = 0.0
    elif fields["beams"] != 1:
        raise ValueError(
            f"it asks for num_beams = {describe(fields['beams'])} with do_sample, beams that are drawn, which minillm "
            "does not do"
        )
    if fields["top_p"] == 0:  # the best token alone, as there
        fields |= {"top_p": 1.0, "top_k": 1}
    return fields


def _check_stop(stop: Any) -> tuple[str | tuple[int, ...], ...]:
    """`stop` as a tuple of strings and of tuples of ids: 5 -> ((5,),), "\\n" -> ("\\n",), [5, (6, 7)] as
    expected.
    """
    if isinstance(stop, (str, int)):
        stop = (stop,)
    if not isinstance(stop, (tuple, list, set, frozenset)):
        raise ValueError(f"stop must hold strings, token ids or tuples of ids, got {describe(stop)}")
    checked: list[str | tuple[int, ...]] = []
    for item in stop:
        if isinstance(item, str):
            checked.append(item)
        elif isinstance(item, (tuple, list)):
            checked.append(tuple(check_int("an id in stop", one, 0) for one in item))
        else:
            checked.append((check_int("an id in stop", item, 0),))
        if not checked[-1]:
            raise ValueError("stop must not hold an empty string or an empty tuple")
    return tuple(checked)


def _check_logit_bias(bias: Any) -> dict[int, float] | None:
    if bias is None:
        return None
    if not isinstance(bias, Mapping):
        raise ValueError(f"logit_bias must map token ids to numbers, got {describe(bias)}")
    return {
        check_int("every id of logit_bias", i, 0): check_number(
            "every value of logit_bias", value, -100.0, 100.0
        )
        for i, value in bias.items()
    }


def _check_stop_token_ids(ids: Any) -> tuple[int, ...]:
    if not isinstance(ids, (tuple, list, set, frozenset)):
        raise ValueError(f"stop_token_ids must be a list of token ids, got {describe(ids)}")
    return tuple(check_int("every id of stop_token_ids", i, 0) for i in ids)
