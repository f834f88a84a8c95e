"""Checkers of lesson 08_4, serving."""

import json

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    Inputs,
    as_floats,
    as_list,
    cases,
    copied_library,
    expect,
    expect_parts,
    forbid,
    plain,
    shown,
)

MASK = "build the mask yourself"
GRAMMAR = tuple(
    f"minillm.inference.grammar.{name}"
    for name in (
        "guide.follow", "guide.Guide.__init__", "regular.automaton", "regular.without_dead_ends", "regular.smallest",
        "regular.from_table", "regular.both", "regular.matches",
    )
)  # fmt: skip
WORD = '"서울"'.encode()


@exercise("08-4-a", points=2)
def felt(answer):
    """Latency, TTFT, TPOT and throughput of two groups of users."""
    hints = (
        "1, the latency: the reading gives the first token, and 100 more follow",
        "2, the TTFT of the second group: it waits for a whole answer, then its prompts are read",
        "3, the TPOT: waiting comes before the first token, not between two tokens",
        "4, the throughput: 8 texts get a token each in every 0.05 seconds",
        "5: each group waits 5.2 seconds longer than the one before it",
    )
    for number, right, hint in zip(as_floats(answer, "the prediction", 5), (5.2, 5.4, 0.05, 160, 16), hints):
        expect(number, right, 1e-6, hint)


@exercise("08-4-b", points=3)
def token_mask(answer):
    """Tokens whose bytes can be followed, to where the text can still be finished."""
    copied = copied_library(answer)
    assert not copied, f"{MASK}: your answer uses {copied}"
    asked = [(*one, _ids(*one)) for one in _questions()]
    with forbid(MASK, *GRAMMAR, answer=answer):
        for moves, accepting, state, tokens, expected in asked:
            given = [dict(out) for out in moves], set(accepting), list(tokens)
            found = answer(given[0], given[1], state, given[2])
            hint = f"state {state} of {shown(moves)}, accepting {shown(accepting)}, tokens {shown(tokens)}"
            expect(as_list(found, "the ids that are allowed"), expected, hint=hint)
            for one, before in zip(given, (moves, accepting, tokens)):
                expect(one, before, hint="the arguments must stay as they are")


def _questions():
    """(moves, accepting, state, tokens) of an exercise: a syllable, borders in JSON, and random automata."""
    syllable = "한".encode()
    straight = [{syllable[0]: 1}, {syllable[1]: 2}, {syllable[2]: 3}, {}]
    parts = [syllable, syllable[:1], b"", syllable[1:], syllable[2:], syllable * 2, b"a"]
    quoted = [{34: 1}, {51: 2, 52: 2}, {34: 3}, {44: 0, 93: 4}, {}]  # "3","4"]
    borders = [b'"', b'",', b'","', b'","4', b'","5', b'"]', b'"]"', b"3", b""]
    found = [(straight, {3}, state, parts) for state in range(4)] + [(quoted, {4}, 2, borders)]
    word = "가람내 12월".encode()  # a long way to the end
    line = [{byte: at + 1} for at, byte in enumerate(word)] + [{}]
    pieces = [
        word,
        *(word[:cut] for cut in (1, 4, 7, 13)),
        word + b"a",
        word[3:],
        word[3:9],
        word[3:8] + b"a",
        b"",
    ]
    found += [(line, {len(word)}, state, pieces) for state in (0, 3)]
    for case in cases(20, states=(1, 2, 5, 9), letters=(1, 3), ends=(1, 2), longest=(1, 3, 6), dead=(0, 2)):
        inputs = Inputs(case.seed)
        moves, accepting = _automaton(case, inputs)
        alphabet = bytes([97, 98, 0xED, 0x95, 0x9C][: case.letters + 1])  # one letter leads nowhere
        tokens = [
            bytes(alphabet[n] for n in inputs.integers(inputs.integer(0, case.longest), 0, len(alphabet) - 1))
            for _ in range(12)
        ]
        some = inputs.shuffled(range(len(moves)))[:3]  # where the text may be
        found += [(moves, accepting, state, tokens) for state in some]
    return found


def _automaton(case, inputs):
    """Random states; the last `dead` of them lead only to each other."""
    letters = [97, 98, 0xED][: case.letters]
    size = case.states + case.dead
    moves = [{} for _ in range(size)]
    for state, out in enumerate(moves):
        first = case.states if state >= case.states else 0
        for letter in letters:
            if inputs.integer(0, 3):
                out[letter] = inputs.integer(first, size - 1)
    return moves, set(inputs.shuffled(range(case.states))[: case.ends])


def _ids(moves, accepting, state, tokens):
    """The ids that are allowed."""
    alive = set(accepting)
    for _ in moves:
        alive |= {start for start, out in enumerate(moves) if alive & set(out.values())}
    found = []
    for number, data in enumerate(tokens):
        at = [state]
        for byte in data:
            at = [moves[one][byte] for one in at if byte in moves[one]]
        if data and alive & set(at):
            found.append(number)
    return found


