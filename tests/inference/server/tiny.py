"""A tiny chat model behind a server of this process."""

import time
from dataclasses import replace

from openai import OpenAI

from minillm.inference import Engine
from minillm.models import Llama, LlamaConfig
from minillm.tokenizer import BPETokenizer, Tokenizer

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SHORT = 20.0  # seconds that any answer may take on a busy machine


# shows functions, calls and results as Qwen's does
TOOLS_TEMPLATE = (
    "{% if tools %}<|im_start|>system\nTools:{% for t in tools %}\n{{ t | tojson }}{% endfor %}<|im_end|>\n{% endif %}"
    "{% for m in messages %}{% if m.role == 'tool' %}<|im_start|>user\n<tool_response>\n{{ m.content }}\n"
    "</tool_response><|im_end|>\n{% else %}<|im_start|>{{ m.role }}"
    "{% if m.content %}{{ '\n' + m.content }}{% endif %}"
    '{% for c in m.tool_calls or [] %}{{ \'\n<tool_call>\n{"name": "\' + c.function.name + \'", "arguments": \' }}'
    "{{ c.function.arguments | tojson }}{{ '}\n</tool_call>' }}{% endfor %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tiny_model(window=128, template=TEMPLATE):
    """(model, tokenizer): what it says means nothing, and its tokens are bytes of Hangul, too."""
    tokenizer = BPETokenizer.train(
        ["user and assistant, 안녕하세요"],
        300,
        special_tokens=["<|im_start|>", "<|im_end|>", "<tool_call>"],
        min_frequency=1,
    )
    added = [replace(t, special=t.content != "<tool_call>") for t in tokenizer.added_tokens.values()]
    tokenizer = Tokenizer(tokenizer.model, added, tokenizer.layout)  # a marker is text, as Qwen's is
    tokenizer.chat_template = template
    config = LlamaConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=window, eos_token_id=tokenizer.token_to_id("<|im_end|>"),
    )  # fmt: skip
    return Llama(config, seed=1), tokenizer


def tiny_engine(window=128, template=TEMPLATE, **options):
    """An engine that has run once: what is compiled at first is compiled."""
    engine = Engine(
        *tiny_model(window, template), **{"block_size": 8, "num_blocks": 200, "max_batch_size": 16} | options
    )
    engine.generate([[1]])
    return engine


def client_of(server, key="none"):
    """The openai client, unmodified, that asks once."""
    return OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0, timeout=SHORT)


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
