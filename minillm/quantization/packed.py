"""A GGUF file's own codes, kept as codes: a quarter of the memory, and a quarter of what a token has to read.

    w = scale · code + low       4 bits: Q4_0 (low = -8 scale), Q4_1;   8 bits: Q8_0 (low = 0);   groups of 32 columns

In the file a row's codes stand together. A product of many rows with one vector wants it the other way round: 64 rows
side by side, so that the inner loop runs over rows and no sum has to be added up across a register. So codes are
stored as (B, G, bytes of a group, R): R = 64 rows in each of B blocks, G groups of 32 columns. Byte j of a 4-bit group
holds column j in its low half and column j + 16 in its high one, as in the file.

Book 7.2 양자화로 모델 용량 줄이기. Held against the same file opened with `load_model`, which dequantizes it. A file
whose matrices are of other types keeps those as floats. Leaves out: training; GPT-2, whose file has q, k and v in one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numba import njit
from torch import Tensor, nn

from minillm._checks import describe
from minillm._files import BadFileError
from minillm.data.gguf import GGUFFile, read_gguf
from minillm.data.hub import find
from minillm.data.real_models import REAL_MODELS
from minillm.models.gguf import file_tensors, model_config, translated
from minillm.models.llama import Llama
from minillm.nn.pairing import to_halves
from minillm.quantization.linear import QuantizedLinear, ThroughCodes
from minillm.quantization.model import replace_layer

SIDE = 64  # rows that stand side by side
GROUP = 32  # columns that share a scale
KINDS = ("Q4_0", "Q4_1", "Q8_0")


def _half_if_exact(part: Tensor) -> Tensor:
    """The numbers in float16 if they are finite there and the same, else as they are."""
    half = part.half()
    return half if bool(half.isfinite().all()) and torch.equal(half.float(), part.float()) else part


class PackedLinear(QuantizedLinear):
    """A linear layer of such codes. Buffers: codes uint8 (B, G, 16, R) or int8 (B, G, 32, R), scales (B, G, R) in
    float16 as in the file, and for 4 bits lows like them; both in float32 where float16 does not hold them."""

    codes: Tensor
    scales: Tensor
    lows: Tensor | None

    def __init__(
        self, codes: Tensor, scales: Tensor, lows: Tensor | None, rows: int, bias: Tensor | None = None
    ) -> None:
        super().__init__(codes.shape[1] * GROUP, rows, bias)
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)
        self.register_buffer("lows", lows)
        self._narrow()

    def _narrow(self) -> None:
        self.scales = _half_if_exact(self.scales)
        self.lows = None if self.lows is None else _half_if_exact(self.lows)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PackedLinear:
        super()._apply(fn, recurse)._narrow()  # model.float() would double what a token reads
        return self

    def dequantize(self) -> Tensor:
        weight = torch.empty(self.codes.shape[0] * self.codes.shape[3], self.in_features)
        arrays = self.codes.numpy(), self.scales.float().numpy()
        if self.lows is None:
            _unpack8(*arrays, weight.numpy())
        else:
            _unpack4(*arrays, self.lows.float().numpy(), weight.numpy())
        return weight[: self.out_features]

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in_features) -> (..., out_features). One row of a whole model goes the way of fused_decode.py."""
        if x.requires_grad and torch.is_grad_enabled():
            return ThroughCodes.apply(x, self)
        return self.forward_plain(x)


class PackedEmbedding(nn.Module):
    """Rows of a table that stays codes: that of `layer`, the output layer it is tied to."""

    def __init__(self, layer: PackedLinear) -> None:
        super().__init__()
        self.codes, self.scales, self.lows = layer.codes, layer.scales, layer.lows
        self.num_embeddings, self.embedding_dim = layer.out_features, layer.in_features

    def forward(self, ids: Tensor) -> Tensor:
        """ids int64 (...) -> (..., C) float32; IndexError for ids that the table does not have."""
        if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < self.num_embeddings:
            raise IndexError(f"ids must lie in 0..{self.num_embeddings - 1}")
        block, row = ids.reshape(-1) // SIDE, ids.reshape(-1) % SIDE
        codes = self.codes[block, :, :, row]  # (N, G, bytes)
        if self.lows is not None:
            codes = torch.cat((codes & 15, codes >> 4), dim=-1)
        rows = codes.float() * self.scales[block, :, row, None].float()
        if self.lows is not None:
            rows = rows + self.lows[block, :, row, None].float()
        return rows.reshape(*ids.shape, self.embedding_dim)

    def row(self, token: int) -> Tensor:
        """The row (C,) of one token."""
        return self(torch.tensor(token))


