"""Whole models on the parts of minillm.nn: GPT-2, Llama and its family, BERT, RoBERTa, T5, BART, the 2017 one.

With a state instead of a KV cache: RNN, LSTM, GRU, S4D, Mamba, Mamba-2.
"""

from minillm.models.auto import load_model
from minillm.models.bart import BART, BARTBody, BARTConfig
from minillm.models.base import PretrainedModel
from minillm.models.bert import (
    BERT,
    BERTConfig,
    BERTForMaskedLM,
    BERTForQuestionAnswering,
    BERTForSequenceClassification,
    BERTForTokenClassification,
)
from minillm.models.clip import CLIPVision, CLIPVisionConfig
from minillm.models.clip_pair import CLIP, CLIPConfig, CLIPOutput
from minillm.models.clip_text import CLIPText, CLIPTextConfig
from minillm.models.clip_use import caption_vectors, class_vectors, picture_vectors, text_ids, zero_shot
from minillm.models.config import ModelConfig
from minillm.models.decoder import CausalLM, DecoderBody
from minillm.models.decoder_heads import GPT2ForSequenceClassification, LlamaForSequenceClassification
from minillm.models.e5s1 import load_e5s1
from minillm.models.encoder import EncoderBody
from minillm.models.gguf import load_gguf, save_gguf
from minillm.models.gpt2 import GPT2, GPT2Body, GPT2Config
from minillm.models.heads import ModelWithHead, TaskModel
from minillm.models.llama import Llama, LlamaBody, LlamaConfig
from minillm.models.llama2c import load_llama2c
from minillm.models.llava import LinearProjector, LLaVA, MLPProjector, expand_image_tokens, place_pictures
from minillm.models.llava_config import LLaVAConfig
from minillm.models.llava_seeing import Seeing
from minillm.models.llava_tiles import cut_tiles
from minillm.models.mamba import Mamba, MambaBody, MambaConfig
from minillm.models.mamba2 import Mamba2, Mamba2Body, Mamba2Config
from minillm.models.noise_schedule import NoiseSchedule
from minillm.models.outputs import (
    BodyOutput,
    CausalLMOutput,
    LogitsOutput,
    PooledOutput,
    QuestionAnsweringOutput,
    Seq2SeqLMOutput,
    Seq2SeqOutput,
)
from minillm.models.picture_processor import PictureProcessor
from minillm.models.prior import DiffusionPrior, PriorConfig, at_noise_scale
from minillm.models.recurrent import (
    GRU,
    LSTM,
    RNN,
    GRUBody,
    GRUConfig,
    LSTMBody,
    LSTMConfig,
    RNNBody,
    RNNConfig,
)
from minillm.models.roberta import (
    RoBERTa,
    RoBERTaConfig,
    RoBERTaForMaskedLM,
    RoBERTaForQuestionAnswering,
    RoBERTaForSequenceClassification,
    RoBERTaForTokenClassification,
)
from minillm.models.s4d import S4D, S4DBody, S4DConfig
from minillm.models.seq2seq import Seq2SeqBody, Seq2SeqEncoder, Seq2SeqLM
from minillm.models.stateful import StateBody
from minillm.models.t5 import T5, T5Body, T5Config, T5Encoder
from minillm.models.transformer import Transformer, TransformerConfig
from minillm.models.unet import UNet, UNetConfig
from minillm.models.vit import ViT, ViTConfig, ViTForImageClassification

__all__ = [
    "BART",
    "BERT",
    "CLIP",
    "GPT2",
    "GRU",
    "LSTM",
    "RNN",
    "S4D",
    "T5",
    "BARTBody",
    "BARTConfig",
    "BERTConfig",
    "BERTForMaskedLM",
    "BERTForQuestionAnswering",
    "BERTForSequenceClassification",
    "BERTForTokenClassification",
    "BodyOutput",
    "CLIPConfig",
    "CLIPOutput",
    "CLIPText",
    "CLIPTextConfig",
    "CLIPVision",
    "CLIPVisionConfig",
    "CausalLM",
    "CausalLMOutput",
    "DecoderBody",
    "DiffusionPrior",
    "EncoderBody",
    "GPT2Body",
    "GPT2Config",
    "GPT2ForSequenceClassification",
    "GRUBody",
    "GRUConfig",
    "LLaVA",
    "LLaVAConfig",
    "LSTMBody",
    "LSTMConfig",
    "LinearProjector",
    "Llama",
    "LlamaBody",
    "LlamaConfig",
    "LlamaForSequenceClassification",
    "LogitsOutput",
    "MLPProjector",
    "Mamba",
    "Mamba2",
    "Mamba2Body",
    "Mamba2Config",
    "MambaBody",
    "MambaConfig",
    "ModelConfig",
    "ModelWithHead",
    "NoiseSchedule",
    "PictureProcessor",
    "PooledOutput",
    "PretrainedModel",
    "PriorConfig",
    "QuestionAnsweringOutput",
    "RNNBody",
    "RNNConfig",
    "RoBERTa",
    "RoBERTaConfig",
    "RoBERTaForMaskedLM",
    "RoBERTaForQuestionAnswering",
    "RoBERTaForSequenceClassification",
    "RoBERTaForTokenClassification",
    "S4DBody",
    "S4DConfig",
    "Seeing",
    "Seq2SeqBody",
    "Seq2SeqEncoder",
    "Seq2SeqLM",
    "Seq2SeqLMOutput",
    "Seq2SeqOutput",
    "StateBody",
    "T5Body",
    "T5Config",
    "T5Encoder",
    "TaskModel",
    "Transformer",
    "TransformerConfig",
    "UNet",
    "UNetConfig",
    "ViT",
    "ViTConfig",
    "ViTForImageClassification",
    "at_noise_scale",
    "caption_vectors",
    "class_vectors",
    "cut_tiles",
    "expand_image_tokens",
    "load_e5s1",
    "load_gguf",
    "load_llama2c",
    "load_model",
    "picture_vectors",
    "place_pictures",
    "save_gguf",
    "text_ids",
    "zero_shot",
]
