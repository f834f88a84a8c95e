"""Quantization by hand: absmax int8, zero points, 4-bit blocks with NF4, and whole models of such layers."""

from minillm.quantization.absmax import AbsmaxQuantized, absmax_quantize
from minillm.quantization.awq import awq_clip, awq_scales
from minillm.quantization.blockwise import BlockwiseQuantized, blockwise_quantize
from minillm.quantization.codebooks import NF4_CODEBOOK, normal_codebook, quantile_codebook, uniform_codebook
from minillm.quantization.codes_linear import FourBitLinear, GroupLinear
from minillm.quantization.double import (
    DoubleQuantized,
    DoubleQuantLinear,
    double_quantize,
    dynamic_codebook,
)
from minillm.quantization.folder import load_quantized, save_quantized
from minillm.quantization.gptq import gptq
from minillm.quantization.groups import GroupQuantized, round_to_nearest
from minillm.quantization.linear import Int8Linear, QuantizedLinear
from minillm.quantization.llm_int8 import LLMInt8Linear, outlier_columns, rounded_inputs, vectorwise_product
from minillm.quantization.model import METHODS, model_size_bytes, quantize
from minillm.quantization.number_formats import (
    BF16,
    E4M3,
    E5M2,
    FORMATS,
    FP16,
    FP32,
    FloatFields,
    FloatFormat,
    bit_fields,
    decode,
    decode_plain,
    encode,
    encode_plain,
    rounded,
    take_apart,
)
from minillm.quantization.packed import PackedLinear, load_packed
from minillm.quantization.packing import pack_codes, unpack_codes
from minillm.quantization.zeropoint import ZeropointQuantized, zeropoint_quantize

__all__ = [
    "BF16",
    "E4M3",
    "E5M2",
    "FORMATS",
    "FP16",
    "FP32",
    "METHODS",
    "NF4_CODEBOOK",
    "AbsmaxQuantized",
    "BlockwiseQuantized",
    "DoubleQuantLinear",
    "DoubleQuantized",
    "FloatFields",
    "FloatFormat",
    "FourBitLinear",
    "GroupLinear",
    "GroupQuantized",
    "Int8Linear",
    "LLMInt8Linear",
    "PackedLinear",
    "QuantizedLinear",
    "ZeropointQuantized",
    "absmax_quantize",
    "awq_clip",
    "awq_scales",
    "bit_fields",
    "blockwise_quantize",
    "decode",
    "decode_plain",
    "double_quantize",
    "dynamic_codebook",
    "encode",
    "encode_plain",
    "gptq",
    "load_packed",
    "load_quantized",
    "model_size_bytes",
    "normal_codebook",
    "outlier_columns",
    "pack_codes",
    "quantile_codebook",
    "quantize",
    "round_to_nearest",
    "rounded",
    "rounded_inputs",
    "save_quantized",
    "take_apart",
    "uniform_codebook",
    "unpack_codes",
    "vectorwise_product",
    "zeropoint_quantize",
]
