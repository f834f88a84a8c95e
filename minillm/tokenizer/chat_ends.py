"""Where an answer of a chat model ends. Which token that is, the model's template says.

Book 1.2.3 챗GPT의 등장.
"""

from __future__ import annotations

from typing import Any

from minillm.tokenizer.chat import apply_chat_template, known_roles


def turn_ends(tokenizer: Any) -> list[int]:
    """Ids that end an answer: what the template puts behind one, if it is a special token, and the tokenizer's end."""
    special = set(tokenizer.special_tokens)
    ends = {known_roles(tokenizer).get("eos_token")}
    said = [{"role": "user", "content": "question"}, {"role": "assistant", "content": "ANSWER"}]
    try:
        after = apply_chat_template(tokenizer, said, add_generation_prompt=False).rpartition("ANSWER")[2]
    except ValueError:  # a template that asks for more than that
        after = ""
    ends |= {
        next((one for one in sorted(special, key=len, reverse=True) if after.lstrip().startswith(one)), None)
    }
    return sorted(tokenizer.token_to_id(one) for one in ends & special)
