"""The model of an E5S1 file: a BERT body without pooler, under the short names of that format.

    l3.q.w  ->  encoder.layer.3.attention.self.query.weight        emb.ln.b  ->  embeddings.LayerNorm.bias

The way is over Hugging Face's names, as for GGUF. The file says how many weights a tensor has; its shape follows from
the sizes in the header. What a text's vector is made of them: search/sentence_encoder.py.

Book 3.3.1 모델 활용하기, 10.2 문장 임베딩 방식. Paper: Wang et al. 2024, "Multilingual E5 Text Embeddings".
Held against: transformers' BertModel on the folder that we write, and the vectors of the format's own engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from minillm._files import BadFileError
from minillm._tensors import check_place
from minillm.data.e5s1 import read_e5s1
from minillm.models.bert import BERT, BERTConfig

PARTS = {  # of a layer: theirs -> Hugging Face's
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
TABLES = {
    "emb.word": "word_embeddings",
    "emb.pos": "position_embeddings",
    "emb.type": "token_type_embeddings",
}


def load_e5s1(
    path: str | Path, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> BERT:
    """The BERT of an E5S1 file, in evaluation mode.

    dtype: of the weights, which are dequantized; None is float32. device: None is the CPU. Raises BadFileError (a
    ValueError) naming the file for one that is cut, damaged, or whose tensors do not fit its sizes.
    """
    check_place(dtype, device)
    file = read_e5s1(path)
    what = f"E5S1 model {str(path)!r}"
    layers = file.sizes["layers"]
    if len(file.tensors) != len(TABLES) + 2 + 2 * len(PARTS) * layers:  # said before a million names are made
        raise BadFileError(f"{what} holds {len(file.tensors)} tensors, which {layers:,} layers do not have")
    shapes = tensor_shapes(file.sizes)
    for name, (_, shape) in shapes.items():
        found = file.tensors[name].weights if name in file.tensors else 0
        if found != np.prod(shape, dtype=object):
            raise BadFileError(f"{what}: tensor {name!r} has {found:,} weights, its sizes say {shape}")
    try:
        config = BERTConfig(
            vocab_size=file.sizes["vocabulary"], hidden_size=file.sizes["width"], num_hidden_layers=layers,
            num_attention_heads=file.sizes["heads"], intermediate_size=file.sizes["inner_width"],
            max_position_embeddings=file.sizes["positions"], type_vocab_size=file.sizes["token_types"],
            layer_norm_eps=float(str(np.float32(file.eps))),  # 1e-12, not 9.99999996e-13
            pad_token_id=file.special["pad"], bos_token_id=file.special["bos"], eos_token_id=file.special["eos"],
        )  # fmt: skip
    except ValueError as error:
        raise BadFileError(f"{what} is refused: {error}") from None
    tensors = {}
    for name, (theirs, shape) in shapes.items():
        tensor = torch.from_numpy(file.read(name)).reshape(shape)
        tensors[theirs] = tensor if dtype is None else tensor.to(dtype)
    return BERT.from_tensors(config, tensors, what, dtype, device)


def tensor_shapes(sizes: Mapping[str, int]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """name in the file -> (Hugging Face's name, shape) of every tensor that a model of these sizes has."""
    C, inner = sizes["width"], sizes["inner_width"]
    rows = dict(zip(TABLES, (sizes["vocabulary"], sizes["positions"], sizes["token_types"])))
    found = {name: (f"embeddings.{theirs}.weight", (rows[name], C)) for name, theirs in TABLES.items()}
    found |= _layer("emb.ln", "embeddings.LayerNorm", (C,))
    for i in range(sizes["layers"]):
        for part, theirs in PARTS.items():
            shape = {"fi": (inner, C), "fo": (C, inner), "aln": (C,), "oln": (C,)}.get(part, (C, C))
            found |= _layer(f"l{i}.{part}", f"encoder.layer.{i}.{theirs}", shape)
    return found


def _layer(name: str, theirs: str, shape: tuple[int, ...]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The weight and the bias of a layer or a norm."""
    return {f"{name}.w": (f"{theirs}.weight", shape), f"{name}.b": (f"{theirs}.bias", shape[:1])}
