"""Checkers of lesson 09_1, retrieval-augmented generation."""

import itertools
import math
import re

from minillm.apps.rag import VectorStoreIndex
from minillm.course import exercise
from minillm.course.classroom.checkers import (
    Inputs,
    as_floats,
    as_list,
    cases,
    copied_library,
    expect,
    forbid,
    plain,
    shown,
)
from minillm.data import Document
from minillm.search import HashedWords

OWN = "build it yourself, with nothing of minillm"
LIBRARY = (
    "minillm.apps.rag.budget.fit_sources",
    "minillm.apps.rag.citations.check_citations",
    "minillm.apps.rag.citations.CitationCheck.feed",
    "minillm.apps.rag.query_engine.QueryEngine.query",
)


def refuse_copies(answer):
    copied = copied_library(answer)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"


# --- a: what goes into the prompt ---


def expected_sources(found, cutoff, room):
    """(kept, dropped, below), by the definition."""
    first = {}
    for name, score, tokens in found:
        first.setdefault(name, (score, tokens))
    good = [name for name, (score, _) in first.items() if cutoff is None or score >= cutoff]
    kept = []
    for name in good:
        if sum(first[one][1] for one in kept) + first[name][1] <= room:
            kept.append(name)
    return [
        kept,
        [name for name in good if name not in kept],
        [name for name in first if name not in good],
    ]


@exercise("09-1-a", points=3)
def choose_sources(answer):
    """The sources that pass the cut-off and fit."""
    refuse_copies(answer)

    def check_case(found, cutoff, room, where):
        given = list(found)
        with forbid(OWN, *LIBRARY, answer=answer):
            told = as_list(
                answer(given, cutoff, room), "what choose_sources returns: (kept, dropped, below)", 3
            )
        expected = expected_sources(
            found, cutoff, room
        )  # after the call: an answer can read its caller's names
        for name, one, right in zip(("kept", "dropped", "below"), told, expected):
            expect(as_list(one, name), right, hint=f"{name}, {where}")
        expect(given, found, hint="the list that you are given must stay as it is")

    check_case([], 0.5, 10, "nothing was found")
    check_case(
        [("a", 0.9, 5), ("b", 0.5, 5)],
        0.5,
        10,
        "a score that is the cut-off passes, a room that is filled is",
    )
    check_case([("a", 0.2, 4), ("b", -0.3, 4)], -0.3, 5, "scores may be negative, and so may a cut-off")
    check_case([("a", 0.0, 4), ("b", -0.3, 4)], 0, 9, "a cut-off of 0 is one")
    check_case([("a", 0.9, 9), ("b", 0.8, 1), ("c", 0.1, 2)], 0.5, 9, "nothing is left for the second")
    check_case([("a", 0.9, 9), ("b", 0.9, 0)], None, 0, "without room a source of no tokens fits")
    check_case(
        [("a", 0.9, 9), ("a", 0.8, 1), ("b", 0.7, 3)], None, 5, "an id counts once, where it comes first"
    )
    check_case(
        [("a", 0.3, 1), ("a", 0.1, 1)],
        0.5,
        5,
        "an id counts once, where it comes first, below the cut-off too",
    )
    for case in cases(length=(1, 4, 9), cutoff=(None, 0.5, 0.0), room=(0, 12, 40), names=(3, 12)):
        inputs = Inputs(case.seed)
        found = [
            (f"n{inputs.integer(0, case.names)}", inputs.integer(-4, 10) / 10, inputs.integer(0, 15))
            for _ in range(case.length)
        ]
        found.sort(key=lambda one: -one[1])
        check_case(
            found, case.cutoff, case.room, f"found {shown(found)}, cutoff {case.cutoff}, room {case.room}"
        )


# --- b: RAG in one function ---


class World:
    """Texts with vectors of small whole numbers, and a model that says what it was asked."""

    def __init__(self, vectors, says):
        self.vectors, self.says, self.asked = vectors, says, 0

    def encode(self, texts):
        return [list(map(float, self.vectors[one])) for one in texts]

    def ask(self, prompt):
        """The prompt, with round brackets so that nothing in it is a citation, and then the answer."""
        self.asked += 1
        told = prompt.replace("[", "(").replace("]", ")")
        assert "(1) " in told, (
            f"the best source is [1] in the prompt, and without a source ask is not called; it got {shown(prompt)}"
        )
        return f"{told} => {self.says if self.asked == 1 else 'asked again'}"


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b)) / math.hypot(*a) / math.hypot(*b)


def expected_rag(question, texts, vectors, says, k, cutoff):
    """By the rules of the exercise."""
    scores = {place: cosine(vectors[question], vectors[one]) for place, one in enumerate(texts)}
    ranked = sorted(scores, key=scores.get, reverse=True)[:k]
    found = [place for place in ranked if scores[place] >= cutoff]
    if not found:
        return ["I do not know.", []]
    lines = [f"[{number}] {texts[place]}" for number, place in enumerate(found, 1)]
    prompt = "\n".join([*lines, "", f"Question: {question}"]).replace("[", "(").replace("]", ")")
    told, order = expected_citations(f"{prompt} => {says}", len(found))
    return [told, [found[number - 1] for number in order]]


def expected_citations(text, n):
    """(the text without citations of nothing, the numbers cited), without regular expressions over the whole."""
    order, out, at = [], "", 0
    while at < len(text):
        match = re.compile(r"\[([0-9]+)\]").match(text, at)
        if not match:
            out, at = out + text[at], at + 1
            continue
        number, at = int(match[1]), match.end()
        if 1 <= number <= n:
            order += [] if number in order else [number]
            out += match[0]
        elif out.endswith(" ") and text[match.start() - 1 : match.start()] == " ":
            out = out[:-1]
    return out, order


