"""A tiny chat model behind a server of this process."""

import time

from minillm.inference import Engine
from minillm.models import Llama, LlamaConfig
from minillm.tokenizer import BPETokenizer

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SHORT = 20.0  # seconds that any answer may take on a busy machine


def tiny_model():
    """(model, tokenizer): what it says means nothing, and its tokens are bytes of Hangul, too."""
    tokenizer = BPETokenizer.train(
        ["user and assistant, 안녕하세요"],
        300,
        special_tokens=["<|im_start|>", "<|im_end|>"],
        min_frequency=1,
    )
    tokenizer.chat_template = TEMPLATE
    config = LlamaConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=128, eos_token_id=tokenizer.token_to_id("<|im_end|>"),
    )  # fmt: skip
    return Llama(config, seed=1), tokenizer


def tiny_engine(**options):
    """An engine that has run once: what is compiled at first is compiled."""
    engine = Engine(*tiny_model(), **{"block_size": 8, "num_blocks": 200, "max_batch_size": 16} | options)
    engine.generate([[1]])
    return engine


def all_free(server, engine, wait=SHORT):
    """Whether every block is free again before so many seconds are over."""
    end = time.monotonic() + wait
    while time.monotonic() < end:
        now = server.loop.stats
        busy = now["running"] + now["waiting"] + server.app.active
        if now["free_blocks"] == now["num_blocks"] and not busy:
            return True
        time.sleep(0.02)
    return False
