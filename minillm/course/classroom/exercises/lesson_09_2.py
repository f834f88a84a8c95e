"""Checkers of lesson 09_2, LLM caches."""

import copy

import numpy as np

from minillm.apps.llm_cache import LLMCache, same_numbers
from minillm.course import exercise
from minillm.course.classroom.checkers import (
    Inputs,
    as_list,
    cases,
    copied_library,
    expect,
    plain,
    shown,
)
from minillm.search import TfIdf
from minillm.search.words import search_words

OWN = "build it yourself, with nothing of minillm"


def refuse_copies(answer, allowed=()):
    copied = copied_library(answer, allowed=allowed)
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"


# --- a day ---


def by_the_cache(calls, most, ttl):
    """What the lesson's cache does."""
    now = [0]
    cache = LLMCache(most=most, ttl=ttl, clock=lambda: now[0])
    ways = []
    for now[0], user, question in calls:
        how = cache.answer(question, lambda: "x", user).how
        ways.append("miss" if how == "made" else "hit")
    return ways


TOLD = [  # (calls, most, ttl, what decides)
    ([], 1, None, "no call"),
    ([(0, "kim", "a")], 1, 0, "one call"),
    ([(0, "kim", "a"), (0, "kim", "a")], 1, 0, "in the same second it is 0 seconds old, and ttl=0 allows that"),
    ([(0, "kim", "a"), (10, "kim", "a")], 5, 10, "after exactly ttl seconds an answer is still good"),
    ([(0, "kim", "a"), (11, "kim", "a"), (21, "kim", "a")], 5, 10, "made again at 11, it is good until 21"),
    ([(0, "kim", "a"), (8, "kim", "a"), (16, "kim", "a")], 5, 10, "a hit makes an answer no younger"),
    ([(0, "kim", "a"), (1, "lee", "a"), (2, "lee", "a")], 5, None, "nobody gets another user's answer"),
    ([(0, "a", "b c"), (1, "a b", "c"), (2, "a", "b c")], 5, None, "user and question are two things"),
    ([(t, "kim", q) for t, q in enumerate("abacab")], 2, None, "a hit makes an answer the most recently used one"),
    ([(t, "kim", q) for t, q in enumerate("abcab")], 2, None, "the oldest use goes first"),
    ([(0, "kim", "a"), (1, "lee", "b"), (2, "kim", "a")], 1, None, "most counts the answers of all users together"),
    (
        [(0, "kim", "a"), (9, "kim", "b"), (10, "kim", "a"), (12, "kim", "c"), (13, "kim", "b")], 2, 10,
        "what is too old is dropped before the least recently used: a is too old at 12, so b stays",
    ),
    ([(0, "김", "안녕"), (5, "김", "안녕 "), (6, "김", "안녕")], 3, None, "texts are compared as they are"),
    ([(0, "kim", "a"), (20, "kim", "a"), (21, "kim", "b"), (22, "kim", "c"), (23, "kim", "a")], 2, 10,
     "an answer that was made again has just been used"),
]  # fmt: skip


@exercise("09-2-a", points=3)
def replay(answer):
    """Hits and misses of a cache with a time to live and a size."""
    refuse_copies(answer)
    for calls, most, ttl, what in [
        *TOLD,
        *map(drawn_day, cases(30, room=(1, 2, 3, 50), ttl=(None, 0, 3, 12), long=(5, 40))),
    ]:
        expected, given = by_the_cache(calls, most, ttl), list(calls)
        found = plain(answer(given, most, ttl), "what replay returns")
        where = f"most={most}, ttl={ttl}, calls {shown(calls)} ({what})"
        expect(found, expected, hint=where)
        expect(given, calls, hint=f"calls must stay as they are: {where}")


def drawn_day(case):
    inputs, now, calls = Inputs(case.seed), 0, []
    for _ in range(case.long):
        now += inputs.integer(0, 3)
        calls.append((now, ("kim", "lee")[inputs.integer(0, 1)], "abcd"[inputs.integer(0, 3)]))
    return calls, case.room, case.ttl, "drawn"


# --- the semantic look-up ---

ASKED = [  # (kept, asked, threshold, expected, what decides)
    ([], [("kim", "c", [1.0])], 0.5, [None], "nothing is kept"),
    ([("kim", "c", [1.0], "x")], [], 0.5, [], "nothing is asked"),
    ([("kim", "c", [1.0, 0.0], "x")], [("kim", "c", [3.0, 4.0])], 0.6, ["x"], "0.6 is at least 0.6"),
    ([("kim", "c", [1.0, 0.0], "x")], [("kim", "c", [3.0, 4.0])], 0.61, [None], "0.6 is less than 0.61"),
    ([("kim", "c", [5.0, 5.0], "long"), ("kim", "c", [0.1, 0.0], "near")], [("kim", "c", [9.0, 1.0])], 0.1, ["near"],
     "a cosine does not know how long vectors are"),
    ([("lee", "c", [1.0, 0.0], "lee's")], [("kim", "c", [1.0, 0.0])], -1.0, [None], "another user's answer"),
    ([("kim", "d", [1.0, 0.0], "d's")], [("kim", "c", [1.0, 0.0])], -1.0, [None], "another context"),
    ([("kim", "c", [1.0, 0.0], "x"), ("kim", "c", [0.9, 0.1], "y")], [("kim", "c", [0.9, 0.1])], 0.5, ["y"],
     "the highest cosine wins, not the first one above the threshold"),
    ([("kim", "c", [0.9, 0.1], "y"), ("kim", "c", [0.0, 1.0], "x")], [("kim", "c", [0.9, 0.1])], -1.0, ["y"],
     "the highest cosine wins, not the last one"),
    ([("lee", "c", [1.0, 0.0], "lee's"), ("kim", "c", [1.0, 1.0], "own")], [("kim", "c", [1.0, 0.0])], 0.5, ["own"],
     "another user's better match hides nothing"),
    ([("kim", "c", [0.0, 0.0], "zero"), ("kim", "c", [-1.0, 0.0], "far")], [("kim", "c", [1.0, 0.0])], -1.0, ["far"],
     "a vector of zeros is similar to nothing"),
    ([("kim", "c", [1.0, 0.0], "x")], [("kim", "c", [0.0, 0.0])], -1.0, [None], "a vector of zeros, asked"),
    ([("kim", "c", [-1.0, 0.0], "x")], [("kim", "c", [1.0, 0.0])], -0.5, [None], "cosines may be negative"),
    ([("kim", "c", [1.0], "x")], [("kim", "c", [2.0]), ("lee", "c", [2.0]), ("kim", "c", [3.0])], 0.9, ["x", None, "x"],
     "several are asked"),
]  # fmt: skip


