"""Whole models on the parts of minillm.nn: GPT-2, Llama and its family."""

from minillm.models.auto import load_model
from minillm.models.base import PretrainedModel
from minillm.models.config import ModelConfig
from minillm.models.decoder import CausalLM, DecoderBody
from minillm.models.gpt2 import GPT2, GPT2Body, GPT2Config
from minillm.models.heads import ModelWithHead
from minillm.models.llama import Llama, LlamaBody, LlamaConfig
from minillm.models.llama2c import load_llama2c
from minillm.models.outputs import BodyOutput, CausalLMOutput

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
    "ModelWithHead",
    "PretrainedModel",
    "load_llama2c",
    "load_model",
]
