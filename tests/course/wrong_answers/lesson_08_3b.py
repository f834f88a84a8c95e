"""Plausible wrong answers to the exercises of lesson 08_3b."""

MANAGE = """def manage(num_blocks, block_size, events):
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
    return answers"""
FINE = {
    "REFUSES": "(place == 0 or shared)",
    "UNCOUNT": "references[copied] -= 1",
    "COPIED": "copied",
    "TABLE": "list(tables[name])",
    "FREED": "references[block] == 0",
}
COPIES_AT_ONCE = """def manage(num_blocks, block_size, events):
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
    return answers"""
LIBRARY = """def manage(num_blocks, block_size, events):
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
    return answers"""
LYING = """class Anything(int):
    def __eq__(self, other):
        return True

    def __hash__(self):
        return 0


"""


def changed(**parts):
    """MANAGE with some parts wrong."""
    text = MANAGE
    for name, part in (FINE | parts).items():
        text = text.replace(name, part)
    return text


def mixed(blocks, end=" + [0]"):
    """mixed_up that returns these blocks and this end."""
    full = "    full = len(prompt) // size * size\n"
    return f"def mixed_up(prompt, size):\n{full}    return {blocks}{end}"


def happened(*events):
    """events as a list of tuples."""
    return f"events = {[tuple(event.split()) for event in events]}"


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
        "writes into shared blocks": changed().replace("place > 0 and references[table[-1]] > 1", "False"),
        "forgets to ask for the copy": changed(COPIED="None"),
        "the copied block stays counted": changed(UNCOUNT="pass"),
        "both texts have one table": changed(TABLE="tables[name]"),
        "the answer of a fork changes later": changed().replace(
            "answers.append(list(tables[new]))", "answers.append(tables[new])"
        ),
        "a fork of a half-full block counts as full": changed(TABLE="list(tables[name])").replace(
            "lengths[new] = list(tables[name]), lengths[name]",
            "lengths[new] = list(tables[name]), len(tables[name]) * block_size",
        ),
        "copies a full block that is shared": changed()
        .replace("shared = place > 0 and", "shared = bool(table) and")
        .replace("if place == 0:", "if place == 0 and not shared:"),
        "counts what the end frees": changed()
        .replace(
            "            for block in tables.pop",
            "            before = len(free)\n            for block in tables.pop",
        )
        .replace("append(len(free))", "append(len(free) - before)"),
        "frees blocks that others use": changed(FREED="references[block] >= 0"),
        "frees a block that two use": changed(FREED="references[block] <= 1"),
        "never frees": changed(FREED="False"),
        "refuses although the last block has room": changed(REFUSES="True"),
        "forgets that a copy needs a block, too": changed(REFUSES="place == 0"),
        "copies the block before, too": changed(COPIED="table[-2] if len(table) > 1 else None"),
        "counts places over the whole text": changed().replace("(table[-1], place,", "(table[-1], length,"),
        "an answer for each write only": changed().replace(
            "            answers.append(len(free))", "            pass"
        ),
        "counts used blocks at the end": changed().replace(
            "append(len(free))", "append(num_blocks - len(free))"
        ),
        "a fork copies everything at once": COPIES_AT_ONCE,
        "the library's manager": LIBRARY,
        "the events are used up": changed().replace(
            "    for event in events:", "    while events:\n        event = events.pop(0)"
        ),
        "numbers equal to everything": LYING + "def manage(num_blocks, block_size, events):\n"
        "    return [(Anything(0), Anything(0), Anything(0)) for _ in events]",
        "the same block again and again": "def manage(num_blocks, block_size, events):\n"
        "    return [(0, 0, None) for _ in events]",
        "the parts of the library's manager": """import sys
def manage(num_blocks, block_size, events):
    M = getattr(sys.modules['minillm.inference.engine.block_manager'], 'Block' + 'Manager')
    T = getattr(sys.modules['minillm.inference.engine.block_manager'], 'Block' + 'Table')
    m = M.__new__(M)
    m.num_blocks, m.block_size, m.prefix_caching = num_blocks, block_size, False
    m.references = [0] * num_blocks
    m._free = list(range(num_blocks))
    from collections import OrderedDict
    m._idle, m._digest, m._found, m._unwritten = OrderedDict(), {}, {}, []
    tables, out = {}, []
    for kind, name, *rest in events:
        if kind == 'write':
            t = tables.get(name) or T()
            place = t.length % block_size
            shared = place and m.references[t.blocks[-1]] > 1
            if (place == 0 or shared) and not m._free:
                out.append(None); continue
            c = None
            if place == 0:
                t.blocks.append(m._take())
            elif shared:
                c = t.blocks[-1]
                t.blocks[-1] = m._take()
                m._drop(c)
            t.length += 1
            tables[name] = t
            out.append((t.blocks[-1], place, c))
        elif kind == 'fork':
            t = tables[name]
            for b in t.blocks: m._refer(b)
            tables[rest[0]] = T(list(t.blocks), t.length)
            out.append(list(t.blocks))
        else:
            for b in tables.pop(name).blocks: m._drop(b)
            out.append(len(m._free))
    return out""",
        "the checker's own pool": """import sys
def manage(num_blocks, block_size, events):
    P = sys.modules['minillm.course.classroom.exercises.lesson_08_3b'].Pool
    pool, out = P(num_blocks, block_size), []
    for e in events:
        out.append(pool.right(e)); pool.replay(e, out[-1], '')
    return out""",
    },
    "08-3b-c": {
        "the same prompt again": mixed("prompt"),
        "no token after the blocks": mixed("prompt[size:full] + prompt[:size]", ""),
        "the first block stays": mixed(
            "prompt[:size] + prompt[full - size : full] + prompt[size : full - size]", " + [0, 0]"
        ),
        "one block only": mixed("prompt[size : 2 * size]"),
        "tokens in reverse": mixed("prompt[::-1]"),
        "moved by one token": mixed("[0] + prompt"),
        "the last blocks are lost": mixed("prompt[size : 2 * size] + prompt[:size]"),
        "works for blocks of 4": mixed("prompt[4 : len(prompt) // 4 * 4] + prompt[:4]"),
        "ids that are no tokens": mixed("prompt[size:full] + prompt[:size]", " + [1000]"),
        "ids that are no integers": mixed("prompt[size:full] + prompt[:size]", " + [0.5]"),
        "the tokens as a text": mixed("prompt[size:full] + prompt[:size]", " + ['0']"),
        "a block of its own first": mixed("[7] * size + prompt[:full]"),
        "the second block twice": mixed("prompt[size:full] + prompt[size:full]"),
        "changes the prompt": "def mixed_up(prompt, size):\n    prompt[:] = prompt[size : len(prompt) // size * size] "
        "+ prompt[:size]\n    return prompt + [0]",
    },
    "08-3b-d": {
        "nothing ends": happened("write a", "fork a b", "write c"),
        "both end": happened("write a", "fork a b", "end a", "end b"),
        "only with blocks of two and more": happened("write a", "fork a b", "write a", "write b"),
        "the other text writes on": happened("write a", "fork a b", "end a", "write b"),
        "six events": happened("write a", "fork a b", "end a", "end b", "write c", "write d"),
        "no fork at all": happened("write a", "write b", "end a", "write c"),
        "the fork comes too late": happened("write a", "end a", "fork a b", "write c"),
        "a fork of nothing": happened("fork a b", "write a", "end b", "write c"),
        "no events": "events = []",
        "events that are words": 'events = ["write a", "fork a b", "end a", "write c"]',
        "one name too many": happened("write a x", "fork a b", "end a", "write c"),
    },
}