@exercise("08-4-c", points=3)
def event_stream(answer):
    """Events of whole characters only, each as soon as it can be sent."""
    copied = copied_library(answer)
    assert not copied, f"cut the text yourself: your answer uses {copied}"
    by_hand = (
        [],
        [b""],
        ["한".encode()[:2]],
        ["😀".encode()[:1]],
        [b"a", "😀".encode()[:3]],
        [b'"\n\n', b"\\", b"\x7f"],
        [
            "\ufeff가".encode(),
            "\u1112\u1161\u11ab".encode()[:4],
            "\u1112\u1161\u11ab\uff11\r\u2028\x00".encode()[4:],
        ],
        *([b"a" + "😀".encode()[:cut], "😀".encode()[cut:] + b"b"] for cut in (1, 2, 3)),
    )
    for tokens in by_hand:
        _events_are_right(answer, tokens)
    alphabets = ('ab\n"\\ ', "가나 한글", "é😀한a", "\n\n{}:,")
    for case in cases(30, length=(1, 4, 12), alphabet=alphabets, longest=(1, 2, 5), cut=(0, 1, 2)):
        inputs = Inputs(case.seed)
        data = inputs.text(case.length, case.alphabet).encode()
        data = data[: max(0, len(data) - case.cut)]
        tokens = []
        while data:
            size = inputs.integer(0, case.longest)
            tokens, data = [*tokens, data[:size]], data[size:]
        _events_are_right(answer, tokens)


def _events_are_right(answer, tokens):
    expected, left = [], b""
    for data in tokens:
        left += data
        whole = left.decode("utf-8", "ignore")  # only the end can be incomplete
        left = left[len(whole.encode()) :]
        expected += [whole] if whole else []
    expected += ["\ufffd"] if left else []
    given = list(tokens)
    events = as_list(answer(given), "the events")
    expect(given, tokens, hint="the list that you are given must stay as it is")
    hint = f"tokens {shown(tokens)}"
    assert events, f"{hint}: at least the event [DONE] must come, got none"
    for one in events:
        assert isinstance(one, bytes), f"{hint}: an event must be a bytes object, got {shown(one)}"
    expect(events[-1], b"data: [DONE]\n\n", hint=f"{hint}: the last event")
    expect([_text(one, hint) for one in events[:-1]], expected, hint=f"{hint}: the texts of the events")


def _text(event, hint):
    framed = event.startswith(b"data: ") and event.endswith(b"\n\n")
    assert framed, f"{hint}: an event is 'data: ...' and two line breaks, got {shown(event)}"
    body = event[6:-2]
    assert not set(body) & set(b"\r\n"), f"{hint}: the JSON stands on one line, got {shown(event)}"
    try:
        value = json.loads(body.decode())
    except ValueError as error:
        raise AssertionError(f"{hint}: {shown(body)} is no JSON in UTF-8: {error}") from None
    right = isinstance(value, dict) and list(value) == ["text"] and isinstance(value["text"], str)
    assert right, f'{hint}: the JSON must be an object {{"text": ...}}, got {shown(body)}'
    return value["text"]


@exercise("08-4-d", points=3)
def stuck(answer):
    """A vocabulary with which a mask leaves nothing, and what prevents it."""
    expect_parts(answer, "vocabulary", "path", "remedy")
    tokens = as_list(answer["vocabulary"], "vocabulary")
    for one in tokens:
        assert isinstance(one, bytes), f"vocabulary must hold bytes objects, got {shown(one)}"
        assert one, "no token of the vocabulary may be empty"
    assert 2 <= len(tokens) <= 8, f"vocabulary must have 2 to 8 tokens, got {len(tokens)}"
    assert len(set(tokens)) == len(tokens), f"the tokens must differ, got {shown(tokens)}"
    written = _along(tokens, as_list(answer["path"], "path"))
    assert written != WORD, "the path writes the whole text: it is not stuck"
    on = [one for one in tokens if WORD[len(written) :].startswith(one)]
    assert not on, f"after {shown(written)} the mask still allows {shown(on)}"
    ways = {0}  # how many bytes of the text can be written
    for at in range(len(WORD)):
        ways |= {at + len(one) for one in tokens if at in ways and WORD[at:].startswith(one)}
    assert len(WORD) in ways, "the whole text cannot be written with this vocabulary in any way"
    remedy = plain(answer["remedy"], "remedy")
    assert isinstance(remedy, str), f"remedy must be a letter, got {shown(remedy)}"
    letter = remedy.strip().lower()
    assert letter in {"a", "b", "c", "d"}, f"remedy must be 'a', 'b', 'c' or 'd', got {shown(remedy)}"
    assert letter == "b", f"remedy: {letter!r} is not it; would it give your path a token to go on with?"


def _along(tokens, path):
    assert path, "the path must hold at least one token"
    written = b""
    for number in path:
        whole = isinstance(number, int) and not isinstance(number, bool) and 0 <= number < len(tokens)
        assert whole, f"path must hold places in vocabulary, 0 to {len(tokens) - 1}, got {shown(number)}"
        assert WORD[len(written) :].startswith(tokens[number]), (
            f"after {shown(written)} the mask does not allow {shown(tokens[number])}"
        )
        written += tokens[number]
    return written
