"""`load_model`: open a model without knowing its class; config.json or the file's ending says which it is."""

from __future__ import annotations

from pathlib import Path

import torch

from minillm._checks import describe
from minillm._files import BadFileError
from minillm.models.bart import BART, BARTBody
from minillm.models.bart import FAMILIES as BART_FAMILIES
from minillm.models.base import PretrainedModel
from minillm.models.gpt2 import GPT2, GPT2Body
from minillm.models.llama import FAMILIES, Llama, LlamaBody
from minillm.models.llama2c import load_llama2c
from minillm.models.t5 import FAMILIES as T5_FAMILIES
from minillm.models.t5 import T5, T5Body, T5Encoder
from minillm.models.weights import read_config

ARCHITECTURES: dict[str, type[PretrainedModel]] = {  # transformers' class names -> ours
    "GPT2LMHeadModel": GPT2,
    "GPT2Model": GPT2Body,
    **{f"{family}ForCausalLM": Llama for family in FAMILIES.values()},
    **{f"{family}Model": LlamaBody for family in FAMILIES.values()},
    **{f"{family}ForConditionalGeneration": T5 for family in T5_FAMILIES.values()},
    **{f"{family}Model": T5Body for family in T5_FAMILIES.values()},
    **{f"{family}EncoderModel": T5Encoder for family in T5_FAMILIES.values()},
    **{f"{family}ForConditionalGeneration": BART for family in BART_FAMILIES.values()},
    **{f"{family}Model": BARTBody for family in BART_FAMILIES.values()},
}
LANGUAGE_MODELS: tuple[type[PretrainedModel], ...] = (GPT2, Llama, T5, BART)


def load_model(
    path: str | Path, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> PretrainedModel:
    """The model in a Hugging Face folder or in a llama2.c .bin file, in evaluation mode.

    config.json picks the class by `architectures`; a folder that names none holds the language model of its
    `model_type`. A folder of a decoder's body alone gives the language model when its output matrix is the
    embedding table, so that nothing is missing, else the body. dtype, device: as in `from_pretrained`. Raises
    BadFileError (a ValueError) naming what is missing, cut, damaged or of a kind we do not have.
    """
    if not isinstance(path, (str, Path)):
        raise ValueError(f"load_model takes the path of a folder or a .bin file, got {describe(path)}")
    if Path(path).suffix == ".bin" and not Path(path).is_dir():
        return load_llama2c(path, dtype, device)
    config = read_config(path)
    kind, named = config.get("model_type"), config.get("architectures") or []
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise BadFileError(
            f"model folder {str(path)!r}: architectures must be a list of names, got {describe(named)}"
        )
    language_model = next((cls for cls in LANGUAGE_MODELS if kind in cls.config_class.model_types), None)
    if language_model is None or (named and named[0] not in ARCHITECTURES):
        raise BadFileError(
            f"model folder {str(path)!r} holds model_type {kind!r} ({named}), we have: {', '.join(ARCHITECTURES)}"
        )
    model_class = ARCHITECTURES[named[0]] if named else language_model
    if kind not in model_class.config_class.model_types:
        raise BadFileError(
            f"model folder {str(path)!r} names {named[0]!r} and model_type {kind!r}: not one model"
        )
    tied = config.get("tie_word_embeddings", model_class.config_class.tie_word_embeddings)
    if model_class is language_model.body_class and tied is True:
        model_class = language_model
    return model_class.from_pretrained(path, dtype, device)
