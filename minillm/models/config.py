"""What a model's config.json says, as dataclasses with Hugging Face's field names, checked when they are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, TypeVar

from minillm._checks import check_choice, check_int, check_number, describe
from minillm.nn.blocks import ACTIVATIONS

C = TypeVar("C", bound="ModelConfig")

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
    read them. extra: keys of a config.json that we have no use for, kept and written back.
    """

    model_types: ClassVar[tuple[str, ...]] = ()

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
        known = {field.name for field in fields(cls)} - {"extra"}
        rest = {name: value for name, value in values.items() if name not in known | {*ABOUT_THE_FILE}}
        for name, value in rest.items():
            if name in NEUTRAL and not any(
                value is neutral or (type(value) is not bool and value == neutral)
                for neutral in NEUTRAL[name]
            ):
                raise ValueError(
                    f"{name} = {describe(value)} changes the model's numbers and is not supported"
                )
        return cls(**{name: value for name, value in values.items() if name in known}, extra=rest)

    def to_dict(self) -> dict[str, Any]:
        """The content of config.json, without the names of class and dtype that `save_pretrained` adds."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "extra"}
        return {**self.extra, **own}

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
        check_choice("tie_word_embeddings", self.tie_word_embeddings, (True, False))

    @property
    def most_layers(self) -> int:
        """Blocks of the model's longest stack: what a table of weights counts up to."""
        return max(self.num_layers, getattr(self, "num_decoder_layers", 0))

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """The ids that end a text: none, one or several."""
        return as_ids(self.eos_token_id)


def check_ids_field(name: str, value: Any, several: bool = False) -> Any:
    """`value` if it is None, a token id or, where allowed, a list of them; ValueError naming the field."""
    for one in value if several and isinstance(value, (list, tuple)) else [] if value is None else [value]:
        check_int(name, one, 0)
    return value


def as_ids(value: int | list[int] | None) -> tuple[int, ...]:
    """None, an id or a list of ids as a tuple: None -> (), 2 -> (2,), [2, 16] -> (2, 16)."""
    return () if value is None else tuple(value) if isinstance(value, (list, tuple)) else (value,)
