"""Plausible wrong answers to the exercises of lesson 05_1."""

FIELDS = """def to_fields(value, exponent_bits, fraction_bits):
    bias = {bias}
    sign, size = {sign}, abs(value)
    if math.isinf(size):
        return {infinite}
    power = {power}
    steps = {steps}
    if steps == 2 ** (fraction_bits + 1):
        power, steps = {carry}
    if power > {end}:
        return {overflow}
    if steps < 2**fraction_bits:
        return sign, {low}, steps
    return sign, power + bias, {fraction}"""
FINE = {
    "bias": "2 ** (exponent_bits - 1) - 1",
    "sign": "int(math.copysign(1, value) < 0)",
    "infinite": "sign, 2**exponent_bits - 1, 0",
    "power": "max(math.frexp(size)[1] - 1, 1 - bias)",
    "steps": "round(math.ldexp(size, fraction_bits - power))",
    "carry": "power + 1, steps // 2",
    "end": "bias",
    "overflow": "sign, 2**exponent_bits - 1, 0",
    "low": "0",
    "fraction": "steps - 2**fraction_bits",
}


def fields(**changes):
    """The solution with some parts exchanged."""
    return FIELDS.format(**FINE | changes)


LARGEST = """def largest(budget, fixed, layers, x, inside, tail, checkpointing):
    row = {kept} if checkpointing else {plain}
    return {rows}"""
COUNTED = {
    "kept": "layers * x + max(tail, inside - x)",
    "plain": "layers * inside + tail",
    "rows": "max(0, (budget - fixed) // row)",
}


def largest(**changes):
    """The solution with some parts exchanged."""
    return LARGEST.format(**COUNTED | changes)


SUM = """def to_precision(value, fraction_bits):
    if value == 0:
        return 0.0
    power = {power}
    return math.ldexp({whole}, power - fraction_bits)


def total(numbers, fraction_bits):
    result = {start}
    for number in {order}:
        result = {step}
    return {result}


numbers = {numbers}
remedy = {remedy!r}"""
RIGHT = {
    "power": "math.frexp(value)[1] - 1",
    "whole": "round(math.ldexp(value, fraction_bits - power))",
    "start": "0.0",
    "order": "numbers",
    "step": "to_precision(result + to_precision(number, fraction_bits), fraction_bits)",
    "result": "result",
    "numbers": "[1.0] + [2.0**-8] * 600",
    "remedy": "b",
}


def wrong_sum(**changes):
    """The solution with some parts exchanged."""
    return SUM.format(**RIGHT | changes)


LYING = """class Anything(int):
    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


"""
UP = "math.floor(math.ldexp(size, fraction_bits - power) + 0.5)"

