"""A tiny model of our own for every task, with a tokenizer that was trained on a few texts."""

from functools import lru_cache

import torch

from minillm.models import GPT2, BERTConfig, GPT2Config, bert
from minillm.tokenizer import BPETokenizer, WordPieceTokenizer

TEXTS = [
    "서울에 새 공원이 생겼다",
    "비가 온다",
    "the team won the last game of the season and the fans were happy",
    "금리가 내렸다",
    "hello",
    "김민수가 부산에서 책방을 열었다고 이웃이 전했다",
]
TAGS = {0: "O", 1: "B-PER", 2: "I-PER", 3: "B-LOC"}


@lru_cache(maxsize=1)
def wordpiece():
    return WordPieceTokenizer.train(TEXTS * 10, 300, lowercase=False)


@lru_cache(maxsize=1)
def bytes_():
    return BPETokenizer.train(TEXTS * 10, 320, ("<|endoftext|>",))


def spread(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3 + ("norm" in name))
    return model.eval()


def encoder(head="ForSequenceClassification", **config):
    sizes = {
        "vocab_size": wordpiece().vocab_size, "hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 3, "max_position_embeddings": 48,
    }  # fmt: skip
    return spread(getattr(bert, f"BERT{head}")(BERTConfig(**sizes | config)))


def decoder(**config):
    return spread(GPT2(GPT2Config(vocab_size=320, n_embd=24, n_layer=2, n_head=3, n_positions=64, **config)))
