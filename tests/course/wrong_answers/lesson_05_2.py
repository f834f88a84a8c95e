"""Plausible wrong answers to the exercises of lesson 05_2."""

COMBINED = """def combined(gradients, counts):
    total = {total}
    result = [0.0] * len(gradients[0])
    for gradient, count in zip(gradients, counts):
        if {asked}:
            result = [{sum} for a, b in zip(result, gradient)]
    return {result}"""
SUMS = {"total": "sum(counts)", "asked": "count", "sum": "a + b * count / total", "result": "result"}


def combined(**changes):
    """The solution with some parts exchanged."""
    return COMBINED.format(**SUMS | changes)


SAVING = """def saving(function, x):
    class Again(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, anchor):
            {state}
            ctx.save_for_backward({keep})
            {first}

        @staticmethod
        def backward(ctx, gradient):
            (x,) = ctx.saved_tensors
            inner = {inner}
            with {around}:
                {restore}
                y = function(inner)
            {back}
            return {gives}, None

    return {call}"""
RIGHT = {
    "state": "ctx.state = torch.get_rng_state()",
    "keep": "x",
    "first": "return function(x)",
    "inner": "x.detach().requires_grad_(ctx.needs_input_grad[0])",
    "around": "torch.random.fork_rng(devices=[]), torch.enable_grad()",
    "restore": "torch.set_rng_state(ctx.state)",
    "back": "y.backward(gradient)",
    "gives": "inner.grad",
    "call": "Again.apply(x, torch.empty(0, requires_grad=True))",
}


def saving(**changes):
    """The solution with some parts exchanged."""
    return SAVING.format(**RIGHT | changes)


SEGMENTS = """def segments_for(layers, x, inside):
    def bytes_of(s):
        return {bytes}

    return {best}"""
LEAST = {"bytes": "s * x + -(-layers // s) * inside - x", "best": "min(range(1, layers + 1), key=bytes_of)"}


def segments(**changes):
    """The solution with some parts exchanged."""
    return SEGMENTS.format(**LEAST | changes)


def means(counts="[10_000, 1]", values="[1.0, 9.0]", good="[5, 5]"):
    """An answer to the last exercise."""
    return f"counts, values = {counts}, {values}\ngood_counts = {good}"


LYING = """class Anything(int):
    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


"""

