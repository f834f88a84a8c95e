"""What a model's config.json says, as dataclasses with Hugging Face's field names, checked when they are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, TypeVar

from minillm._checks import check_choice, check_int, check_number, check_text, describe
from minillm.nn.blocks import ACTIVATIONS

C = TypeVar("C", bound="ModelConfig")
MOST_LABELS = 1_000_000  # a name is made for each: a file that asks for more would take all memory

# Keys of other models' configs that change the numbers, with the values that change nothing: anything else is refused
# by name. A key that stands nowhere is taken for harmless, kept and written back.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "add_cross_attention": (None, False),
    "alibi": (None, False),
    "apply_residual_connection_post_layernorm": (None, False),
    "attention_in_multiplier": (None, 1),
    "attention_logit_cap": (None,),
    "attention_multiplier": (None,),
    "attention_out_multiplier": (None, 1),
    "attention_value_scale": (None, 1),
    "attn_logit_softcapping": (None,),
    "attn_temperature_tuning": (None, False, 0),
    "clip_qkv": (None,),
    "dim_model_base": (None,),
    "embedding_multiplier": (None, 1),
    "embedding_scale": (None, 1),
    "final_logit_softcapping": (None,),
    "is_causal": (None, True),
    "is_encoder_decoder": (None, False),
    "key_multiplier": (None, 1),
    "kv_lora_rank": (None,),
    "layer_scale": (None, False, 1),
    "lm_head_multiplier": (None, 1),
    "logit_scale": (None, 1),
    "logits_scaling": (None, 1),
    "logits_soft_cap": (None,),
    "lm_head_bias": (None, False),
    "mlp_multipliers": (None, [1, 1], [1.0, 1.0]),
    "no_rope_layer_interval": (None, 0),
    "no_rope_layers": (None, []),
    "n_routed_experts": (None, 0),
    "num_experts": (None, 0, 1),
    "num_local_experts": (None, 0, 1),
    "output_logit_soft_cap": (None,),
    "output_multiplier": (None, 1),
    "parallel_attn": (None, False),
    "partial_rotary_factor": (None, 1),
    "position_embedding_type": (None, "absolute", "rope"),
    "q_lora_rank": (None,),
    "qk_layernorm": (None, False),
    "qk_norm": (None, False),
    "quantization_config": (None,),
    "query_pre_attn_scalar": (None,),
    "residual_multiplier": (None, 1),
    "residual_scale": (None, 1),
    "rope_interleave": (None, False),
    "rope_interleaved": (None, False),
    "rotary_dim": (None,),
    "rotary_pct": (None, 1),
    "scale_depth": (None,),
    "scale_emb": (None, 1),
    "sliding_window_pattern": (None,),
    "use_attention_gate": (None, False),
    "use_parallel_residual": (None, False),
    "use_post_norm": (None, False),
    "use_qk_norm": (None, False),
}
ABOUT_THE_FILE = ("architectures", "dtype", "torch_dtype", "transformers_version", "_name_or_path")


@dataclass
class ModelConfig:
    """Common ground of the configs: to and from a dict, checks, and the house's own five names.

    num_layers, kv_heads, head_dim, width and max_length mean the same for every model; caches and reports
    read them. num_labels: what a classifier tells apart, 2 unless given or counted in id2label, the labels' names.
    extra: keys of a config.json that we have no use for, kept and written back.
    """

    model_types: ClassVar[tuple[str, ...]] = ()
    neutral: ClassVar[Mapping[str, tuple[Any, ...]]] = NEUTRAL
    other_names: ClassVar[Mapping[str, str]] = {}  # what most families call a field -> what this one calls it

    num_labels: int | None = field(default=None, kw_only=True)
    id2label: dict[int, str] | None = field(default=None, repr=False, kw_only=True)
    label2id: dict[str, int] | None = field(default=None, repr=False, kw_only=True)
    extra: dict[str, Any] = field(default_factory=dict, repr=False, kw_only=True)

    @classmethod
    def from_dict(cls: type[C], values: Mapping[str, Any]) -> C:
        """The config of a parsed config.json.

        ValueError for another model_type, and for a key that changes the model's numbers in a way that is not built
        here (`partial_rotary_factor`, soft caps, multipliers, experts, ...).
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"a config must be a dict, got {describe(values)}")
        kind = values.get("model_type")
        if kind is not None and kind not in cls.model_types:
            raise ValueError(f"{cls.__name__} reads model_type {', '.join(cls.model_types)}, got {kind!r}")
        for name, own in cls.other_names.items():
            if name in values and own not in values:
                values = {own if key == name else key: value for key, value in values.items()}
        known = {field.name for field in fields(cls)} - {"extra"}
        rest = {name: value for name, value in values.items() if name not in known | {*ABOUT_THE_FILE}}
        for name, value in rest.items():
            if name in cls.neutral and not any(
                value is neutral or (type(value) is not bool and value == neutral)
                for neutral in cls.neutral[name]
            ):
                raise ValueError(
                    f"{name} = {describe(value)} changes the model's numbers and is not supported"
                )
        return cls(**{name: value for name, value in values.items() if name in known}, extra=rest)

    def __getattr__(self, name: str) -> Any:
        """A field by the name that most families have for it: GPT-2's n_embd is hidden_size, too."""
        own = type(self).other_names.get(name)
        if own is None:
            raise AttributeError(f"{type(self).__name__} has no field {name!r}")
        return getattr(self, own)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(type(self).other_names.get(name, name), value)

    def to_dict(self) -> dict[str, Any]:
        """The content of config.json, without the names of class and dtype that `save_pretrained` adds."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "extra"}
        del own["num_labels"]  # it is the number of names
        if self.id2label == label_names(2) and self.label2id == ids_of(self.id2label):
            del own["id2label"], own["label2id"]  # what every file without labels means
        return {**self.extra, **own}

    def with_labels(self: C, num_labels: int) -> C:
        """The same config for another number of labels, their names forgotten; itself if the number is the same."""
        check_int("num_labels", num_labels, 1)
        if num_labels == self.num_labels:
            return self
        return replace(self, num_labels=num_labels, id2label=None, label2id=None)

    def _settle_labels(self) -> None:
        """num_labels, id2label and label2id made to agree, as in transformers; ValueError where they do not."""
        names = self.id2label
        if self.num_labels is not None:
            check_int("num_labels", self.num_labels, 1)
        if names is None:
            names = label_names(2 if self.num_labels is None else self.num_labels)
        try:
            self.id2label = {int(i): check_text("a label", name) for i, name in names.items()}
        except (AttributeError, TypeError, ValueError):
            raise ValueError(f"id2label must be a dict of ids and names, got {describe(names)}") from None
        if sorted(self.id2label) != list(range(len(names))) or not names:
            raise ValueError(f"id2label must name the labels 0, 1, 2, ..., got {describe(names)}")
        if self.num_labels not in (None, len(names)):
            raise ValueError(
                f"num_labels must be the length of id2label, {len(names)}, got {describe(self.num_labels)}"
            )
        self.num_labels = len(names)
        self.label2id = ids_of(self.id2label) if self.label2id is None else self.label2id
        if not isinstance(self.label2id, Mapping):
            raise ValueError(f"label2id must be a dict of names and ids, got {describe(self.label2id)}")

    def _check(
        self, sizes: tuple[str, ...], ids: tuple[str, ...], numbers: tuple[str, ...], activation: str
    ) -> None:
        """ValueError naming the field: sizes >= 1, token ids None or int (eos also a list), numbers >= 0."""
        for name in sizes:
            check_int(name, getattr(self, name), 1)
        for name in ids:
            check_ids_field(name, getattr(self, name), several=name == "eos_token_id")
        for name in numbers:
            check_number(name, getattr(self, name), 0.0)
        check_choice(activation, getattr(self, activation), tuple(ACTIVATIONS))
        self._settle_labels()
        check_choice("tie_word_embeddings", self.tie_word_embeddings, (True, False))

    @property
    def most_layers(self) -> int:
        """Blocks of the model's longest stack: what a table of weights counts up to."""
        return max(self.num_layers, getattr(self, "num_decoder_layers", 0))

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """The ids that end a text: none, one or several."""
        return as_ids(self.eos_token_id)