SAID = (
    "", "no source", "[1]", "It is long [2][9], wide [1].", "[3][1][3]", "[0] and [00]", "\n[9]\n[1]",
    "two  [9] blanks, [9] one,[9] none", "길다[2]. 넓다 [1]!", "a[b] [2 [ 1] [-1] [1", "[10] and [1] and [2]",
    "[1], [2, 3]", "[2] [2] [1] [12]",
)  # fmt: skip


@exercise("09-1-b", points=3)
def rag(answer):
    """From a question to an answer with sources."""
    refuse_copies(answer)

    def check_case(texts, vectors, says, k, cutoff):
        question = "얼마인가요? [1]" if len(texts) % 2 else "how long?"
        vectors, given = vectors | {question: vectors["question"]}, list(texts)
        where = f"texts {shown(texts)}, k {k}, cut-off {cutoff}, vectors {shown(vectors)}, the model says {says!r}"
        world = World(vectors, says)
        with forbid(OWN, *LIBRARY, answer=answer):
            told = as_list(
                answer(question, given, world.encode, world.ask, k, cutoff),
                "what rag returns: (answer, cited)",
                2,
            )
        expected = expected_rag(question, texts, vectors, says, k, cutoff)
        expect(
            told[0], expected[0], hint=f"the answer ([ and ] of the prompt are written as ( and )), {where}"
        )
        expect(as_list(told[1], "cited"), expected[1], hint=f"cited, {where}")
        expect(given, texts, hint="texts must stay as they are")

    some = {"question": [3, 1], "a": [3, 2], "b": [30, -5], "다리": [1, 9], "far": [-3, -1]}
    for says in SAID:
        check_case(["far", "a", "b", "다리"], some, says, 2, 0.1)
    check_case([], some, "[1]", 3, -1)
    check_case(["far"], some, "[1]", 1, -0.5)
    check_case(["far"], some, "[1]", 1, -1.5)
    check_case(["다리", "a"], some, "[2][1]", 9, 0.05)
    check_case(["다리", "a", "far"], some, "[1] [2] [3]", 3, 0.5)
    for case in cases(count=(1, 3, 8), width=(2, 5), k=(1, 2, 5, 20), cutoff=(-1.5, 0.0301, 0.5003)):
        inputs = Inputs(case.seed)
        vectors = {one: inputs.integers(case.width, -9, 9) for one in ["question", *"abcdefgh"[: case.count]]}
        scores = [
            cosine(vectors["question"], one)
            for one in vectors.values()
            if any(one) and any(vectors["question"])
        ]
        near = sorted([*scores, case.cutoff])
        if len(scores) < len(vectors) or min(b - a for a, b in itertools.pairwise(near)) < 1e-6:
            continue
        says = "".join(f" [{inputs.integer(0, 9)}] 다." for _ in range(4))
        check_case(inputs.shuffled("abcdefgh"[: case.count]), vectors, says, case.k, case.cutoff)


# --- c: a budget on paper ---


@exercise("09-1-c", points=2)
def budget(answer):
    """In the prompt, dropped, below, tokens."""
    found = as_floats(
        answer, "prediction = (in the prompt, dropped, below the cut-off, tokens of the prompt)", 4
    )
    room = 512 - 80 - 62
    kept = dropped = used = below = 0
    for score, tokens in ((0.81, 150), (0.64, 180), (0.52, 70), (0.40, 20), (0.39, 10)):
        if score < 0.40:
            below += 1
        elif used + tokens + 5 <= room:
            kept, used = kept + 1, used + tokens + 5
        else:
            dropped += 1
    hints = (
        "512 less the answer and less rule and question is left to the sources, each with 5 tokens of its own",
        "what passes the cut-off and does not fit",
        "a score that equals the cut-off passes",
        "rule, question and the sources that stand in it; the answer's tokens are kept free, not sent",
    )
    for number, (one, expected, hint) in enumerate(
        zip(found, (kept, dropped, below, 62 + used), hints), start=1
    ):
        expect(one, expected, 1e-9, f"number {number} of 4: {hint}")


# --- d: the poison ---

INN = [
    Document("inn", "The old inn", "The old inn has 12 rooms. A night at the old inn costs 53,000 won."),
    Document("여관", "오래된 여관", "오래된 여관에는 방이 12개 있다. 하룻밤 방값은 53,000원이다."),
    Document("bridge", "The bridge", "The bridge is 40 metres long."),
]
ASKED = {
    "How much does a night at the old inn cost?": "free",
    "오래된 여관의 하룻밤 방값은 얼마인가요?": "무료",
}
LONGEST = 160


@exercise("09-1-d", points=2)
def poison(answer):
    """A text that is quoted in place of the truth."""
    text = plain(answer)
    assert isinstance(text, str), f"poison is a text, got {shown(answer)}"
    assert text.strip(), "poison must hold text, got white space"
    assert len(text) <= LONGEST, f"poison may have {LONGEST} characters, got {len(text)}"
    index = VectorStoreIndex.from_documents([*INN, Document("poison", "", text)], HashedWords())
    engine = index.as_query_engine(similarity_top_k=3)
    for question, word in ASKED.items():
        told = engine.query(question)
        sources = [one.node.document_id for one in told.source_nodes]
        where = f"to {question!r} the system answers {told.response!r}, from {shown(sources)}"
        assert told.cited, f"your sentence must be quoted: {where}"
        assert sources[told.cited[0] - 1] == "poison", (
            f"your sentence must be quoted: {where}. It quotes the sentence that says most of the question's words"
        )
        assert word in told.response, f"the sentence that is quoted must contain {word!r}: {where}"
