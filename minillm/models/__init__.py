"""Whole models on the parts of minillm.nn: GPT-2, Llama and its family, T5, BART."""

from minillm.models.auto import load_model
from minillm.models.bart import BART, BARTBody, BARTConfig
from minillm.models.base import PretrainedModel
from minillm.models.config import ModelConfig
from minillm.models.decoder import CausalLM, DecoderBody
from minillm.models.gpt2 import GPT2, GPT2Body, GPT2Config
from minillm.models.heads import ModelWithHead
from minillm.models.llama import Llama, LlamaBody, LlamaConfig
from minillm.models.llama2c import load_llama2c
from minillm.models.outputs import BodyOutput, CausalLMOutput, Seq2SeqLMOutput, Seq2SeqOutput
from minillm.models.seq2seq import Seq2SeqBody, Seq2SeqEncoder, Seq2SeqLM
from minillm.models.t5 import T5, T5Body, T5Config, T5Encoder

__all__ = [
    "BART",
    "GPT2",
    "T5",
    "BARTBody",
    "BARTConfig",
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
    "Seq2SeqBody",
    "Seq2SeqEncoder",
    "Seq2SeqLM",
    "Seq2SeqLMOutput",
    "Seq2SeqOutput",
    "T5Body",
    "T5Config",
    "T5Encoder",
    "load_llama2c",
    "load_model",
]