def load_packed(path: str | Path) -> Llama:
    """The model of a GGUF file of the Llama family, its 4- and 8-bit matrices kept as they are, in evaluation mode.

    path: the file, or the name of a real model that was fetched ("smollm2"). Generation takes the compiled step; other
    passes turn the codes into floats layer by layer. Raises BadFileError (a ValueError) as `load_model` does, and for a
    file of another architecture.
    """
    if isinstance(path, str) and path in REAL_MODELS:
        path = find(path, "model")
    file = read_gguf(path)
    what = f"GGUF model {str(path)!r}"
    family, config = model_config(file)
    if family.model_class is not Llama:
        raise BadFileError(f"{what} is of architecture {describe(file.metadata['general.architecture'])}: "
                           "load_packed takes llama, qwen2 and qwen3")  # fmt: skip
    packed = {
        name for name, tensor in file.tensors.items() if tensor.type in KINDS and len(tensor.shape) == 2
    }
    tied = "output.weight" not in file.tensors
    if not tied:
        packed.discard("token_embd.weight")
    model = family.model_class.from_tensors(
        config, file_tensors(file, family, config, shapes_only=packed), what
    )
    places = {theirs: ours[0].removesuffix(".weight") for ours, theirs, _ in model.body.weight_rows()}
    turned = file.metadata["general.architecture"] == "llama"
    for name in packed:
        theirs = translated(name, family.names)
        place = "head" if theirs in ("model.embed_tokens.weight", "lm_head.weight") else (
            "body." + places[theirs.removeprefix(model.body.prefix)]
        )  # fmt: skip
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.kv_heads}.get(
            place.rpartition(".")[2]
        )
        layer = _packed(file, name, heads if turned else None, model.get_submodule(place).bias)
        replace_layer(model, place, layer)
        if place == "head" and tied:
            replace_layer(model, "body.tokens", PackedEmbedding(layer))
    return model


def _packed(file: GGUFFile, name: str, heads: int | None, bias: Tensor | None) -> PackedLinear:
    """The layer of a matrix in the file. heads: its rows are ordered for turning neighbours, and are put in halves."""
    tensor = file.tensors[name]
    rows, columns = tensor.shape
    blocks = file.blocks(name).reshape(rows, columns // GROUP, -1)  # (O, G, bytes of a block)
    if heads is not None:
        blocks = blocks[to_halves(torch.arange(rows), heads).numpy()]
    missing = -rows % SIDE
    if missing:
        blocks = np.concatenate([blocks, np.zeros((missing, *blocks.shape[1:]), np.uint8)])

    def side_by_side(part: np.ndarray) -> Tensor:  # (O, G, n) -> (B, G, n, R)
        part = part.reshape(-1, SIDE, *part.shape[1:]).transpose(0, 2, 3, 1)
        return torch.from_numpy(np.ascontiguousarray(part))

    def halves(at: int) -> Tensor:  # (B, G, R) float32
        part = np.ascontiguousarray(blocks[..., at : at + 2]).view(np.float16).astype(np.float32)
        return side_by_side(part)[:, :, 0]

    scales = halves(0)
    if tensor.type == "Q8_0":
        return PackedLinear(side_by_side(blocks[..., 2:].view(np.int8)), scales, None, rows, bias)
    lows = halves(2) if tensor.type == "Q4_1" else -8 * scales
    codes = side_by_side(blocks[..., 4 if tensor.type == "Q4_1" else 2 :])
    return PackedLinear(codes, scales.contiguous(), lows.contiguous(), rows, bias)


@njit(cache=True, nogil=True)
def _unpack4(codes, scales, lows, weight):  # pragma: no cover
    for b in range(codes.shape[0]):
        for g in range(codes.shape[1]):
            for r in range(codes.shape[3]):
                for j in range(16):
                    byte, o = codes[b, g, j, r], b * codes.shape[3] + r
                    weight[o, 32 * g + j] = scales[b, g, r] * np.float32(byte & 15) + lows[b, g, r]
                    weight[o, 32 * g + j + 16] = scales[b, g, r] * np.float32(byte >> 4) + lows[b, g, r]


@njit(cache=True, nogil=True)
def _unpack8(codes, scales, weight):  # pragma: no cover
    for b in range(codes.shape[0]):
        for g in range(codes.shape[1]):
            for r in range(codes.shape[3]):
                for j in range(32):
                    weight[b * codes.shape[3] + r, 32 * g + j] = scales[b, g, r] * np.float32(
                        codes[b, g, j, r]
                    )
