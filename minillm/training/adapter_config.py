"""adapter_config.json: an adapter's settings in peft's words, read and written.

    r, lora_alpha, lora_dropout, use_rslora          as they are
    target_modules, layers_to_transform              ends of Hugging Face's names, if they mean these layers alone
    rank_pattern, alpha_pattern                      layers that differ

What peft has beyond LoRA is refused by its name: to leave it out would open another model than was saved. So is PiSSA's
kind of first weights, after which peft's base is not the one that is here.

Book: 5.4.2 LoRA 설정 살펴보기. Held against peft's LoraConfig.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from minillm._checks import check_path, describe
from minillm._files import BadFileError, read_json, verify_checksums
from minillm.models.base import PretrainedModel
from minillm.nn.lora import Adapters, LoRALinear, TrainedPart
from minillm.training.lora_targets import LoRASettings, adapted, block_of, checked_settings, linear_layers

CONFIG = "adapter_config.json"
# what peft can and we cannot -> the values with which it asks for nothing
REFUSED: dict[str, tuple[Any, ...]] = {
    "use_dora": (False,), "lora_bias": (False,), "bias": ("none",), "layer_replication": (None, []),
    "trainable_token_indices": (None, [], {}), "target_parameters": (None, []), "alora_invocation_tokens": (None, []),
    "use_qalora": (False,), "use_bdlora": (None, False), "arrow_config": (None, {}), "kasa_config": (None, {}),
    "monteclora_config": (None, {}), "velora_config": (None, {}), "exclude_modules": (None, []),
}  # fmt: skip
# names of heads of which peft reads the weights when task_type is a classifier's or a question answerer's
HEADS = frozenset({"classifier", "score", "qa_outputs"})
# first weights after which peft's base is another one, W - B A: such an adapter is right beside that base alone
OTHER_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


def read_adapter_config(folder: str | Path) -> dict[str, Any]:
    """adapter_config.json as a dict; BadFileError if it is missing, damaged, or of no LoRA adapter."""
    path = check_path("folder", folder) / CONFIG
    values = read_json(path, "adapter config")
    verify_checksums(folder)
    if not isinstance(values, dict) or values.get("peft_type") != "LORA":
        raise BadFileError(f"adapter config {str(path)!r} must be an object with peft_type LORA")
    return values


def settings_of(values: Mapping[str, Any]) -> LoRASettings:
    """The settings in peft's config; ValueError for what is none, or is not done here."""
    for key, nothing in REFUSED.items():
        if key in values and values[key] not in nothing and values[key] is not None:
            raise ValueError(f"{key}={describe(values[key])} is not done here")
    init = values.get("init_lora_weights")
    if isinstance(init, str) and init.startswith(OTHER_BASE):
        raise ValueError(
            f"init_lora_weights={describe(init)} is an adapter of a changed base: save it as LoRA by peft's "
            "save_pretrained(path_initial_model_for_weight_conversion=...)"
        )
    ranks, alphas = (values.get(key) or {} for key in ("rank_pattern", "alpha_pattern"))
    if not isinstance(ranks, dict) or not isinstance(alphas, dict):
        raise ValueError(f"rank_pattern and alpha_pattern must be objects, got {describe(ranks)}")
    targets = values.get("target_modules")
    return checked_settings(
        values.get("r", 8), values.get("lora_alpha", 8), targets if targets else "all-linear",
        values.get("lora_dropout", 0.0), values.get("layers_to_transform"), values.get("use_rslora", False),
        values.get("modules_to_save") or (), ranks=ranks, alphas=alphas,
    )  # fmt: skip


def config_of(model: nn.Module, shared: Adapters, name: str, base_model: Any) -> dict[str, Any]:
    """adapter_config.json: what peft needs to find the same layers."""
    settings, parts = shared.settings[name], adapted(model)
    mine = {
        shared.names[ours]
        for ours, part in parts.items()
        if isinstance(part, LoRALinear) and name in part.scales
    }
    others = {shared.names[one] for one in linear_layers(model)} - mine
    layers = settings.layers_to_transform
    if layers is not None:  # peft sees no block's number in "h.0.attn.c_attn", the name in a body alone
        others = {one for one in others if block_of(one) in layers}
    short = sorted({one.rpartition(".")[2] for one in mine})
    exact = not any(one.endswith(f".{end}") or one == end for one in others for end in short)
    exact &= layers is None or (isinstance(model, PretrainedModel) and hasattr(model, "body"))
    kind = type(model).__name__
    tasks = {"ForSequenceClassification": "SEQ_CLS", "ForTokenClassification": "TOKEN_CLS",
             "ForQuestionAnswering": "QUESTION_ANS"}  # fmt: skip
    task = next((one for end, one in tasks.items() if kind.endswith(end)), None)
    saved = {shared.names[ours] for ours, part in parts.items()
             if isinstance(part, TrainedPart) and name in part.copies}  # fmt: skip
    whole = outermost(model, shared, saved)
    if HEADS.isdisjoint(whole):  # by these tasks peft looks for a head in the file
        task = None
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM" if getattr(model, "generates", False) else task,
        "base_model_name_or_path": None if base_model is None else str(base_model),
        "r": settings.r,
        "lora_alpha": int(settings.alpha) if settings.alpha.is_integer() else settings.alpha,
        "lora_dropout": settings.dropout,
        "target_modules": short if exact else sorted(mine),
        "layers_to_transform": list(layers) if layers is not None and exact else None,
        "modules_to_save": whole or None,
        "use_rslora": settings.rslora,
        "rank_pattern": dict(settings.ranks),
        "alpha_pattern": dict(settings.alphas),
        "bias": "none",
        "fan_in_fan_out": getattr(getattr(model, "config", None), "model_type", "") == "gpt2",
        "use_dora": False,
        "init_lora_weights": True,
        "inference_mode": True,
    }


def outermost(model: nn.Module, shared: Adapters, saved: set[str]) -> list[str]:
    """Names of layers, those that are all of a larger part under that part's: peft wraps the head of a RoBERTa whole.

    Of a classifier it adds the head's own name to the list, and a part inside another would be wrapped twice.
    """
    every = {
        shared.names[ours]
        for ours, part in model.named_modules()
        if ours in shared.names
        and (
            isinstance(part, (LoRALinear, TrainedPart))
            or next(part.parameters(recurse=False), None) is not None
        )
    }
    found = set()
    for name in saved:
        while (outer := name.rpartition(".")[0]) and {
            one for one in every if one.startswith(f"{outer}.")
        } <= saved:
            name = outer
        found.add(name)
    return sorted(found)
