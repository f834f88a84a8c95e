"""Plausible wrong answers to the exercises of lesson 08_3b."""

MANAGE = '''def manage(num_blocks, block_size, events):
    free, references = list(range(num_blocks)), [0] * num_blocks
    tables, lengths, answers = {}, {}, []

    def take():
        block = free.pop()
        references[block] = 1
        return block

    for event in events:
        kind, name = event[:2]
        if kind == "write":
            table, length = tables.get(name, []), lengths.get(name, 0)
            place, copied = length % block_size, None
            shared = place > 0 and references[table[-1]] > 1
            if not free and REFUSES:
                answers.append(None)
                continue
            if place == 0:
                table.append(take())
            elif shared:
                copied = table[-1]
                UNCOUNT
                table[-1] = take()
            tables[name], lengths[name] = table, length + 1
            answers.append((table[-1], place, COPIED))
        elif kind == "fork":
            new = event[2]
            tables[new], lengths[new] = TABLE, lengths[name]
            for block in tables[new]:
                references[block] += 1
            answers.append(list(tables[new]))
        else:
            for block in tables.pop(name):
                references[block] -= 1
                if FREED:
                    free.append(block)
            del lengths[name]
            answers.append(len(free))
    return answers'''
FINE = {
    "REFUSES": "(place == 0 or shared)",
    "UNCOUNT": "references[copied] -= 1",
    "COPIED": "copied",
    "TABLE": "list(tables[name])",
    "FREED": "references[block] == 0",
}
COPIES_AT_ONCE = '''def manage(num_blocks, block_size, events):
    free, tables, lengths, answers = list(range(num_blocks)), {}, {}, []
    for event in events:
        kind, name = event[:2]
        if kind == "write":
            place = lengths.get(name, 0) % block_size
            if place == 0:
                if not free:
                    answers.append(None)
                    continue
                tables.setdefault(name, []).append(free.pop())
            lengths[name] = lengths.get(name, 0) + 1
            answers.append((tables[name][-1], place, None))
        elif kind == "fork":
            tables[event[2]] = [free.pop() if free else 0 for _ in tables[name]]
            lengths[event[2]] = lengths[name]
            answers.append(tables[event[2]])
        else:
            free += tables.pop(name)
            del lengths[name]
            answers.append(len(free))
    return answers'''
LIBRARY = '''def manage(num_blocks, block_size, events):
    blocks, tables, answers = BlockManager(num_blocks, block_size), {}, []
    for event in events:
        kind, name = event[:2]
        if kind == "write":
            table = tables.get(name) or blocks.open([0])
            if blocks.needed(table, table.length + 1) > blocks.free_blocks:
                answers.append(None)
                continue
            tables[name] = table
            copies = blocks.reserve(table, table.length + 1)
            answers.append((table.blocks[-1], table.length % block_size, copies[0][0] if copies else None))
            table.length += 1
        elif kind == "fork":
            tables[event[2]] = blocks.fork(tables[name])
            answers.append(list(tables[event[2]].blocks))
        else:
            blocks.release(tables.pop(name))
            answers.append(blocks.free_blocks)
    return answers'''
LYING = '''class Anything(int):
    def __eq__(self, other):
        return True

    def __hash__(self):
        return 0


'''


def changed(**parts):
    """MANAGE with some parts wrong."""
    text = MANAGE
    for name, part in (FINE | parts).items():
        text = text.replace(name, part)
    return text


