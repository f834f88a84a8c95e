"""Plausible wrong answers to the exercises of lesson 03_3."""

CUT = """
def wordpiece(word, vocab, prefix, longest):
    unknown = [("[UNK]", 0, len(word))]
    if len(word) > longest:
        return unknown
    found, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            token = (prefix if start else "") + word[start:end]
            if token in vocab:
                break
        else:
            return unknown
        found.append((token, start, end))
        start = end
    return found
"""

FIND = """
def find_answer(offsets, windows, start, end):
    first = next(number for number, (left, right) in enumerate(offsets) if left <= start < right)
    last = next(number for number, (left, right) in enumerate(offsets) if left < end <= right)
    return [
        (first - begin, last - begin) if begin <= first and last < stop else None for begin, stop in windows
    ]
"""

LEAKS = """
def leaks(train, test):
    def key(text):
        return " ".join(unicodedata.normalize("NFC", text).lower().split())

    known, found = {key(text) for text in train}, []
    for number, text in enumerate(test):
        if key(text) in known:
            found.append(number)
        known.add(key(text))
    return found
"""

TRAP = 'trap = (["ab", "abc", "##cd"], "abcd")'

RECTANGLE = """
def rectangle(pairs, width, stride, cls, sep, pad):
    rows = {{"input_ids": [], "token_type_ids": [], "attention_mask": [], "pair": []}}
    for number, (question, passage) in enumerate(pairs):
        room, start = {room}, 0
        while True:
            window = passage[start : start + room]
            first, second = {first}, {second}
            rows["input_ids"].append(first + second)
            rows["token_type_ids"].append({types})
            rows["attention_mask"].append([1] * len(first + second))
            rows["pair"].append({pair})
            if {last}:
                break
            start += {step}
    longest = {longest}
    for row in range(len(rows["pair"])):
        missing = longest - len(rows["input_ids"][row])
        {fill}
    return rows
"""
STRAIGHT = {
    "room": "width - len(question) - 3",
    "first": "[cls, *question, sep]",
    "second": "[*window, sep]",
    "types": "[0] * len(first) + [1] * len(second)",
    "pair": "number",
    "last": "start + room >= len(passage)",
    "step": "room - stride",
    "longest": 'max(map(len, rows["input_ids"]), default=0)',
    "fill": 'rows["input_ids"][row] += [pad] * missing; rows["token_type_ids"][row] += [0] * missing; '
    'rows["attention_mask"][row] += [0] * missing',
}


def rectangle(**changes):
    return RECTANGLE.format(**STRAIGHT | changes)


