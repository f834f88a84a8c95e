"""Post-processors (후처리): the special tokens that a model wants around a text, or around a pair of texts.

    "[CLS] $A [SEP]"  and for a pair  "[CLS] $A [SEP] $B:1 [SEP]:1"           each item with its token type

Book: 2.2.1 토큰화. Held against: tokenizers.processors, transformers' calls.
"""

from __future__ import annotations

from collections.abc import Sequence as Listing
from typing import Any

from minillm._checks import check_flag, check_int, check_text, describe
from minillm.tokenizer.offsets import Token, trim
from minillm.tokenizer.parts import ByteLevelOptions, as_list, as_mapping, build

Item = tuple[Any, int]  # "A" or "B" for a text, or the ids of a special token; and the token type


class Template:
    """Where the texts stand and what stands around them; this one: the texts alone."""

    single: Listing[Item] = (("A", 0),)
    pair: Listing[Item] = (("A", 0), ("B", 1))

    def __call__(self, first: list[int], second: list[int] | None) -> tuple[list[int], list[int]]:
        """(ids, token types) of one text, or of two."""
        ids: list[int] = []
        types: list[int] = []
        for what, kind in self.single if second is None else self.pair:
            part = first if what == "A" else second if what == "B" else what
            ids += part
            types += [kind] * len(part)
        return ids, types

    def added(self, pair: bool) -> int:
        """How many special tokens are put around one text, or around two."""
        return sum(len(what) for what, _ in (self.pair if pair else self.single) if what not in ("A", "B"))

    def trim(self, tokenizer: Any, tokens: list[Token]) -> list[Token]:
        """The tokens of one text with the places that are reported; here as they are."""
        return tokens

    def special_ids(self) -> set[int]:
        """The ids that are put around texts."""
        return {index for what, _ in (*self.single, *self.pair) if what not in ("A", "B") for index in what}


class TemplateProcessing(Template):
    """Any arrangement, listed item by item."""

    def __init__(self, single: list, pair: list, special_tokens: dict) -> None:
        known = {}
        for name, token in as_mapping("special_tokens", special_tokens).items():
            ids = as_list(f"the ids of {name!r}", as_mapping(f"special token {name!r}", token).get("ids"))
            known[name] = [check_int("id", index, 0) for index in ids]
        self.single = [_item(item, known) for item in as_list("single", single)]
        self.pair = [_item(item, known) for item in as_list("pair", pair)]
        wanted = (("single", self.single, ["A"]), ("pair", self.pair, ["A", "B"]))
        for name, items, texts in wanted:
            if sorted(what for what, _ in items if isinstance(what, str)) != texts:
                raise ValueError(f"{name} must hold {' and '.join(texts)} once each")


def _item(item: Any, known: dict[str, list[int]]) -> Item:
    item = as_mapping("an item of a template", item)
    ((kind, content),) = item.items() if len(item) == 1 else ((None, None),)
    if kind not in ("Sequence", "SpecialToken"):
        raise ValueError(f"an item of a template must be a Sequence or a SpecialToken, got {describe(item)}")
    content = as_mapping(kind, content)
    name, token_type = content.get("id"), check_int("type_id", content.get("type_id", 0), 0)
    if kind == "Sequence":
        return check_text("id", name), token_type
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"special token {describe(name)} of a template is not in its special_tokens")
    return known[name], token_type


def _name_and_id(what: str, value: Any) -> list[int]:
    value = as_list(what, value)
    if len(value) != 2:
        raise ValueError(f"{what} must be a token and its id, got {describe(value)}")
    return [check_int(f"the id of {what}", value[1], 0)]


class BertProcessing(Template):
    """[CLS] A [SEP], and [CLS] A [SEP] B [SEP] with type 1 from B on."""

    def __init__(self, sep: list, cls: list) -> None:
        end, start = _name_and_id("sep", sep), _name_and_id("cls", cls)
        self.single = [(start, 0), ("A", 0), (end, 0)]
        self.pair = [*self.single, ("B", 1), (end, 1)]


class RobertaProcessing(Template):
    """<s> A </s>, and <s> A </s></s> B </s>, all of type 0."""

    def __init__(
        self, sep: list, cls: list, trim_offsets: bool = True, add_prefix_space: bool = True
    ) -> None:
        end, start = _name_and_id("sep", sep), _name_and_id("cls", cls)
        self.trim_offsets = check_flag("trim_offsets", trim_offsets)  # these two concern offsets only
        self.prefix = check_flag("add_prefix_space", add_prefix_space)
        self.single = [(start, 0), ("A", 0), (end, 0)]
        self.pair = [*self.single, (end, 0), ("B", 0), (end, 0)]

    def trim(self, tokenizer: Any, tokens: list[Token]) -> list[Token]:
        return trim(tokenizer, tokens, self.prefix) if self.trim_offsets else tokens


class ByteLevel(ByteLevelOptions, Template):
    """Concerns offsets only: the texts alone, and no token begins or ends with a blank."""

    def trim(self, tokenizer: Any, tokens: list[Token]) -> list[Token]:
        return trim(tokenizer, tokens, self.prefix) if self.trim_offsets else tokens


class Sequence(Template):
    """One after another; at most one of them may add tokens."""

    def __init__(self, processors: list) -> None:
        self.parts = [build_post_processor(layout) for layout in as_list("processors", processors)]
        adding = [part for part in self.parts if type(part) not in (Template, ByteLevel)]
        if len(adding) > 1:
            raise ValueError("more than one template in a sequence is not supported")
        if adding:
            self.single, self.pair = adding[0].single, adding[0].pair

    def trim(self, tokenizer: Any, tokens: list[Token]) -> list[Token]:
        for part in self.parts:
            tokens = part.trim(tokenizer, tokens)
        return tokens


KINDS = {
    kind.__name__: kind
    for kind in (TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel, Sequence)
}


def build_post_processor(layout: Any) -> Template:
    """The post-processor of a tokenizer.json (None: nothing is added); ValueError naming what is not supported."""
    return Template() if layout is None else build("post_processor", layout, KINDS)