WRONG = {
    "08-3b-a": {
        "places in use, not empty": "prediction = [100, 2, 4, 2, 9, 28]",
        "counts places from 1": "prediction = [12, 3, 4, 2, 9, 28]",
        "nothing is shared": "prediction = [12, 2, 12, 2, 15, 28]",
        "every answer copies": "prediction = [12, 2, 4, 3, 9, 28]",
        "the partial block stays shared": "prediction = [12, 2, 4, 2, 7, 28]",
        "the common tokens of a block that is not full are found": "prediction = [12, 2, 4, 2, 9, 15]",
        "the third block is found": "prediction = [12, 2, 4, 2, 9, 12]",
        "numbers equal to everything": LYING + "prediction = [Anything(1)] * 6",
        "a number is missing": "prediction = [12, 2, 4, 2, 9]",
    },
    "08-3b-b": {
        "writes into shared blocks": MANAGE.replace("place > 0 and references[table[-1]] > 1", "False").replace(
            "REFUSES", "place == 0"
        ).replace("UNCOUNT", "pass").replace("COPIED", "None").replace("TABLE", FINE["TABLE"]).replace(
            "FREED", FINE["FREED"]
        ),
        "forgets to ask for the copy": changed(COPIED="None"),
        "the copied block stays counted": changed(UNCOUNT="pass"),
        "both texts have one table": changed(TABLE="tables[name]"),
        "frees blocks that others use": changed(FREED="references[block] >= 0"),
        "frees a block that two use": changed(FREED="references[block] <= 1"),
        "never frees": changed(FREED="False"),
        "refuses although the last block has room": changed(REFUSES="True"),
        "forgets that a copy needs a block, too": changed(REFUSES="place == 0"),
        "copies full blocks": changed().replace("            if place == 0:\n", "            if not table:\n", 1)
        .replace("shared = place > 0 and references[table[-1]] > 1", "shared = bool(table) and (place == 0 or references[table[-1]] > 1)"),
        "a fork copies everything at once": COPIES_AT_ONCE,
        "an answer for each write only": changed().replace("            answers.append(len(free))", "            pass"),
        "the library's manager": LIBRARY,
        "the events are used up": changed().replace("    for event in events:", "    while events:\n        event = events.pop(0)"),
        "counts places over the whole text": changed(COPIED="copied").replace("(table[-1], place, copied)", "(table[-1], length, copied)"),
        "numbers equal to everything": LYING + "def manage(num_blocks, block_size, events):\n    return [(Anything(0), Anything(0), Anything(0)) for _ in events]",
        "the same block again and again": "def manage(num_blocks, block_size, events):\n    return [(0, 0, None) for _ in events]",
    },
    "08-3b-c": {
        "the same prompt again": "def mixed_up(prompt, block_size):\n    return [*prompt, 0]",
        "no token after the blocks": "def mixed_up(prompt, block_size):\n    full = len(prompt) // block_size * block_size\n    return prompt[block_size:full] + prompt[:block_size]",
        "the first block stays": "def mixed_up(prompt, block_size):\n    full = len(prompt) // block_size * block_size\n    return prompt[:block_size] + prompt[full - block_size : full] + prompt[block_size : full - block_size] + [0, 0]",
        "one block only": "def mixed_up(prompt, block_size):\n    return prompt[block_size : 2 * block_size] + [0]",
        "tokens in reverse": "def mixed_up(prompt, block_size):\n    return prompt[::-1] + [0]",
        "moved by one token": "def mixed_up(prompt, block_size):\n    return [0] + prompt + [0]",
        "the last block is lost": "def mixed_up(prompt, block_size):\n    return prompt[block_size : 2 * block_size] + prompt[:block_size] + [0]",
        "works for blocks of 4": "def mixed_up(prompt, block_size):\n    full = len(prompt) // 4 * 4\n    return prompt[4:full] + prompt[:4] + [0]",
        "ids that are no tokens": "def mixed_up(prompt, block_size):\n    full = len(prompt) // block_size * block_size\n    return prompt[block_size:full] + prompt[:block_size] + [1000]",
        "changes the prompt": "def mixed_up(prompt, block_size):\n    del prompt[len(prompt) // block_size * block_size :]\n    prompt += prompt[:block_size]\n    del prompt[:block_size]\n    return prompt + [0]",
    },
    "08-3b-d": {
        "nothing ends": 'events = [("write", "a"), ("fork", "a", "b"), ("write", "c")]',
        "both end": 'events = [("write", "a"), ("fork", "a", "b"), ("end", "a"), ("end", "b")]',
        "only with blocks of two and more": 'events = [("write", "a"), ("fork", "a", "b"), ("write", "a"), ("write", "b")]',
        "six events": 'events = [("write", "a"), ("fork", "a", "b"), ("end", "a"), ("end", "b"), ("write", "c"), ("write", "d")]',
        "no fork at all": 'events = [("write", "a"), ("write", "b"), ("end", "a"), ("write", "c")]',
        "the fork has ended": 'events = [("write", "a"), ("end", "a"), ("fork", "a", "b"), ("write", "c")]',
        "a fork of nothing": 'events = [("fork", "a", "b"), ("write", "a"), ("end", "b"), ("write", "c")]',
        "no events": "events = []",
        "events that are words": 'events = ["write a", "fork a b", "end a", "write c"]',
    },
}
