"""A language model fills in the RAG figures: it says yes or no (LLM을 통한 RAG 평가).

    support   P(Yes) against P(No) that the contexts say a statement        faithfulness, context recall
    useful    P(Yes) that a context helps to reach the reference            context precision (>= .5 is a yes)
    ask_back  a question that the answer would be an answer to              answer relevance

The probability of the word is read (`choose`), nothing is written but the question: a small model that always says Yes
still says it more surely of some statements. A threshold on it comes from data.

Book: 13.3.5 RAG 평가. Paper: Es et al. 2024 (RAGAS). Held against: scripted verdicts. Leaves out: ragas' few-shot
examples, and statements rewritten by the model: statements here are sentences (`statements_of`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from minillm._checks import check_text, describe, is_listing
from minillm.apps.judging.judges import asked
from minillm.apps.rag.sentences import sentence_spans
from minillm.inference.chat import ChatModel

SUPPORT = (
    "Passage:\n{context}\n\nStatement: {statement}\n\n"
    "Does the passage say that the statement is true? Reply with Yes or No and nothing else."
)
USEFUL = (
    "Question: {question}\nAnswer: {reference}\n\nPassage: {context}\n\n"
    "Does the passage help to give this answer? Reply with Yes or No and nothing else."
)
ASK = "Write the one question that this text answers, and nothing else.\n\nText: {answer}"


def support_by(chat: ChatModel) -> Callable[[str, Sequence[str]], float]:
    """support(statement, contexts) for `faithfulness` and `context_recall`: the probability of Yes against No."""

    def support(statement: str, contexts: Sequence[str]) -> float:
        check_text("statement", statement)
        if isinstance(contexts, str) or not is_listing(contexts) or not len(contexts):
            raise ValueError(f"contexts must be a list of texts, one at least, got {describe(contexts)}")
        joined = "\n".join(check_text("contexts", one) for one in contexts)
        return says_yes(chat, SUPPORT.format(context=joined, statement=statement))

    return support


def useful(chat: ChatModel, question: str, reference: str, context: str) -> float:
    """The probability that a context helps to answer the question as the reference does."""
    for name, text in (("question", question), ("reference", reference), ("context", context)):
        check_text(name, text)
    return says_yes(chat, USEFUL.format(question=question, reference=reference, context=context))


def ask_back(chat: ChatModel, answer: str) -> str:
    """The question that a chat model thinks was asked. ValueError for an empty reply."""
    said = chat.chat(asked(ASK.format(answer=check_text("answer", answer)))).text.strip()
    if not said:
        raise ValueError("the model wrote no question")
    return said


def says_yes(chat: ChatModel, text: str) -> float:
    """P(Yes) among Yes and No."""
    return float(chat.choose(asked(text), ["Yes", "No"])[1][0])


def statements_of(answer: str) -> list[str]:
    """The sentences of an answer, English or Korean; ValueError where there is none."""
    found = [answer[start:end] for start, end in sentence_spans(check_text("answer", answer))]
    if not found:
        raise ValueError(f"the answer must say something, got {describe(answer)}")
    return found
