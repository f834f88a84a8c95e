"""Checkers of lesson 08_3b, paged attention."""

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    Inputs,
    as_floats,
    as_list,
    cases,
    copied_library,
    expect,
    forbid,
    shown,
)
from minillm.inference import BlockManager

BUILD = "build the block manager yourself"
MANAGER = "minillm.inference.engine.block_manager.BlockManager"


@exercise("08-3b-a", points=2)
def counted(answer):
    """Blocks, places and copies, counted by hand."""
    hints = (
        "empty places: 100 tokens take 7 blocks of 16",
        "the place of token 50: 50 % 16",
        "the prompt of 60 tokens takes 4 blocks, whoever shares them",
        "copies: the first two writers share the last block with somebody, the third is alone with it",
        "at the end: 3 blocks are full of prompt and shared, the other blocks of 80 tokens are each answer's own",
        "computed: only full blocks are found, and of the first 45 tokens two blocks are full",
    )
    expected = (112 - 100, 50 % 16, 4, 2, 3 + 3 * 2, 60 - 32)
    for number, right, hint in zip(as_floats(answer, "the prediction", 6), expected, hints):
        expect(number, right, hint=hint)


# --- 08-3b-b ---


@exercise("08-3b-b", points=4)
def manage(answer):
    """A pool of blocks with copy-on-write: every text is read back after every event."""
    copied = copied_library(answer)
    assert not copied, f"{BUILD}: your answer uses {copied}"
    methods = ("__init__", "open", "reserve", "fork", "release", "_take", "_drop", "_refer")
    names = [f"{MANAGER}.{name}" for name in methods] + [
        f"{__name__}.Pool.{name}" for name in ("right", "replay")
    ]
    sizes = {"num_blocks": (1, 2, 5, 9, 24), "block_size": (1, 2, 3, 4, 7)}
    tried = [(case, _events(case)) for case in cases(40, **sizes, events=(0, 12, 60))]
    with forbid(BUILD, *names, answer=answer):
        said = [_asked(answer, case, events) for case, events in tried]
    for (case, events), answers in zip(tried, said):
        pool = Pool(case.num_blocks, case.block_size)
        for number, (event, one) in enumerate(zip(events, answers)):
            pool.replay(event, one, f"{case}: event {number}, {event}")


def _asked(answer, case, events):
    given = list(events)
    found = answer(case.num_blocks, case.block_size, given)
    answers = as_list(found, f"{case}: what manage returns", len(events))
    expect(given, events, hint=f"{case}: the events that you are given must stay as they are")
    return answers


def _events(case):
    """Random events that are legal whatever blocks are taken: a write that finds no block changes nothing."""
    inputs, pool, events = Inputs(case.seed), Pool(case.num_blocks, case.block_size), []
    for _ in range(case.events):
        living = sorted(pool.tables)
        dead = [name for name in ("가", "나", "c", "d", "e") if name not in living]
        kind = inputs.integer(0, 9)
        if kind == 0 and living:
            event = ("end", living[inputs.integer(0, len(living) - 1)])
        elif kind <= 2 and living and dead:
            event = ("fork", living[inputs.integer(0, len(living) - 1)], dead[0])
        else:
            some = living + dead[:1] if inputs.integer(0, 3) == 0 else living or dead[:1]
            event = ("write", some[inputs.integer(0, len(some) - 1)])
        pool.replay(event, pool.right(event), "")
        events.append(event)
    return events


