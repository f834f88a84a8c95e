"""Random small programs with loops, branches, functions and containers, for a comparison with CPython."""

import random

INTS, TEXTS, LISTS = ("i", "j", "n"), ("s", "t"), ("v", "w")
HEAD = (
    "i, j, n, s, t = 1, 4, 3, 'xyz', '한글 ab'\n"
    "v, w, d, q = [3, 1, 2], [5], {1: 2, 'a': 'b'}, {1, 3}\n"
    "def f(i):\n    return i * 2\n"
)
PAIR, CUTS, MARK = "('a', 'x')", ("' ', 1", "sep='b'"), ", sep='-'"
LAST = "({}, i, j, n, s, t, v, w, d, sorted(q))"


class Writer:
    """Writes one program after the other; what does not run stays out but now and then."""

    def __init__(self, seed, runs):
        self.rng, self.runs, self.loops = random.Random(seed), runs, 0

    def one(self, *choices):
        return self.rng.choice(choices)

    def whole(self, depth):
        if depth <= 0:
            return self.one("0", "1", "-1", "2", "7", "-5", "10", *INTS)
        a, b, text, row = (make(depth - 1) for make in (self.whole, self.whole, self.text, self.row))
        return self.one(
            f"({a} {self.one('+', '-', '*', '//', '%', '|', '&', '^', '>>')} {b})",
            f"len({self.one(text, row, 'd', 'q')})",
            f"{self.one('min', 'max', 'sum')}({row})",
            f"abs({a})",
            f"{text}.{self.one('find', 'count')}({self.text(0)})",
            f"{row}[{a}]",
            f"d.get({self.one(a, text)}, {b})",
            f"({a} if {self.truth(depth - 1)} else {b})",
            f"int({self.truth(depth - 1)})",
            f"{self.one(*LISTS)}.{self.one('pop()', 'pop(0)', f'index({a})', f'count({a})')}",
            f"round({a} / {b}, {self.one('0', '2', '-1')})",
            f"f({a})",
            f"(lambda a, b={a}: a - b)({b})",
            f"~{a}",
            f"-{a}",
            f"int('{self.one('12', ' 7 ', '-3', 'ff')}'{self.one('', ', 16')})",
        )

    def text(self, depth):
        if depth <= 0:
            return self.one("''", "'ab'", "'가나'", "' x '", "'\\u3000b\\xa0'", *TEXTS)
        a, b, text, row = (make(depth - 1) for make in (self.whole, self.text, self.text, self.row))
        form = self.one(">5", "05d", "+", "x", ".2f", ",", "^7", "e")
        return self.one(
            f"({text} + {b})",
            f"{text} * {self.one('2', '0')}",
            f"{self.one('str', 'repr')}({self.any(depth - 1)})",
            f"{text}.{self.one('upper', 'lower', 'title', 'capitalize', 'strip', 'lstrip', 'rstrip')}()",
            f"{text}.replace({b}, '-'{self.one('', ', 1')})",
            f"{b}.join([str(e) for e in {row}])",
            f"{text}[{self.part()}]",
            f'f"<{{{self.one(*INTS, *TEXTS)}!r}}|{{{self.one(*INTS)}:{form}}}>"',
            f"chr(65 + abs({a}) % 20)",
            f"{text}.strip({b})",
            f"{text}[{a}]",
            f"({text} or {b})",
        )

    def part(self):
        a, b = (self.one("", self.whole(0)) for _ in range(2))
        return f"{a}:{b}" + self.one("", ":2", ":-1", ":")

    def truth(self, depth):
        sign = self.one("<", ">", "<=", ">=", "==", "!=")
        text = self.text(depth - 1)
        return self.one(
            f"({self.whole(depth - 1)} {sign} {self.whole(depth - 1)}{self.one('', ' < n')})",
            f"({self.whole(depth - 1)} {self.one('in', 'not in')} {self.row(depth - 1)})",
            f"({text} {self.one('in', '<', '==')} {self.text(0)})",
            f"not {self.any(depth - 1)}",
            f"({self.whole(depth - 1)} {self.one('and', 'or')} {self.any(depth - 1)})",
            f"{self.one('any', 'all')}({self.row(depth - 1)})",
            f"{text}.startswith({self.one(self.text(0), PAIR)})",
            f"{text}.{self.one('isdigit', 'isalpha', 'isupper', 'isspace', 'isalnum', 'islower')}()",
        )

    def row(self, depth):
        if depth <= 0:
            return self.one("[]", "[1, 2]", "[3, 1, 2]", "(4, 5)", "range(4)", "[1.5, True]", *LISTS)
        a, text, row, other = (make(depth - 1) for make in (self.whole, self.text, self.row, self.row))
        return self.one(
            f"[{a}, {self.whole(0)}]",
            f"sorted({row}{self.one('', ', reverse=True', ', key=lambda e: -e', ', key=str')})",
            f"[{self.one('e', 'e * 2', '-e', 'str(e)', '(e, i)')} for e in {row} {self.one('', 'if e')}]",
            f"list({text})",
            f"{row}[{self.part()}]",
            f"list(zip({row}, {text}))",
            f"list(enumerate({row}, start=1))",
            f"list(map({self.one('abs', 'str', 'f')}, {row}))",
            f"list(map(lambda a, b: (a, b), {row}, {other}))",
            f"{text}.split({self.one('', self.text(0), *CUTS)})",
            f"list(filter(None, {row}))",
            f"list(range({a} % 6, {self.whole(0)}, {self.one('1', '-1')}))",
            f"list({self.one('d.items()', 'd.keys()', 'd')})",
            f"[(e, g) for e in {row} for g in {other} if e != g]",
            f"({row} + {other})",
            f"sorted(set({row}) {self.one('|', '&', '-', '^')} q)",
        )

    def table(self, depth):
        a, b, row = self.any(depth - 1), self.whole(depth - 1), self.row(depth - 1)
        return self.one(
            "d",
            f"{{{b}: {a}, {self.text(0)}: {b}}}",
            f"{{e: e for e in {row}}}",
            f"({{1: 2}} | dict(zip({row}, v)))",
        )

    def any(self, depth):
        if depth <= 0:
            return self.one(self.whole, self.text, self.row)(0)
        return self.one(self.whole, self.text, self.row, self.truth, self.table)(depth)

    def statement(self, depth, indent, inside):
        pad, a, b = "    " * indent, self.whole(2), self.whole(1)
        simple = (
            f"{self.one(*INTS)} {self.one('=', '=', '+=', '-=', '*=', '//=', '%=')} {a}",
            f"{self.one(*TEXTS)} = {self.text(2)}",
            f"{self.one(*LISTS)} = list({self.row(2)})",
            f"{self.one(*LISTS)}.{self.one('append', 'remove')}({a})",
            f"{self.one(*LISTS)}[{b}] {self.one('=', '+=')} {a}",
            f"d[{self.one(b, self.text(1))}] = {self.any(1)}",
            f"v += [{a}, {b}]",
            "i, j = j, i",
            "v.reverse()",
            f"w.insert({a}, {b})",
            f"v.extend({self.row(1)})",
            "w = v",
            f"q.add({b})",
            "d.pop(1, 0)",
            "q |= {1}",
            "s += t",
            f"d[{b}], n = n, {b}",
            "i, (j, n) = 1, (2, 3)",
            f"print({self.any(2)}, {b}{self.one('', MARK)})",
            f"d[w.pop()] = {{w.pop(): v.pop(), {b}: v.pop()}}",
            f"v[w.pop()] += {b}",
        )
        if depth <= 0 or self.rng.random() < 0.6:
            ends = [
                *(("break", "continue") if self.loops else ()),
                *((f"return {self.any(2)}",) if inside else ()),
            ]
            return [pad + (self.one(*ends) if ends and self.rng.random() < 0.15 else self.one(*simple))]
        kind = self.one("if", "for", "while", "def")
        if kind == "def" and not inside:
            kept, self.loops = self.loops, 0
            body = self.block(depth, indent + 1, True)
            self.loops = kept
            return [
                f"{pad}def f(i, j={b}, v={self.one('v', '[]', '3')}):",
                *body,
                f"{pad}    return {self.any(2)}",
            ]
        if kind in ("for", "while"):
            self.loops += 1
            body = self.block(depth, indent + 1, inside)
            self.loops -= 1
            over = self.one(self.row(2), self.text(1), "d")
            head = [f"for {self.one('i', 'n', 'i, j')} in {over}:"]
            if kind == "while":
                head, body = ["z = 0", f"while z < 4 and {self.truth(1)}:"], [f"{pad}    z += 1", *body]
        else:
            head, body = [f"if {self.truth(2)}:"], self.block(depth, indent + 1, inside)
        if self.rng.random() < 0.4:
            body += [f"{pad}else:", *self.block(depth, indent + 1, inside)]
        return [*(pad + line for line in head), *body]

    def block(self, depth, indent, inside):
        return [
            line
            for _ in range(self.rng.randrange(1, 4))
            for line in self.statement(depth - 1, indent, inside)
        ]

    def program(self):
        source = HEAD
        for _ in range(self.rng.randrange(3, 10)):
            longer = source + "\n".join(self.statement(2, 0, False)) + "\n"
            if self.rng.random() < 0.02 or self.runs(longer):
                source = longer
        last = next(
            (one for one in (LAST.format(self.any(3)) for _ in range(5)) if self.runs(source + one)),
            LAST.format(1),
        )
        return source + last
