"""Plausible wrong answers to the exercises of lesson 08_4."""

MASK = """def allowed(moves, accepting, state, tokens):
    alive = set(accepting)
    for _ in moves:
        alive |= {{s for s, out in enumerate(moves) if any(to in alive for to in out.values())}}
    found = []
    for number, data in enumerate(tokens):
        end = {start}
        for byte in {bytes}:
            end = None if end is None else moves[end].get(byte)
        if {test}:
            found.append({number})
    return found"""
FINE = {"start": "state", "bytes": "data", "test": "data and end in alive", "number": "number"}

EVENTS = """def events(tokens):
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    texts = {texts}
    found = [f"data: {{{json}}}\\n\\n".encode() for text in texts if {test}]
    return [*found, {done}]"""
STREAM = {
    "texts": '[decoder.decode(data) for data in tokens] + [decoder.decode(b"", final=True)]',
    "json": "json.dumps({'text': text})",
    "test": "text",
    "done": r'b"data: [DONE]\n\n"',
}

STUCK = """text = '"서울"'.encode()
vocabulary = {vocabulary}
path = {path}
remedy = "{remedy}\""""
GOOD = {"vocabulary": "[text[:4], text[4:], text[:5]]", "path": "[2]", "remedy": "b"}

WRONG = {
    "08-4-a": {
        "one token too many": "prediction = [0.2 + 101 * 0.05, 5.45, 0.05, 160, 16]",
        "the second group does not wait": "prediction = [5.2, 0.2, 0.05, 160, 16]",
        "waiting counted between tokens": "prediction = [5.2, 5.4, 0.102, 160, 16]",
        "throughput of one user": "prediction = [5.2, 5.4, 0.05, 20, 16]",
        "three groups": "prediction = [5.2, 5.4, 0.05, 160, 24]",
        "four numbers": "prediction = [5.2, 5.4, 0.05, 160]",
    },
    "08-4-b": {
        "from the start, not from the state": MASK.format(**FINE | {"start": "0"}),
        "only the first byte": MASK.format(**FINE | {"bytes": "data[:1]"}),
        "dead ends are allowed": MASK.format(**FINE | {"test": "data and end is not None"}),
        "must end the text": MASK.format(**FINE | {"test": "data and end in accepting"}),
        "special tokens are allowed": MASK.format(**FINE | {"test": "end in alive"}),
        "the tokens instead of their ids": MASK.format(**FINE | {"number": "tokens[number]"}),
        "characters instead of bytes": MASK.format(
            **FINE | {"bytes": 'data.decode("utf-8", "ignore").encode()'}
        ),
        "a way through one more state only": MASK.format(**FINE).replace(
            "for _ in moves", "for _ in range(1)"
        ),
        "four states ahead": MASK.format(**FINE).replace("for _ in moves", "for _ in range(4)"),
        "eight bytes of a token": MASK.format(**FINE | {"bytes": "data[:8]"}),
        "an accepting state ends the walk": MASK.format(**FINE).replace(
            "None if end is None else", "None if end is None or end in accepting and end != state else"
        ),
        "stops at the first that is not allowed": MASK.format(**FINE).replace(
            "            found.append(number)",
            "            found.append(number)\n        elif data:\n            break",
        ),
        "adds to the accepting states": MASK.format(**FINE).replace(
            "alive = set(accepting)", "alive = accepting"
        ),
        "empties the moves": MASK.format(**FINE).replace(
            "    return found", "    moves.clear()\n    return found"
        ),
        "the first place of an equal token": MASK.format(**FINE | {"number": "tokens.index(data)"}),
        "state 0 taken for none": MASK.format(**FINE | {"test": "data and end and end in alive"}),
        "sorts the tokens": MASK.format(**FINE).replace(
            "    found = []", "    tokens.sort()\n    found = []"
        ),
        "a set": MASK.format(**FINE).replace("return found", "return set(found)"),
        "remembers another automaton": "ALIVE = set()\n\n\n"
        + MASK.format(**FINE).replace("alive = set(accepting)", "alive = ALIVE\n    alive |= set(accepting)"),
        "a mask of booleans": MASK.format(**FINE).replace(
            "return found", "return [n in found for n in range(len(tokens))]"
        ),
        "the library's walk": """def allowed(moves, accepting, state, tokens):
    table = np.full((len(moves), 256), -1, np.int32)
    for number, out in enumerate(moves):
        for byte, to in out.items():
            table[number, byte] = to
    texts = sorted((data, number) for number, data in enumerate(tokens) if data)
    ends = np.empty(len(texts), np.int32)
    data = np.frombuffer(b"".join(text for text, _ in texts), np.uint8)
    starts = np.cumsum([0, *(len(text) for text, _ in texts)])
    follow(table, state, data, starts, np.zeros(len(texts), np.int64), ends)
    alive = set(accepting)
    for _ in moves:
        alive |= {s for s, out in enumerate(moves) if any(to in alive for to in out.values())}
    return sorted(number for (_, number), end in zip(texts, ends) if int(end) in alive)""",
    },
    "08-4-c": {
        "each token by itself": EVENTS.format(
            **STREAM | {"texts": '[data.decode("utf-8", "replace") for data in tokens]'}
        ),
        "two bytes held back at most": """def events(tokens):
    left, found = b"", []
    for data in tokens:
        left += data
        for cut in range(3):
            try:
                text = left[: len(left) - cut].decode()
            except UnicodeDecodeError:
                continue
            found += [text] if text else []
            left = left[len(left) - cut :]
            break
    found += ["\\ufffd"] if left else []
    return [f"data: {json.dumps({'text': text})}\\n\\n".encode() for text in found] + [b"data: [DONE]\\n\\n"]""",
        "nothing while a character is open": """def events(tokens):
    left, found = b"", []
    for data in tokens:
        left += data
        try:
            text, left = left.decode(), b""
        except UnicodeDecodeError:
            continue
        found += [text] if text else []
    found += ["\\ufffd"] if left else []
    return [f"data: {json.dumps({'text': text})}\\n\\n".encode() for text in found] + [b"data: [DONE]\\n\\n"]""",
        "one decoder for all answers": """DECODER = codecs.getincrementaldecoder("utf-8")("replace")


def events(tokens):
    texts = [DECODER.decode(data) for data in tokens]
    found = [f"data: {json.dumps({'text': text})}\\n\\n".encode() for text in texts if text]
    return [*found, b"data: [DONE]\\n\\n"]""",
        "what is cut off is dropped": EVENTS.format(
            **STREAM | {"texts": '[data.decode("utf-8", "ignore") for data in tokens]'}
        ),
        "the unfinished end is dropped": EVENTS.format(
            **STREAM | {"texts": "[decoder.decode(data) for data in tokens]"}
        ),
        "all at the end": EVENTS.format(
            **STREAM | {"texts": '[b"".join(tokens).decode("utf-8", "replace")]'}
        ),
        "a character each": EVENTS.format(
            **STREAM | {"texts": '[one for one in b"".join(tokens).decode("utf-8", "replace")]'}
        ),
        "characters normalised": EVENTS.format(
            **STREAM | {"json": "json.dumps({'text': __import__('unicodedata').normalize('NFKC', text)})"}
        ),
        "the byte order mark is dropped": EVENTS.format(**STREAM).replace('("utf-8")', '("utf-8-sig")'),
        "line ends as Python's": EVENTS.format(
            **STREAM | {"json": "json.dumps({'text': text.replace(chr(13), chr(10))})"}
        ),
        "empty events": EVENTS.format(**STREAM | {"test": "True"}),
        "blanks are left out": EVENTS.format(**STREAM | {"test": "text.strip()"}),
        "no JSON": EVENTS.format(**STREAM | {"json": "text"}),
        "a dict as Python writes it": EVENTS.format(**STREAM | {"json": "dict(text=text)"}),
        "JSON by hand": """def events(tokens):
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    texts = [decoder.decode(data) for data in tokens] + [decoder.decode(b"", final=True)]
    found = [b'data: {"text": "' + text.encode() + b'"}\\n\\n' for text in texts if text]
    return [*found, b"data: [DONE]\\n\\n"]""",
        "JSON on several lines": EVENTS.format(**STREAM | {"json": "json.dumps({'text': text}, indent=1)"}),
        "one line break": EVENTS.format(**STREAM).replace('\\n\\n".encode', '\\n".encode'),
        "no [DONE]": EVENTS.format(**STREAM | {"done": ""}),
        "[DONE] as JSON": EVENTS.format(**STREAM | {"done": r"""b'data: "[DONE]"\n\n'"""}),
        "another name": EVENTS.format(**STREAM | {"json": "json.dumps({'content': text})"}),
        "text, not bytes": EVENTS.format(**STREAM)
        .replace(".encode()", "")
        .replace('b"data: [DONE]', '"data: [DONE]'),
        "a question mark for each byte left": EVENTS.format(
            **STREAM
            | {
                "texts": '[decoder.decode(data) for data in tokens] + ["\\ufffd" * len(decoder.getstate()[0])]'
            }
        ),
        "empties the list": EVENTS.format(**STREAM).replace("    found =", "    tokens.clear()\n    found ="),
        "CP949": EVENTS.format(**STREAM | {"json": "json.dumps({'text': text}, ensure_ascii=False)"}).replace(
            ".encode()", '.encode("cp949", "replace")'
        ),
    },
    "08-4-d": {
        "not stuck": STUCK.format(**GOOD | {"path": "[0]"}),
        "the path is the whole text": STUCK.format(**GOOD | {"path": "[0, 1]"}),
        "an empty path": STUCK.format(**GOOD | {"path": "[]"}),
        "a token that the mask forbids": STUCK.format(**GOOD | {"path": "[1]"}),
        "cannot be written at all": STUCK.format(**GOOD | {"vocabulary": "[text[:4], text[5:], text[:5]]"}),
        "every byte is there": STUCK.format(
            **GOOD | {"vocabulary": "[*sorted({text[i : i + 1] for i in range(8)}), text[:5]]", "path": "[6]"}
        ),
        "one token twice": STUCK.format(**GOOD | {"vocabulary": "[text[:4], text[4:], text[:5], text[:4]]"}),
        "an empty token": STUCK.format(**GOOD | {"vocabulary": '[text[:4], text[4:], text[:5], b""]'}),
        "texts, not bytes": STUCK.format(**GOOD | {"vocabulary": "['\"서', '울\"', '\"서울']"}),
        "a place that is not there": STUCK.format(**GOOD | {"path": "[-1]"}),
        "temperature": STUCK.format(**GOOD | {"remedy": "a"}),
        "more tokens": STUCK.format(**GOOD | {"remedy": "c"}),
        "longer tokens": STUCK.format(**GOOD | {"remedy": "d"}),
    },
}