@exercise("09-2-b", points=3)
def look_up(answer):
    """The answer to the most similar kept question of the same user and context."""
    refuse_copies(answer)
    some = cases(40, kept=(1, 3, 9), width=(2, 5), threshold=(-1.0, 0.0, 0.5, 0.9), length=(0.01, 1.0, 100.0))
    for kept, asked, threshold, expected, what in [*ASKED, *filter(None, map(drawn_questions, some))]:
        given = copy.deepcopy([kept, asked])
        found = plain(answer(*given, threshold), "what look_up returns")
        where = f"kept {shown(kept)}, asked {shown(asked)}, threshold {threshold} ({what})"
        expect(found, expected, hint=where)
        expect(given, [kept, asked], hint=f"both lists must stay as they are: {where}")


def drawn_questions(case):
    """A case whose best cosine and threshold are no near things; None for one that has near ties."""
    inputs = Inputs(case.seed)

    def vector():
        return [inputs.integer(-9, 9) * case.length for _ in range(case.width)]

    kept = [
        (f"u{inputs.integer(0, 1)}", f"c{inputs.integer(0, 1)}", vector(), f"answer {n}")
        for n in range(case.kept)
    ]
    asked = [(f"u{inputs.integer(0, 1)}", f"c{inputs.integer(0, 1)}", vector()) for _ in range(4)]
    expected = []
    for user, context, one in asked:
        rows = [(cosine(one, two), text) for u, c, two, text in kept if (u, c) == (user, context)]
        rows = sorted((row for row in rows if row[0] is not None), reverse=True)
        tie = len(rows) > 1 and rows[0][0] - rows[1][0] < 1e-6
        if tie or any(abs(score - case.threshold) < 1e-6 for score, _ in rows):
            return None
        expected.append(rows[0][1] if rows and rows[0][0] >= case.threshold else None)
    return kept, asked, case.threshold, expected, "drawn"


def cosine(a, b):
    lengths = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    return float(np.dot(a, b)) / lengths if lengths else None


# --- one question or two ---


@exercise("09-2-c", points=2)
def confused(answer):
    """Two different questions with one vector."""
    pair = as_list(answer, "confused, two questions", 2)
    for one in pair:
        assert isinstance(one, str), f"a question is a text, got {shown(one)}"
        assert 4 <= len(one.split()) <= 60, (
            f"a question has 4 to 60 words, got {len(one.split())}: {shown(one)}"
        )
    in_order = [
        list(search_words(one)) for one in pair
    ]  # as the encoder reads them: a hyphen, a wide letter are nothing
    first, second = in_order
    assert first * max(1, len(second)) != second * max(
        1, len(first)
    ), (  # nor is it to say the question twice
        f"the words must differ in their order; they read {shown(first)} and {shown(second)}"
    )
    assert same_numbers(*pair), (
        "the two questions hold different numbers, so same_numbers would tell them apart"
    )
    vectors = TfIdf(tokenizer=search_words).fit(pair).transform(pair).toarray()
    similar = cosine(*vectors)
    assert similar is not None, "Words finds no word in one of the questions"
    assert similar >= 0.999, (
        f"the encoder tells them apart: the cosine is {similar:.3f}. What does a count not see?"
    )


# --- five caches ---


def scenes():
    """How often the model is asked in each of the lesson's scenes, by the cache itself."""
    counts = [by_the_cache([(0, "", q) for q in "abacba"], 2, None).count("miss")]
    counts.append(by_the_cache([(t, "", "a") for t in (0, 8, 16, 20)], 9, 10).count("miss"))
    talk = [one.split(":") for one in ["kim:a", "lee:a", "kim:a", "lee:b", "kim:b", "lee:a"]]
    counts.append(by_the_cache([(0, *one) for one in talk], 9, None).count("miss"))
    drawn, said = LLMCache(), []
    for question in "aab":
        drawn.get_or_create(question, lambda: said.append(1) or "x", params={"temperature": 0.7})
    counts.append(len(said))
    empty, replies = LLMCache(), ["", "x", "y"]
    for _ in range(3):
        empty.get_or_create("a", lambda: replies.pop(0))
    return [*counts, 3 - len(replies)]


HINTS = [
    "which answer was used longest ago when c comes?",
    "how old is the answer at second 16?",
    "one user's answer is none for the other; how many pairs of user and question are there?",
    "what does the cache do with an answer that was drawn?",
    "is an empty text kept?",
]


@exercise("09-2-d", points=2)
def made_in(answer):
    """How often the model is asked."""
    found = as_list(answer, "made_in", 5)
    for number, one, expected, hint in zip(range(1, 6), found, scenes(), HINTS):
        assert type(one) in (int, float), f"made_in holds numbers, got {shown(one)}"
        assert one == expected, f"scene {number}: you say {shown(one)}. Look again: {hint}"
