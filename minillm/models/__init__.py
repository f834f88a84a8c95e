"""Whole models on the parts of minillm.nn: the transformer of 2017, GPT-2, Llama and its family."""

from minillm.models.auto import load_model
from minillm.models.base import PretrainedModel
from minillm.models.config import ModelConfig
from minillm.models.decoder import BodyOutput, CausalLM, CausalLMOutput, DecoderBody
from minillm.models.gpt2 import GPT2, GPT2Body, GPT2Config
from minillm.models.llama import Llama, LlamaBody, LlamaConfig
from minillm.models.llama2c import load_llama2c
from minillm.models.transformer import Transformer, TransformerConfig

__all__ = [
    "GPT2",
    "BodyOutput",
    "CausalLM",
    "CausalLMOutput",
    "DecoderBody",
    "GPT2Body",
    "GPT2Config",
    "Llama",
    "LlamaBody",
    "LlamaConfig",
    "ModelConfig",
    "PretrainedModel",
    "Transformer",
    "TransformerConfig",
    "load_llama2c",
    "load_model",
]
