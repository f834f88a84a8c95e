"""The tour's last stage: a real model answers the reader's question in its own words, from the passage that was found.

    system: You answer questions from the given passage, in one short sentence.
    user:   Passage: ... Question: ...
    assistant:

SmolLM2-135M-Instruct goes through the same code as the model that the tour has trained: the tokenizer, the Llama, the
KV cache. It is only asked where it is already on this machine (`minillm fetch smollm2`): a tour downloads nothing. It
reads English only, and it is small: asked in this way for 12 invented facts, each with its passage, it gave 8, and the
other 4 wrong without a sign of doubt (tests/course/test_real_model.py).

Book: 1.3.4 LLM의 환각 현상을 대처하는 검색 증강 생성(RAG) 기술.
"""

from __future__ import annotations

from collections.abc import Callable

from minillm.course.tour.stages import Stage, stage
from minillm.data import Passage, available
from minillm.data.real_models import how_to_fetch
from minillm.inference import SamplingParams, apply_chat_template, generate
from minillm.models import load_model
from minillm.tokenizer import load_tokenizer

NAME = "smollm2"


def ask(question: str, passage: Passage | None, max_tokens: int, say: Callable[[str], None]) -> Stage | None:
    """The stage, or None where it cannot be: `say` gets why, in one line. max_tokens: of the answer; 0 for no stage."""
    if not max_tokens:
        return None
    if why := why_not(question, passage):
        say(why)
        return None
    try:
        return answer_in_words(question, passage, max_tokens)
    except (
        ValueError
    ) as error:  # a damaged file, a passage of more tokens than it reads: the tour ends well without
        say(f"a real model is not asked: {error}")
        return None


def why_not(question: str, passage: Passage | None) -> str:
    """Why the real model is not asked, in one line; "" when it is."""
    if passage is None:
        return "a real model is not asked: there is no passage to answer from"
    if not all(map(mostly_ascii, (question, passage.text))):
        return "a real model is not asked: the one there is reads English only"
    if not available(NAME):
        return f"{how_to_fetch(NAME)} brings a real model that answers in its own words (English only)"
    return ""


def mostly_ascii(text: str) -> bool:
    """Whether nine of ten letters are those of English; signs and digits say nothing about a language."""
    letters = [sign for sign in text if sign.isalpha()]
    return sum(letter.isascii() for letter in letters) >= 0.9 * len(letters)


@stage("real model", lesson="01_1", file="minillm/models/gguf.py")
def answer_in_words(question: str, passage: Passage, max_tokens: int) -> tuple:
    """What the real model says, always the likeliest token. value: the text."""
    model, tokenizer = load_model(NAME), load_tokenizer(NAME)
    ids = tokenizer.encode(apply_chat_template(tokenizer, messages(question, passage)))
    params = SamplingParams(max_tokens=max_tokens, temperature=0, stop=("\n\n",))  # a sentence is enough
    new = generate(model, ids, params, tokenizer=tokenizer)
    text = tokenizer.decode(new, skip_special_tokens=True).strip()
    if len(new) == max_tokens:
        text += " ..."
    return (
        text,
        f"{model.num_parameters() / 1e6:.0f}M weights",
        " ".join(text.split()),
        {
            "model": NAME,
            "text": text,
            "passage": passage.id,
            "prompt_tokens": len(ids),
            "new_tokens": len(new),
        },
    )


def messages(question: str, passage: Passage) -> list[dict[str, str]]:
    """The question with the passage in front of it. Eight forms were tried on the 12 facts: they gave 6 to 9 right, and
    this one, with 8, the shortest answers."""
    rule = "You answer questions from the given passage, in one short sentence."
    asked = f"Passage: {passage.text}\n\nQuestion: {question}"
    return [{"role": "system", "content": rule}, {"role": "user", "content": asked}]


def words(told: Stage) -> str:
    """The closing lines about the answer: who says it, from what, and how far to trust it."""
    figures = told.figures
    return (
        f"In the words of SmolLM2, a real model of {told.figure}, from that passage (English only, and small: check it "
        f"against the passage):\n-> {figures['text']}"
    )