WRONG = {
    "05-2-a": {
        "the mean of means": combined(sum="a + b / len(counts)"),
        "the sum of means": combined(sum="a + b"),
        "weighs, and forgets to divide": combined(sum="a + b * count"),
        "divides by the passes": combined(total="len(counts)"),
        "divides by the largest": combined(total="max(counts)"),
        "lets NaN in": combined(asked="True"),
        "counts empty passes": combined(total="sum(max(count, 1) for count in counts)"),
        "the last pass only": combined(sum="b"),
        "weighs the other way round": combined(sum="a + b * (total - count) / total"),
        "drops passes of one target": combined(asked="count > 1"),
        "one number": combined(result="sum(result)"),
        "changes the counts": combined(total="sum(counts)", result="(counts.clear(), result)[1]"),
        "whole numbers": combined(sum="a + b * count // total"),
        "squares": combined(sum="a + b * count**2 / total**2"),
        "nothing": "def combined(gradients, counts):\n    pass",
    },
    "05-2-b": {
        "keeps everything": "def saving(function, x):\n    return function(x)",
        "draws anew": saving(restore="pass"),
        "seeds for itself": saving(restore="torch.manual_seed(0)"),
        "leaves the generator where the second run ended": saving(around="torch.enable_grad()"),
        "weights learn only if x does": saving(call="Again.apply(x, torch.empty(0))"),
        "no graph in backward": saving(around="torch.random.fork_rng(devices=[])"),
        "forgets what comes from above": saving(back="y.sum().backward()"),
        "gives no gradient of x": saving(gives="None"),
        "gives the gradient from above": saving(gives="gradient if ctx.needs_input_grad[0] else None"),
        "keeps the graph in a closure": saving(
            first="with torch.enable_grad():\n                ctx.y = function(x.detach().requires_grad_())\n"
            "            return ctx.y.detach()",
            back="ctx.y.backward(gradient)",
        ),
        "twice the gradient": saving(back="y.backward(2 * gradient)"),
        "runs a third time": saving(back="function(inner)\n            y.backward(gradient)"),
        "x never asks": saving(inner="x.detach()", gives="None"),
        "x's gradient by torch.autograd.grad alone": saving(
            inner="x.detach().requires_grad_()",
            back="(found,) = torch.autograd.grad(y, inner, gradient)",
            gives="found",
        ),
        "state taken after the first run": saving(
            state="pass",
            first="y = function(x)\n            ctx.state = torch.get_rng_state()\n            return y",
        ),
        "detached": "def saving(function, x):\n    with torch.no_grad():\n        return function(x)",
        "torch's own": (
            "def saving(function, x):\n    import torch.utils.checkpoint as c\n\n"
            "    return c.checkpoint(function, x, use_reentrant=False)"
        ),
        "hides the graph behind hooks of its own, runs for show": (
            "def saving(function, x):\n"
            "    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t):\n"
            "        y = function(x)\n\n"
            "    class Again(torch.autograd.Function):\n"
            "        @staticmethod\n"
            "        def forward(ctx, y):\n            return y.clone()\n\n"
            "        @staticmethod\n"
            "        def backward(ctx, g):\n"
            "            with torch.random.fork_rng(devices=[]):\n                function(x.detach())\n"
            "            return g\n\n"
            "    return Again.apply(y)"
        ),
        "hides the graph, and says that it ran twice": (
            "def saving(function, x):\n"
            "    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t):\n"
            "        y = function(x)\n"
            "    function.runs = 2\n"
            "    return y"
        ),
        "torch's own, by its inner name": (
            "def saving(function, x):\n"
            "    import torch.utils.checkpoint as c\n\n"
            "    def contexts():\n        return contextlib.nullcontext(), contextlib.nullcontext()\n\n"
            "    more = True, contexts, 'default', False, True\n"
            "    inner = c._checkpoint_without_reentrant_generator(function, *more, x)\n"
            "    next(inner)\n"
            "    y = function(x)\n"
            "    next(inner, None)\n"
            "    return y"
        ),
        "torch's own, in a wrapper": (
            "def saving(function, x):\n"
            "    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper\n\n"
            "    class Layer(torch.nn.Module):\n"
            "        def forward(self, x):\n            return function(x)\n\n"
            "    return checkpoint_wrapper(Layer())(x)"
        ),
        "the library's": "def saving(function, x):\n    return checkpointed_plain(function, x)",
        "the library's, by hooks": (
            "def saving(function, x):\n"
            "    from minillm.training import checkpointed\n\n"
            "    return checkpointed(function, x)"
        ),
        "a number": "def saving(function, x):\n    return function(x).sum().item()",
        "torch's own, in a class of another name": """from torch.utils import checkpoint as _c
class Mine(torch.autograd.Function):
    forward = _c.CheckpointFunction.forward
    backward = _c.CheckpointFunction.backward
def saving(function, x):
    return Mine.apply(lambda x, anchor: function(x), True, x, torch.empty(0, requires_grad=True))""",
        "the library's node, by texts": """import importlib
def saving(function, x):
    room = importlib.import_module('minillm.training.check' + 'pointing')
    call = getattr(room, 'Ca' + 'll')(function, (x,), {})
    node = getattr(room, 'Recom' + 'puted')
    return call.arranged(node.apply(call, torch.empty(0, requires_grad=True), *call.inputs()))""",
        "the library's hooks, by texts": """import importlib
def saving(function, x):
    a = importlib.import_module('minillm.training.check' + 'pointing')
    room = importlib.import_module('minillm.training.check' + 'pointing_hooks')
    part = getattr(room, 'Pa' + 'rt')(getattr(a, 'Ca' + 'll')(function, (x,), {}))
    with torch.autograd.graph.saved_tensors_hooks(part.number, part.tensor):
        return function(x)""",
    },
    "05-2-c": {
        "the root": segments(best="max(1, round(layers**0.5))"),
        "one a block": segments(best="layers"),
        "one": segments(best="1"),
        "rounds down": segments(bytes="s * x + layers // s * inside"),
        "no rounding": segments(bytes="s * x + layers / s * inside"),
        "forgets the inputs": segments(bytes="-(-layers // s) * inside"),
        "forgets that layers are many": segments(bytes="s * x + inside / s"),
        "the largest of those that need the same": segments(best="min(range(layers, 0, -1), key=bytes_of)"),
        "forgets the last number": segments(best="min(range(1, max(layers, 2)), key=bytes_of)"),
        "the root of the ratio": segments(best="max(1, min(layers, round((layers * inside / x) ** 0.5)))"),
        "the most memory": segments(best="max(range(1, layers + 1), key=bytes_of)"),
        "the bytes": segments(best="min(map(bytes_of, range(1, layers + 1)))"),
        "a float": segments(best="float(min(range(1, layers + 1), key=bytes_of))"),
        "equal to everything": LYING + "def segments_for(layers, x, inside):\n    return Anything(2)",
    },
    "05-2-d": {
        "the large pass has the large loss": means(values="[9.0, 1.0]"),
        "three times": means(values="[1.0, 5.0]"),
        "equal losses": means(values="[1.0, 1.0]"),
        "one pass": means("[5]", "[1.0]", "[5]"),
        "too many": means("[9000] + [1] * 6", "[0.1] + [9.0] * 6", "[5] * 7"),
        "too large counts": means("[100_000, 1]"),
        "counts of zero": means("[10_000, 0]"),
        "too large losses": means(values="[1.0, 90.0]"),
        "good counts that are not": means(good="[5, 6]"),
        "another number of passes": means(good="[5, 5, 5]"),
        "fractions": means(good="[0.5, 0.5]"),
        "text": means(good="'55'"),
    },
}
