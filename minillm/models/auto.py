"""`load_model`: open a model without knowing its class; config.json or the file's ending says which it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from minillm._checks import describe
from minillm._files import BadFileError
from minillm.data.e5s1 import is_e5s1
from minillm.data.hub import find
from minillm.models import bart, bert, llama, roberta, t5
from minillm.models.base import PretrainedModel
from minillm.models.decoder_heads import GPT2ForSequenceClassification, LlamaForSequenceClassification
from minillm.models.e5s1 import load_e5s1
from minillm.models.gguf import load_gguf
from minillm.models.gpt2 import GPT2, GPT2Body
from minillm.models.llama import Llama, LlamaBody
from minillm.models.llama2c import load_llama2c
from minillm.models.mamba import Mamba, MambaBody
from minillm.models.mamba2 import Mamba2, Mamba2Body
from minillm.models.recurrent import GRU, LSTM, RNN, GRUBody, LSTMBody, RNNBody
from minillm.models.s4d import S4D, S4DBody
from minillm.models.vit import ViT, ViTForImageClassification
from minillm.models.weights import read_config

BERT_TASKS: dict[str, type[PretrainedModel]] = {
    "Model": bert.BERT,
    "ForPreTraining": bert.BERTForMaskedLM,  # its other head is left out
    "ForMaskedLM": bert.BERTForMaskedLM,
    "ForSequenceClassification": bert.BERTForSequenceClassification,
    "ForTokenClassification": bert.BERTForTokenClassification,
    "ForQuestionAnswering": bert.BERTForQuestionAnswering,
}
ROBERTA_TASKS: dict[str, type[PretrainedModel]] = {
    "Model": roberta.RoBERTa,
    "ForMaskedLM": roberta.RoBERTaForMaskedLM,
    "ForSequenceClassification": roberta.RoBERTaForSequenceClassification,
    "ForTokenClassification": roberta.RoBERTaForTokenClassification,
    "ForQuestionAnswering": roberta.RoBERTaForQuestionAnswering,
}
LLAMA_TASKS: dict[str, type[PretrainedModel]] = {
    "Model": LlamaBody,
    "ForCausalLM": Llama,
    "ForSequenceClassification": LlamaForSequenceClassification,
}
T5_TASKS: dict[str, type[PretrainedModel]] = {
    "Model": t5.T5Body,
    "ForConditionalGeneration": t5.T5,
    "EncoderModel": t5.T5Encoder,
}
BART_TASKS: dict[str, type[PretrainedModel]] = {
    "Model": bart.BARTBody,
    "ForConditionalGeneration": bart.BART,
}
ARCHITECTURES: dict[str, type[PretrainedModel]] = {  # transformers' class names -> ours
    "GPT2LMHeadModel": GPT2,
    "GPT2Model": GPT2Body,
    "GPT2ForSequenceClassification": GPT2ForSequenceClassification,
    "ViTModel": ViT,
    "ViTForImageClassification": ViTForImageClassification,
    **{f"{name}{task}": cls for name in llama.FAMILIES.values() for task, cls in LLAMA_TASKS.items()},
    **{f"Bert{task}": cls for task, cls in BERT_TASKS.items()},
    **{f"{name}{task}": cls for name in roberta.FAMILIES.values() for task, cls in ROBERTA_TASKS.items()},
    **{f"{name}{task}": cls for name in t5.FAMILIES.values() for task, cls in T5_TASKS.items()},
    **{f"{name}{task}": cls for name in bart.FAMILIES.values() for task, cls in BART_TASKS.items()},
    **{f"{cls.__name__}ForCausalLM": cls for cls in (Mamba, Mamba2, S4D, RNN, LSTM, GRU)},
    **{
        f"{cls.__name__.removesuffix('Body')}Model": cls
        for cls in (MambaBody, Mamba2Body, S4DBody, RNNBody, LSTMBody, GRUBody)
    },
}
LANGUAGE_MODELS: tuple[type[PretrainedModel], ...] = (
    *(GPT2, Llama, t5.T5, bart.BART),
    *(Mamba, Mamba2, S4D, RNN, LSTM, GRU),
)


def load_bin(
    path: str | Path, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> PretrainedModel:
    """The model of a .bin file: an E5S1 file begins with its name, a llama2.c file with a number."""
    return (load_e5s1 if is_e5s1(path) else load_llama2c)(path, dtype, device)


FILES: dict[str, Callable[..., PretrainedModel]] = {".bin": load_bin, ".gguf": load_gguf}
UNNAMED = (*LANGUAGE_MODELS, bert.BERT, roberta.RoBERTa, ViT)  # what a folder without architectures holds


def load_model(
    path: str | Path,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> PretrainedModel:
    """The model in a Hugging Face folder, a .gguf file, a llama2.c or an E5S1 .bin file, in evaluation mode.

    A name serves, too: that of a real model that was fetched ("smollm2"), or "owner/name" of the hub, which is
    downloaded once (extra `hub`; revision, token, local_files_only and what goes wrong: `minillm.data.hub.find`). A
    path that exists wins.

    config.json picks the class by `architectures`; a folder that names none holds the language model of its
    `model_type`, or an encoder's body. A folder of a decoder's body alone gives the language model when its output
    matrix is the embedding table, so that nothing is missing, else the body. dtype, device: as in `from_pretrained`.
    Raises BadFileError (a ValueError) naming what is missing, cut, damaged or of a kind we do not have.
    """
    if not isinstance(path, (str, Path)):
        raise ValueError(
            f"load_model takes the path of a folder, a .gguf or a .bin file, got {describe(path)}"
        )
    path = find(path, "model", revision, token, local_files_only)
    if Path(path).suffix in FILES and not Path(path).is_dir():
        return FILES[Path(path).suffix](path, dtype, device)
    config = read_config(path)
    kind, named = config.get("model_type"), config.get("architectures") or []
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise BadFileError(
            f"model folder {str(path)!r}: architectures must be a list of names, got {describe(named)}"
        )
    unnamed = next((cls for cls in UNNAMED if kind in cls.config_class.model_types), None)
    if unnamed is None or (named and named[0] not in ARCHITECTURES):
        raise BadFileError(
            f"model folder {str(path)!r} holds model_type {kind!r} ({named}), we have: {', '.join(ARCHITECTURES)}"
        )
    model_class = ARCHITECTURES[named[0]] if named else unnamed
    if kind not in model_class.config_class.model_types:
        raise BadFileError(
            f"model folder {str(path)!r} names {named[0]!r} and model_type {kind!r}: not one model"
        )
    tied = config.get("tie_word_embeddings", model_class.config_class.tie_word_embeddings)
    if unnamed in LANGUAGE_MODELS and model_class is unnamed.body_class and tied is True:
        model_class = unnamed
    return model_class.from_pretrained(path, dtype, device)