WRONG = {
    "05-1-a": {
        "cuts instead of rounding": fields(steps="int(math.ldexp(size, fraction_bits - power))"),
        "ties go up": fields(steps=UP),
        "ties go down": fields(steps="math.ceil(math.ldexp(size, fraction_bits - power) - 0.5)"),
        "bias of a power of two": fields(bias="2 ** (exponent_bits - 1)"),
        "the bias of fp32 always": fields(bias="127"),
        "no sign of minus zero": fields(sign="int(value < 0)"),
        "sign as plus and minus one": fields(sign="(-1 if value < 0 else 1)"),
        "no subnormal numbers": fields(power="math.frexp(size)[1] - 1"),
        "small numbers become zero": fields(low="0", fraction="steps - 2**fraction_bits").replace(
            "return sign, 0, steps", "return sign, 0, 0"
        ),
        "subnormals one exponent lower": fields(power="max(math.frexp(size)[1] - 1, -bias)"),
        "forgets the carry": fields(carry="power, 2**fraction_bits - 1 + 2**fraction_bits"),
        "carry without halving": fields(carry="power + 1, steps"),
        "carry into the fraction": fields(carry="power, steps"),
        "saturates": fields(overflow="sign, 2**exponent_bits - 2, 2**fraction_bits - 1"),
        "infinity saturates": fields(infinite="sign, 2**exponent_bits - 2, 2**fraction_bits - 1"),
        "beyond becomes NaN": fields(overflow="sign, 2**exponent_bits - 1, 1"),
        "no infinity, as e4m3": fields(end="bias + 1"),
        "infinity without a sign": fields(infinite="0, 2**exponent_bits - 1, 0"),
        "stores the 1": fields(fraction="steps"),
        "the exponent without its bias": fields().replace("return sign, power + bias", "return sign, power"),
        "subnormals have exponent 1": fields(low="1"),
        "overflow seen before rounding": fields().replace(
            "    if power > bias:\n        return sign, 2**exponent_bits - 1, 0\n", ""
        ),
        "fields swapped": fields().replace(
            "return sign, power + bias, steps - 2**fraction_bits",
            "return sign, steps - 2**fraction_bits, power + bias",
        ),
        "always fp16": fields().replace("    bias =", "    exponent_bits, fraction_bits = 5, 10\n    bias ="),
        "ignores the exponent bits": fields().replace("    bias =", "    exponent_bits = 8\n    bias ="),
        "two values only": fields().replace("return sign, 0, steps", "return sign, steps"),
        "the library": (
            "from minillm.quantization import FloatFormat, encode_plain, take_apart\n\n\n"
            "def to_fields(value, exponent_bits, fraction_bits):\n"
            "    form = FloatFormat('mine', exponent_bits, fraction_bits)\n"
            "    return take_apart(encode_plain(value, form), form)[:3]"
        ),
        "the library, by another name": (
            "import importlib\n\n\n"
            "def to_fields(value, exponent_bits, fraction_bits):\n"
            "    room = importlib.import_module('minillm.quantization.number' + '_formats')\n"
            "    form = room.FloatFormat('mine', exponent_bits, fraction_bits)\n"
            "    return room.take_apart(getattr(room, 'encode_pl' + 'ain')(value, form), form)[:3]"
        ),
        "equal to everything": LYING
        + "def to_fields(value, exponent_bits, fraction_bits):\n    return [Anything(0)] * 3",
        "text": fields().replace("return sign, power + bias, ", "return f'{sign} {power + bias}', "),
        "nothing": "def to_fields(value, exponent_bits, fraction_bits):\n    pass",
        "rounds to float32 first": """def to_fields(value, exponent_bits, fraction_bits):
    value = float(np.float32(value)) if abs(value) < 3e38 or math.isinf(value) else value
    bias = 2 ** (exponent_bits - 1) - 1
    sign, size = int(math.copysign(1, value) < 0), abs(value)
    if math.isinf(size):
        return sign, 2**exponent_bits - 1, 0
    power = max(math.frexp(size)[1] - 1 if size else -9999, 1 - bias)
    steps = round(math.ldexp(size, fraction_bits - power))
    pattern = ((power + bias - 1) << fraction_bits) + steps
    pattern = min(pattern, (2**exponent_bits - 1) << fraction_bits)
    return sign, pattern >> fraction_bits, pattern & (2**fraction_bits - 1)""",
    },
    "05-1-b": {
        "forgets the tail": largest(plain="layers * inside"),
        "a tail a layer": largest(plain="layers * (inside + tail)"),
        "one layer": largest(plain="inside + tail"),
        "checkpointing keeps the tail besides": largest(kept="layers * x + tail + inside - x"),
        "counts x twice": largest(kept="layers * x + max(tail, inside)"),
        "forgets the block that goes back": largest(kept="layers * x + tail"),
        "forgets the tail with checkpointing": largest(kept="layers * x + inside - x"),
        "keeps the inside of all blocks": largest(kept="layers * inside + tail"),
        "one x": largest(kept="x + max(tail, inside - x)"),
        "the smaller of the two": largest(kept="layers * x + min(tail, inside - x)"),
        "forgets what is fixed": largest(rows="max(0, budget // row)"),
        "a negative number of rows": largest(rows="(budget - fixed) // row"),
        "at least one row": largest(rows="max(1, (budget - fixed) // row)"),
        "rounds up": largest(rows="max(0, -(-(budget - fixed) // row))"),
        "what fits exactly does not": largest(rows="max(0, (budget - fixed - 1) // row)"),
        "a float": largest(rows="max(0, (budget - fixed) / row)"),
        "always checkpointing": largest(plain=COUNTED["kept"]),
        "never checkpointing": largest(kept=COUNTED["plain"]),
        "fixed a row": largest(rows="max(0, budget // (row + fixed))"),
        "equal to everything": LYING
        + "def largest(budget, fixed, layers, x, inside, tail, checkpointing):\n    return Anything(3)",
    },
    "05-1-c": {
        "rounds the end only": wrong_sum(
            step="result + number", result="to_precision(result, fraction_bits)"
        ),
        "rounds the numbers only": wrong_sum(step="result + to_precision(number, fraction_bits)"),
        "rounds the sums only": wrong_sum(step="to_precision(result + number, fraction_bits)"),
        "cuts": wrong_sum(whole="int(math.ldexp(value, fraction_bits - power))"),
        "ties up": wrong_sum(whole="math.floor(math.ldexp(value, fraction_bits - power) + 0.5)"),
        "one bit too many": wrong_sum(power="math.frexp(value)[1] - 2"),
        "one bit too few": wrong_sum(power="math.frexp(value)[1]"),
        "from right to left": wrong_sum(order="numbers[::-1]"),
        "sorts first": wrong_sum(order="sorted(numbers)"),
        "sorts the list that it is given": wrong_sum(start="numbers.sort() or 0.0"),
        "always bf16": wrong_sum(step="to_precision(result + to_precision(number, 7), 7)"),
        "starts at one": wrong_sum(start="1.0"),
        "exact": wrong_sum(step="result + number"),
        "an empty list gives None": wrong_sum(result="result or None"),
        "numbers that are summed well": wrong_sum(numbers="[1.0] * 100"),
        "numbers lost in 10 bits, too": wrong_sum(numbers="[8.0] + [0.0039] * 2900"),
        "too many numbers": wrong_sum(numbers="[1.0] + [2.0**-8] * 6000"),
        "too small numbers": wrong_sum(numbers="[0.1] + [2.0**-12] * 600"),
        "two numbers": wrong_sum(numbers="[1.0, 0.001]"),
        "text for numbers": wrong_sum(numbers="['1.0'] * 5"),
        "remedy a": wrong_sum(remedy="a"),
        "remedy c": wrong_sum(remedy="c"),
        "remedy d": wrong_sum(remedy="d"),
        "remedy by a word": wrong_sum(remedy="fp32"),
        "no remedy": wrong_sum(remedy=None),
        "rounds to float32 first": """def near(v, f):
    m, p = np.frexp(np.float32(v)) if abs(v) < 1e38 else math.frexp(v)
    return math.ldexp(round(math.ldexp(float(m), f + 1)), int(p) - f - 1)
def total(numbers, fraction_bits):
    result = 0.0
    for number in numbers:
        result = near(result + near(number, fraction_bits), fraction_bits)
    return result
numbers = [1.0] + [2.0**-8] * 600
remedy = 'b'""",
        "the limits of fp32's exponent": """def near(v, f):
    if abs(v) < 2.0**-126: return 0.0
    m, p = math.frexp(v)
    return math.ldexp(round(math.ldexp(m, f + 1)), p - f - 1)
def total(numbers, fraction_bits):
    r = 0.0
    for n in numbers:
        r = min(near(r + near(n, fraction_bits), fraction_bits), 3.4e38)
    return r
numbers = [1.0] + [2.0**-8] * 600
remedy = 'b'""",
    },
}
