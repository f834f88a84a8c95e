"""The parts of a pipeline (파이프라인) as tokenizer.json writes them: {"type": "NFC"}, {"type": "Sequence", ...}.

    text -> normalizer -> pre-tokenizer -> model -> post-processor -> ids          ids -> decoder -> text

Each part is a small class of normalizers.py, pre_tokenizers.py, post_processors.py or decoders.py; the options of its
JSON are the arguments of its constructor. `build` makes one, and refuses by its name what is not built here.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from minillm._checks import check_choice, check_flag, check_text, describe
from minillm.tokenizer.splitting import compile_pattern, find_matches

# What Unicode calls white space; str.strip and str.split would take four control characters along.
BLANKS = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680"
    + "".join(map(chr, range(0x2000, 0x200B)))
    + "\u2028\u2029\u202f\u205f\u3000"
)


def build(what: str, layout: Any, kinds: Mapping[str, type]) -> Any:
    """The part that `layout` describes, one of `kinds`; ValueError naming a kind or option that is not known."""
    options = dict(as_mapping(what, layout))
    kind = options.pop("type", None)
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"{what} {describe(kind) if not isinstance(kind, str) else kind} is not supported")
    parameters = inspect.signature(kinds[kind]).parameters
    if unknown := sorted(set(options) - set(parameters)):
        raise ValueError(f"{what} {kind} with the option {unknown[0]!r} is not supported")
    for name, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in options:
            raise ValueError(f"{what} {kind} lacks its option {name!r}")
    try:
        return kinds[kind](**options)
    except ValueError as error:
        raise ValueError(f"{what} {kind}: {error}") from None


def as_mapping(what: str, value: Any) -> dict:
    """`value` if it is a JSON object."""
    if not isinstance(value, dict):
        raise ValueError(f"{what} must be an object, got {describe(value)}")
    return value


def as_list(what: str, value: Any) -> list:
    """`value` if it is a JSON list."""
    if not isinstance(value, list):
        raise ValueError(f"{what} must be a list, got {describe(value)}")
    return value


class Normalizer:
    """str -> str.

    origins(text): for each character of the result, the place in `text` that it comes from; -1: none, it was put in
    front. Offsets need it.   drops_front(text): whether the first characters go without a trace; what is left then no
    longer begins where the text began, and Metaspace's "first" does not apply to it.
    """

    def __call__(self, text: str) -> str:
        raise NotImplementedError

    def origins(self, text: str) -> list[int]:
        raise NotImplementedError

    def drops_front(self, text: str) -> bool:
        return False


class Finder:
    """Where a `{"String": ...}` or `{"Regex": ...}` lies in a text."""

    def __init__(self, pattern: Any) -> None:
        pattern = as_mapping("pattern", pattern)
        if len(pattern) != 1 or not set(pattern) <= {"String", "Regex"}:
            raise ValueError(f"pattern must be a String or a Regex, got {describe(pattern)}")
        ((self.kind, self.text),) = pattern.items()
        check_text(f"pattern.{self.kind}", self.text)
        if self.kind == "Regex":
            self._compiled = compile_pattern(self.text)
        elif not self.text:
            raise ValueError("an empty String as pattern is not supported")

    def __call__(self, text: str) -> list[tuple[int, int]]:
        """(start, end) of each match, in order."""
        if self.kind == "Regex":
            return find_matches(self._compiled, text)
        found, at = [], text.find(self.text)
        while at >= 0:
            found.append((at, at + len(self.text)))
            at = text.find(self.text, at + len(self.text))
        return found

    def replace(self, text: str, content: str) -> str:
        """`text` with `content`, taken literally, in place of each match."""
        if self.kind == "String":
            return text.replace(self.text, content)
        parts, at = [], 0
        for start, end in self(text):
            parts += [text[at:start], content]
            at = end
        return "".join([*parts, text[at:]])


def one_character(name: str, value: Any) -> str:
    """`value` if it is a str of one character."""
    if len(check_text(name, value)) != 1:
        raise ValueError(f"{name} must be one character, got {describe(value)}")
    return value


class MetaspaceOptions:
    """The options that Metaspace has as a pre-tokenizer and as a decoder. Files of old versions say
    `add_prefix_space` in place of "always" or "never", and repeat the sign as `str_rep`."""

    def __init__(
        self,
        replacement: str,
        prepend_scheme: str = "always",
        split: bool = True,
        add_prefix_space: bool | None = None,
        str_rep: str | None = None,
    ) -> None:
        self.sign = one_character("replacement", replacement)
        self.scheme = check_choice("prepend_scheme", prepend_scheme, ("always", "first", "never"))
        self.split = check_flag("split", split)
        if add_prefix_space is False and self.scheme != "never":
            raise ValueError(f"add_prefix_space false contradicts prepend_scheme {self.scheme!r}")


class ByteLevelOptions:
    """The options that ByteLevel has as a pre-tokenizer, a post-processor and a decoder; the last two only keep them,
    and `trim_offsets` concerns offsets in the text, not ids."""

    def __init__(self, add_prefix_space: bool, trim_offsets: bool = True, use_regex: bool = True) -> None:
        self.prefix = check_flag("add_prefix_space", add_prefix_space)
        self.trim_offsets = check_flag("trim_offsets", trim_offsets)
        self.use_regex = check_flag("use_regex", use_regex)