class Pool:
    """What is true of a pool after each event, whichever free blocks an answer has taken."""

    def __init__(self, num_blocks, block_size):
        self.num_blocks, self.size = num_blocks, block_size
        self.tables, self.texts, self.memory, self.written = {}, {}, {}, 0

    def free(self):
        """Blocks in no table."""
        used = {block for table in self.tables.values() for block in table}
        return [block for block in range(self.num_blocks) if block not in used]

    def _shared(self, block):
        return sum(block in table for table in self.tables.values()) > 1

    def _needs(self, name):
        """(place of the next token, whether it takes a new block, the block to copy or None)."""
        place = len(self.texts.get(name, ())) % self.size
        if place == 0:
            return place, True, None
        last = self.tables[name][-1]
        return (place, True, last) if self._shared(last) else (place, False, None)

    def right(self, event):
        """One right answer to an event."""
        kind, name = event[:2]
        if kind == "fork":
            return list(self.tables[name])
        if kind == "end":
            kept = {block for other, table in self.tables.items() if other != name for block in table}
            return self.num_blocks - len(kept)
        place, new, copied = self._needs(name)
        if new and not self.free():
            return None
        return [self.free()[0] if new else self.tables[name][-1], place, copied]

    def replay(self, event, said, hint):
        """AssertionError unless `said` is right; then do what it says, and read all texts back."""
        kind, name = event[:2]
        if kind == "fork":
            expect(said, self.tables[name], hint=f"{hint}: the table of the new text (a copy of it?)")
            self.tables[event[2]], self.texts[event[2]] = list(self.tables[name]), list(self.texts[name])
        elif kind == "end":
            expect(said, self.right(event), hint=f"{hint}: how many blocks are free")
            del self.tables[name], self.texts[name]
        else:
            self._write(name, said, hint)
        for text, tokens in self.texts.items():
            table = self.tables[text]
            read = [self.memory[table[n // self.size], n % self.size] for n in range(len(tokens))]
            assert read == tokens, (
                f"{hint}: {text!r} reads the tokens {shown(read)}, it wrote {shown(tokens)}"
            )

    def _write(self, name, said, hint):
        place, new, copied = self._needs(name)
        if new and not self.free():
            expect(said, None, hint=f"{hint}: a block is needed and none is free")
            return
        assert said is not None, f"{hint}: got None, but " + (
            f"{len(self.free())} blocks are free"
            if new
            else "the text's last block has room, and nobody shares it"
        )
        block, at, source = as_list(said, f"{hint}: the answer (block, place, copied)", 3)
        expect(at, place, hint=f"{hint}: the place in the block")
        if new:
            assert type(block) is int, f"{hint}: a block is a whole number, got {shown(block)}"
            assert block in self.free(), (
                f"{hint}: a new block is needed; free are {shown(self.free())}, got block {shown(block)}"
            )
        else:
            expect(
                block,
                self.tables[name][-1],
                hint=f"{hint}: only this text uses its last block, which has room",
            )
        why = "the block before is full, or there is none" if place == 0 else "nobody shares the block"
        if copied is not None:
            why = "others use the text's last block, too"
        expect(source, copied, hint=f"{hint}: the block to copy ({why})")
        table = self.tables.setdefault(name, [])
        if copied is not None:
            for n in range(self.size):
                self.memory[block, n] = self.memory.get((copied, n))
            table[-1] = int(block)
        elif new:
            table.append(int(block))
        self.written += 1
        self.memory[int(block), place] = self.written
        self.texts.setdefault(name, []).append(self.written)


# --- 08-3b-c ---


class _Alone(BlockManager):
    """A block's name says nothing of what stands before it."""

    def chained(self, parent, ids, i):
        return super().chained(self.salt, ids, i)


@exercise("08-3b-c", points=2)
def mixed_up(answer):
    """A prompt that gets all blocks of another one, each of them wrongly."""
    for case in cases(blocks=(2, 3, 6), block_size=(1, 2, 4, 16), more=(0, 1)):
        inputs = Inputs(case.seed)
        size = case.block_size
        firsts = inputs.shuffled(range(100))[: case.blocks]  # so that no two blocks are equal
        prompt = [token for first in firsts for token in (first, *inputs.integers(size - 1, 0, 99))]
        prompt += inputs.integers(min(case.more, size - 1), 0, 99)
        given = list(prompt)
        found = as_list(answer(given, size), f"{case}: your prompt")
        expect(given, prompt, hint=f"{case}: the prompt that you are given must stay as it is")
        for token in found:
            known = type(token) is int and token in range(100)
            assert known, f"{case}: ids are integers from 0 to 99, got {shown(token)}"
        taken, served = _taken(_Alone, prompt, found, size)
        lacking = len(set(served) - set(taken))
        assert not lacking, (
            f"{case}: `Alone` finds {len(set(taken))} of the {len(served)} full blocks of {shown(prompt)} in "
            f"{shown(found)}; is there a token after the last block?"
        )
        right, _ = _taken(BlockManager, prompt, found, size)
        assert not right, (
            f"{case}: {shown(found)} begins like {shown(prompt)}: {len(right)} of the blocks are found by their "
            "chained names, too, and are right"
        )


def _taken(kind, prompt, other, size):
    """(blocks that a manager takes over for `other`, full blocks of `prompt`, which was served before)."""
    manager = kind(64, size)
    table = manager.open(prompt)
    manager.reserve(table, len(prompt))
    table.length = len(prompt)
    manager.seal(table, prompt)
    served = table.blocks[: len(prompt) // size]
    return manager.open(other).blocks, served


# --- 08-3b-d ---


@exercise("08-3b-d", points=2)
def uncounted(answer):
    """Events that end in a wrong text when fork does not count."""
    events = as_list(answer, "events")
    assert len(events) <= 4, f"at most four events, got {len(events)}: {shown(events)}"
    for block_size in (1, 2, 3, 16):
        wrong = _forgetful(events, block_size)
        assert wrong, (
            f"blocks of {block_size}: after {shown(events)} every text that lives reads its own tokens"
        )


def _forgetful(events, size):
    """Texts that read something else than they wrote, after the events, with a fork that does not count."""
    free, counts, tables, texts, memory = list(range(8)), [0] * 8, {}, {}, {}
    for token, event in enumerate(events):
        event = as_list(event, "an event")
        kind, name, *rest = event if len(event) > 1 else (None, None)
        names = [name, *rest]
        known = all(isinstance(one, str) for one in event)
        legal = known and {"write": 1, "fork": 2, "end": 1}.get(kind) == len(names)
        assert legal, f"an event is ('write', name), ('fork', old, new) or ('end', name), got {shown(event)}"
        assert kind == "write" or name in texts, f"{shown(event)}: there is no text {name!r} at that time"
        if kind == "write":
            place = len(texts.setdefault(name, [])) % size
            table = tables.setdefault(name, [])
            if place == 0:
                table.append(free.pop())
                counts[table[-1]] = 1
            memory[table[-1], place] = token
            texts[name].append(token)
        elif kind == "fork":
            assert rest[0] not in texts, f"{shown(event)}: there is a text {rest[0]!r} already"
            tables[rest[0]], texts[rest[0]] = list(tables[name]), list(texts[name])
        else:
            for block in tables.pop(name):
                counts[block] -= 1
                if counts[block] <= 0:
                    free.append(block)
            del texts[name]
    read = {
        name: [memory[tables[name][n // size], n % size] for n in range(len(text))]
        for name, text in texts.items()
    }
    return [name for name, text in texts.items() if read[name] != text]