def label_names(number: int) -> dict[int, str]:
    """The names of labels that nobody named: label_names(2) -> {0: "LABEL_0", 1: "LABEL_1"}."""
    check_int("num_labels", number, 1, MOST_LABELS)
    return {i: f"LABEL_{i}" for i in range(number)}


def ids_of(names: Mapping[int, str]) -> dict[str, int]:
    """The ids of named labels: {0: "no", 1: "yes"} -> {"no": 0, "yes": 1}."""
    return {name: i for i, name in names.items()}


def check_ids_field(name: str, value: Any, several: bool = False) -> Any:
    """`value` if it is None, a token id or, where allowed, a list of them; ValueError naming the field."""
    for one in value if several and isinstance(value, (list, tuple)) else [] if value is None else [value]:
        check_int(name, one, 0)
    return value


def as_ids(value: int | list[int] | None) -> tuple[int, ...]:
    """None, an id or a list of ids as a tuple: None -> (), 2 -> (2,), [2, 16] -> (2, 16)."""
    return () if value is None else tuple(value) if isinstance(value, (list, tuple)) else (value,)


def sub_config(name: str, value: Any, kind: type[ModelConfig]) -> Any:
    """The config of a part from a dict or as it is; ValueError, with the field's name, for what is none."""
    if isinstance(value, kind):
        return value
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must be a {kind.__name__} or a dict, got {describe(value)}")
    try:
        return kind.from_dict(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