CUTS = {
    "the shortest match": CUT.replace("range(len(word), start, -1)", "range(start + 1, len(word) + 1)"),
    "## whatever the prefix is": CUT.replace("(prefix if", '("##" if'),
    "no prefix": CUT.replace('(prefix if start else "") + ', ""),
    "the prefix from the first token on": CUT.replace('(prefix if start else "")', "prefix"),
    "no limit": CUT.replace("len(word) > longest", "False"),
    "the limit is too long itself": CUT.replace("len(word) > longest", "len(word) >= longest"),
    "in small letters": CUT.replace("    found, start", "    word = word.lower()\n    found, start"),
    "found is kept from call to call": CUT.replace("longest):", "longest, found=[]):").replace(
        "found, start = [], 0", "start = 0"
    ),
    "a limit in bytes": CUT.replace("len(word) > longest", "len(word.encode()) > longest"),
    "any token that the rest begins with": """def wordpiece(word, vocab, prefix, longest):
    found, at = [], 0
    while at < len(word) <= longest:
        for token in sorted(vocab, key=len, reverse=True):
            letters = token.removeprefix(prefix) if at else token
            if letters and word.startswith(letters, at):
                break
        else:
            return [("[UNK]", 0, len(word))]
        found.append((token, at, at + len(letters)))
        at += len(letters)
    return found if len(word) <= longest else [("[UNK]", 0, len(word))]""",
    "a limit of 100": CUT.replace("len(word) > longest", "len(word) > 100"),
    "only the rest is unknown": CUT.replace(
        "            return unknown", '            return found + [("[UNK]", start, len(word))]'
    ),
    "one letter is unknown": CUT.replace(
        "            return unknown", '            token, end = "[UNK]", start + 1'
    ),
    "no unknown words": CUT.replace("            return unknown", "            return []"),
    "tokens without places": CUT.replace("(token, start, end)", "token"),
    "tokens without their prefix": CUT.replace("(token, start, end)", "(word[start:end], start, end)"),
    "lengths for ends": CUT.replace("(token, start, end)", "(token, start, end - start)"),
    "unknown without a place": CUT.replace("0, len(word))]", "0, 0)]"),
    "goes back when stuck": """def wordpiece(word, vocab, prefix, longest):
    def ways(start):
        if start == len(word):
            return []
        for end in range(len(word), start, -1):
            token = (prefix if start else "") + word[start:end]
            if token in vocab and (rest := ways(end)) is not None:
                return [(token, start, end), *rest]
    found = ways(0)
    return [("[UNK]", 0, len(word))] if found is None or len(word) > longest else found""",
    "the library's": """def wordpiece(word, vocab, prefix, longest):
    tokens = longest_match(word, dict.fromkeys(vocab), prefix)
    if tokens is None or len(word) > longest:
        return [("[UNK]", 0, len(word))]
    found, at = [], 0
    for token in tokens:
        size = len(token) - (len(prefix) if at else 0)
        found.append((token, at, at + size))
        at += size
    return found""",
    "tokens of four characters at most": CUT.replace(
        "range(len(word), start, -1)", "range(min(len(word), start + 4), start, -1)"
    ),
    "composes the word": CUT.replace(
        "    unknown =", '    word = unicodedata.normalize("NFC", word)\n    unknown ='
    ),
    "the other library's": """def wordpiece(word, vocab, prefix, longest):
    from tokenizers.models import WordPiece

    ids = {token: number for number, token in enumerate(["[UNK]", *sorted(vocab)])}
    model = WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=longest, continuing_subword_prefix=prefix)
    places = [0]
    for letter in word:
        places += [len(places) - 1] * (len(letter.encode()) - 1) + [places[-1] + 1]
    return [(one.value, *(len(word.encode()[:n].decode()) for n in one.offsets)) for one in model.tokenize(word)]""",
    "empties the vocabulary": CUT.replace(
        "        start = end\n", "        start = end\n        vocab.discard(token)\n"
    ),
}

TRAPS = {
    "greed spells it": 'trap = (["ab", "abc", "##cd", "##d"], "abcd")',
    "nothing spells it": 'trap = (["abc", "##cd"], "abcd")',
    "too short a word": 'trap = (["a", "ab", "##bc"], "abc")',
    "the first token is a letter": 'trap = (["a", "##b", "##bc", "##cd"], "abcd")',
    "no ##": 'trap = (["ab", "abc", "cd"], "abcd")',
    "the other way round": 'trap = ("abcd", ["ab", "abc", "##cd"])',
    "the word alone": 'trap = "abcd"',
    "a hash in the word": 'trap = (["##", "##ab", "##a", "##bc"], "##abc")',
}

