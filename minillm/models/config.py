"""What a model's config.json says, as dataclasses with Hugging Face's field names, checked when they are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, TypeVar

from minillm._checks import check_choice, check_int, check_number, describe
from minillm.nn.feed_forward import ACTIVATIONS

C = TypeVar("C", bound="ModelConfig")


@dataclass
class ModelConfig:
    """Common ground of the configs: to and from a dict, checks, and the house's own five names.

    num_layers, kv_heads, head_dim, width and max_length mean the same for every model; caches and reports
    read them.
    """

    model_types: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def from_dict(cls: type[C], values: Mapping[str, Any]) -> C:
        """The config of a parsed config.json; keys we do not know are left out, as other libraries' are many."""
        if not isinstance(values, Mapping):
            raise ValueError(f"a config must be a dict, got {describe(values)}")
        kind = values.get("model_type")
        if kind is not None and kind not in cls.model_types:
            raise ValueError(f"{cls.__name__} reads model_type {', '.join(cls.model_types)}, got {kind!r}")
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})

    def to_dict(self) -> dict[str, Any]:
        """The content of config.json, without the names of class and dtype that `save_pretrained` adds."""
        return asdict(self)

    def _check(
        self, sizes: tuple[str, ...], ids: tuple[str, ...], numbers: tuple[str, ...], activation: str
    ) -> None:
        """ValueError naming the field: sizes >= 1, token ids None or int (eos also a list), numbers >= 0."""
        for name in sizes:
            check_int(name, getattr(self, name), 1)
        for name in ids:
            value = getattr(self, name)
            several = name == "eos_token_id" and isinstance(value, (list, tuple))
            for one in value if several else [] if value is None else [value]:
                check_int(name, one, 0)
        for name in numbers:
            check_number(name, getattr(self, name), 0.0)
        check_choice(activation, getattr(self, activation), tuple(ACTIVATIONS))
        check_choice("tie_word_embeddings", self.tie_word_embeddings, (True, False))

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """The ids that end a text: none, one or several."""
        value = self.eos_token_id
        return () if value is None else tuple(value) if isinstance(value, (list, tuple)) else (value,)
