"""Whole models on the parts of minillm.nn: GPT-2, Llama and its family."""

from minillm.models.auto import load_model
from minillm.models.base import PretrainedModel
from minillm.models.config import ModelConfig
from minillm.models.decoder import CausalLMOutput, DecoderLM
from minillm.models.gpt2 import GPT2, GPT2Config
from minillm.models.llama import Llama, LlamaConfig
from minillm.models.llama2c import load_llama2c

__all__ = [
    "GPT2",
    "CausalLMOutput",
    "DecoderLM",
    "GPT2Config",
    "Llama",
    "LlamaConfig",
    "ModelConfig",
    "PretrainedModel",
    "load_llama2c",
    "load_model",
]