WRONG = {
    "03-3-a": {name: f"{text}\n{TRAP}" for name, text in CUTS.items()}
    | {name: f"{CUT}\n{text}" for name, text in TRAPS.items()},
    "03-3-b": {
        "no room is kept for [SEP]": rectangle(room="width - len(question) - 2"),
        "one token too few": rectangle(room="max(1, width - len(question) - 4)"),
        "the width without special tokens": rectangle(room="width - len(question)"),
        "cuts the question, too": rectangle(first="[cls, *question[:3], sep]"),
        "no [SEP] between": rectangle(first="[cls, *question]"),
        "two [SEP] between": rectangle(first="[cls, *question, sep, sep]"),
        "no [SEP] at the end": rectangle(second="window"),
        "the first window only": rectangle(last="True"),
        "the stride is the step": rectangle(step="max(stride, 1)"),
        "no stride": rectangle(step="room"),
        "one token more is shared": rectangle(step="max(1, room - stride - 1)"),
        "a window that says nothing new": rectangle(last="start >= len(passage) - stride"),
        "the last window is moved back to be full": rectangle(
            step="min(room - stride, len(passage) - room - start)"
        ),
        "one type for all": rectangle(types="[0] * len(first + second)"),
        "the first [SEP] is of type 1": rectangle(types="[0] * (len(first) - 1) + [1] * (len(second) + 1)"),
        "the last [SEP] is of type 0": rectangle(types="[0] * len(first) + [1] * (len(second) - 1) + [0]"),
        "padding is of type 1": rectangle(
            fill=STRAIGHT["fill"].replace('_ids"][row] += [0]', '_ids"][row] += [1]')
        ),
        "the mask is 1 everywhere": rectangle(
            fill=STRAIGHT["fill"].replace('mask"][row] += [0]', 'mask"][row] += [1]')
        ),
        "zeros for padding": rectangle(fill=STRAIGHT["fill"].replace("[pad] *", "[0] *")),
        "padded to the width": rectangle(longest="width"),
        "not padded": rectangle(longest="0"),
        "padding in front": rectangle(
            fill='rows["input_ids"][row] = [pad] * missing + rows["input_ids"][row]; '
            'rows["token_type_ids"][row] = [0] * missing + rows["token_type_ids"][row]; '
            'rows["attention_mask"][row] = [0] * missing + rows["attention_mask"][row]'
        ),
        "a mask from the padding id": rectangle().replace(
            "    return rows",
            '    rows["attention_mask"] = [[int(one != pad) for one in row] for row in rows["input_ids"]]\n'
            "    return rows",
        ),
        "the number of the row": rectangle(pair='len(rows["pair"])'),
        "the passage comes first": rectangle(first="[cls, *window, sep]", second="[*question, sep]"),
        "no row for an empty passage": rectangle().replace("        while True:", "        while passage:"),
        "[CLS] is put into the question": rectangle(first="question.insert(0, cls) or [*question, sep]"),
        "the library's windows": rectangle(step="room - stride").replace(
            "        room, start",
            "        from minillm.tokenizer.truncation import windows\n\n"
            "        windows(len(passage), 5)\n        room, start",
        ),
    },
    "03-3-c": {
        "counted from the start of the passage": FIND.replace(
            "(first - begin, last - begin)", "(first, last)"
        ),
        "the last one not included": FIND.replace("last - begin)", "last - begin + 1)"),
        "a part is enough": FIND.replace("begin <= first and last < stop", "begin <= last and first < stop"),
        "the window's last token is in": FIND.replace("last < stop", "last <= stop"),
        "the window's first token is out": FIND.replace("begin <= first", "begin < first"),
        "windows without the answer are left out": FIND.replace(
            "(first - begin, last - begin) if begin <= first and last < stop else None for begin, stop in windows",
            "(first - begin, last - begin) for begin, stop in windows if begin <= first and last < stop",
        ),
        "tokens must begin where the answer does": FIND.replace("left <= start < right", "left == start")
        .replace("next(number", "next((number", 1)
        .replace("if left == start)", "if left == start), 0)"),
        "the token behind the answer": FIND.replace("left < end <= right", "left <= end <= right").replace(
            "last = next(number for number, (left, right) in enumerate(offsets)",
            "last = max(number for number, (left, right) in enumerate(offsets)",
        ),
        "ends belong to a token": FIND.replace("left <= start < right", "left <= start <= right"),
        "the last token may only begin in the answer": FIND.replace(
            "left < end <= right", "left <= end < right"
        )
        .replace("last = next(number", "last = next((number")
        .replace("if left <= end < right)", "if left <= end < right), len(offsets) - 1)"),
        "the answer must end where a token does": FIND.replace(
            "left < end <= right", "right >= end and right - end < 1"
        )
        .replace("last = next(number", "last = next((number")
        .replace("right - end < 1)", "right - end < 1), 0)"),
        "the first window only": FIND.replace("in windows\n", "in windows[:1]\n"),
        "the beginning is enough": FIND.replace("first and last < stop", "first < stop"),
        "the end is enough": FIND.replace("begin <= first and last < stop", "begin <= last < stop"),
        "tokens that touch the answer": """def find_answer(offsets, windows, start, end):
    found = []
    for a, b in windows:
        inside = [n for n in range(a, b) if start <= offsets[n][1] and offsets[n][0] <= end]
        whole = inside and offsets[inside[0]][0] <= start and end <= offsets[inside[-1]][1]
        found.append((inside[0] - a, inside[-1] - a) if whole else None)
    return found""",
        "(0, 0) for none": FIND.replace("else None", "else (0, 0)"),
        "characters for tokens": """def find_answer(offsets, windows, start, end):
    return [(start, end) if offsets[a][0] <= start and end <= offsets[b - 1][1] else None for a, b in windows]""",
        "in the order of the text": FIND.replace("in windows\n", "in sorted(windows)\n"),
        "every window is as wide as the first": FIND.replace(
            "last < stop", "last < begin + windows[0][1] - windows[0][0]"
        ),
        "an answer has five tokens at most": FIND.replace("last < stop", "last < min(stop, first + 5)"),
        "fails without windows": FIND.replace("    return [", "    windows[0]\n    return ["),
    },
    "03-3-d": {
        "as they are written": LEAKS.replace(
            '" ".join(unicodedata.normalize("NFC", text).lower().split())', "text"
        ),
        "NFKC": LEAKS.replace("NFC", "NFKC"),
        "casefold": LEAKS.replace("lower", "casefold"),
        "no NFC": LEAKS.replace('unicodedata.normalize("NFC", text)', "text"),
        "no small letters": LEAKS.replace(".lower()", ""),
        "no blanks at all": LEAKS.replace('" ".join', '"".join'),
        "ends only": LEAKS.replace('" ".join(', "(").replace(".split()", ".strip()"),
        "one blank for one tab only": LEAKS.replace('" ".join(', "(").replace(
            ".split()", '.strip().replace("\\t", " ")'
        ),
        "repeats within the test stay": LEAKS.replace("        known.add(key(text))\n", ""),
        "empty texts are no texts": LEAKS.replace("if key(text) in known", "if text and key(text) in known"),
        "what was known stays": LEAKS.replace(
            "def leaks(train, test):", "KNOWN = set()\ndef leaks(train, test):"
        ).replace(
            "    known, found = {key(text) for text in train}, []",
            "    known, found = KNOWN, []\n    known |= {key(text) for text in train}",
        ),
        "the first of two is found, too": LEAKS.replace(
            "    known, found", "    keys = [key(t) for t in test]\n    known, found"
        ).replace("if key(text) in known:", "if key(text) in known or keys.count(key(text)) > 1:"),
        "the training rows": LEAKS.replace("enumerate(test)", "enumerate(train)").replace(
            "for text in train}", "for text in test}"
        ),
        "the texts themselves": LEAKS.replace("found.append(number)", "found.append(text)"),
        "a share": LEAKS.replace("return found", "return len(found) / max(1, len(test))"),
        "flags": LEAKS.replace("return found", "return [number in found for number in range(len(test))]"),
        "falling order": LEAKS.replace("return found", "return found[::-1]"),
        "whoever contains a training text": LEAKS.replace(
            "if key(text) in known", "if any(one in key(text) for one in known)"
        ),
        "the library's words": LEAKS.replace(
            '        return " ".join(unicodedata.normalize("NFC", text).lower().split())',
            '        import sys\n\n        return sys.modules["minillm.data.documents"].plain_words(text)',
        ),
        "changes the list": LEAKS.replace("    return found", "    test.clear()\n    return found"),
    },
}
