"""Plausible wrong answers to the exercises of lesson 02_4."""

NORM = """def norm_and_gradients(x, weight, bias, eps, grad):
    centred = x - x.mean(dim=-1, keepdim=True)
    root = {root}
    n, g = centred / root, {g}
    grad_x = {grad_x}
    return {y}, grad_x, {grad_weight}, {grad_bias}"""
FINE = {
    "root": "(centred.square().mean(dim=-1, keepdim=True) + eps).sqrt()",
    "g": "grad * weight",
    "grad_x": "(g - g.mean(dim=-1, keepdim=True) - n * (g * n).mean(dim=-1, keepdim=True)) / root",
    "y": "n * weight + bias",
    "grad_weight": "(grad * n).sum(dim=0)",
    "grad_bias": "grad.sum(dim=0)",
}

AUTOGRAD = """def norm_and_gradients(x, weight, bias, eps, grad):
    leaves = [one.clone().requires_grad_() for one in (x, weight, bias)]
    centred = leaves[0] - leaves[0].mean(dim=-1, keepdim=True)
    y = centred / (centred.square().mean(dim=-1, keepdim=True) + eps).sqrt() * leaves[1] + leaves[2]
    {derive}"""

DIFFERENCES = """def norm_and_gradients(x, weight, bias, eps, grad):
    def norm(x, weight, bias):
        centred = x - x.mean(dim=-1, keepdim=True)
        return centred / (centred.square().mean(dim=-1, keepdim=True) + eps).sqrt() * weight + bias

    given, found = [x, weight, bias], []
    for one in given:
        slope = torch.zeros_like(one)
        for i in range(one.numel()):
            h = torch.zeros_like(one)
            h.view(-1)[i] = 1e-6
            up, down = ([a + s * h if a is one else a for a in given] for s in (1, -1))
            slope.view(-1)[i] = ((norm(*up) - norm(*down)) * grad).sum() / 2e-6
        found.append(slope)
    return norm(x, weight, bias), *found"""

BLOCK = """def block(x, attention, norms, feed, order):
    def norm(z, weight):
        return {norm}

    def feed_forward(z):
        up = z @ feed["up"].T
        inner = {gated} if "gate" in feed else {plain}
        return {down}

    first, second = norms
    {before}
    if order == "parallel":
        z = norm(x, first)
        return {parallel}
    if order == "pre":
        {pre}
    {post}"""
ORDERED = {
    "norm": "z * torch.rsqrt(z.square().mean(dim=-1, keepdim=True) + 1e-6) * weight",
    "gated": 'F.silu(z @ feed["gate"].T) * up',
    "plain": "F.gelu(up)",
    "down": 'inner @ feed["down"].T',
    "before": "pass",
    "parallel": "x + attention @ z + feed_forward(z)",
    "pre": "x = x + attention @ norm(x, first)\n        return x + feed_forward(norm(x, second))",
    "post": "x = norm(x + attention @ x, first)\n    return norm(x + feed_forward(x), second)",
}


def block(**changes):
    return BLOCK.format(**ORDERED | changes)


ROWS = 'rows = {{"eps": {eps}, "agree": {agree}, "apart": {apart}, "equal": {equal}}}'
BROKEN = {
    "eps": "[1e-4, 1e-4, -1e-4, 1e-4]",
    "agree": "[1, -1, 2, -2]",
    "apart": "[5, 5, 5, 5]",
    "equal": "[101, 102, 103, 104]",
}

KEPT = {
    "times 3": "LRB",
    "plus 10": "LB",
    "token plus": "L",
    "token times": "LR",
    "vector plus": "B",
    "other text": "LR",
    "copy": "LRB",
}

WIDTH = """def swiglu_width(width, multiple):
    return {width}


def feed_forward_share(width, multiple):
    feed_forward = {matrices} * width * swiglu_width(width, multiple)
    return feed_forward / {whole}"""
SIZED = {
    "width": "-(-(8 * width // 3) // multiple) * multiple",
    "matrices": "3",
    "whole": "(feed_forward + 4 * width * width)",
}

WRONG = {
    "02-4-a": {
        "the variance divides by C - 1": NORM.format(
            **FINE | {"root": "(x.var(dim=-1, keepdim=True) + eps).sqrt()"}
        ),
        "eps outside the root": NORM.format(
            **FINE | {"root": "centred.square().mean(dim=-1, keepdim=True).sqrt() + eps"}
        ),
        "forgets eps": NORM.format(**FINE | {"root": "centred.square().mean(dim=-1, keepdim=True).sqrt()"}),
        "statistics over the batch": NORM.format(
            **FINE | {"root": "(centred.square().mean(dim=0, keepdim=True) + eps).sqrt()"}
        ),
        "the gradient leaves the weight out": NORM.format(**FINE | {"g": "grad"}),
        "the mean is taken for a constant": NORM.format(
            **FINE | {"grad_x": "(g - n * (g * n).mean(dim=-1, keepdim=True)) / root"}
        ),
        "the spread is taken for a constant": NORM.format(
            **FINE | {"grad_x": "(g - g.mean(dim=-1, keepdim=True)) / root"}
        ),
        "the gradient for weight is a mean": NORM.format(**FINE | {"grad_weight": "(grad * n).mean(dim=0)"}),
        "forgets the bias": NORM.format(**FINE | {"y": "n * weight"}),
        "the gradient for bias is not added up": NORM.format(**FINE | {"grad_bias": "grad"}),
        "changes x": NORM.format(**FINE).replace("root =", "x -= x.mean()\n    root ="),
        "float32": NORM.format(**FINE).replace("centred = x -", "x = x.float()\n    centred = x -"),
        "autograd": AUTOGRAD.format(derive="return y.detach(), *torch.autograd.grad(y, leaves, grad)"),
        "autograd by backward": AUTOGRAD.format(
            derive="(y * grad).sum().backward()\n    return y.detach(), *[one.grad for one in leaves]"
        ),
        "torch's own for y": NORM.format(
            **FINE | {"y": "torch.nn.functional.layer_norm(x, x.shape[-1:], weight, bias, eps)"}
        ),
        "torch's own by its operation": """def norm_and_gradients(x, weight, bias, eps, grad):
    y, mean, root = torch.ops.aten.native_layer_norm(x, x.shape[1:], weight, bias, eps)
    back = torch.ops.aten.native_layer_norm_backward
    return y, *back(grad, x, x.shape[1:], mean, root, weight, bias, [True] * 3)""",
        "torch's group norm for n": NORM.format(**FINE).replace(
            "n, g = centred / root", "n, g = torch.group_norm(x, 1, None, None, eps)"
        ),
        "torch's batch norm, turned": NORM.format(**FINE).replace(
            "n, g = centred / root",
            "n, g = torch.batch_norm(x.T, None, None, None, None, True, 0.0, eps, False).T",
        ),
        "torch's RMS norm for n": NORM.format(**FINE).replace(
            "n, g = centred / root", "n, g = torch.rms_norm(centred, x.shape[1:], None, eps)"
        ),
        "the library's own for y": NORM.format(**FINE | {"y": "layer_norm_plain(x, weight, bias, eps)"}),
        "finite differences": DIFFERENCES,
        "an imaginary step": """def norm_and_gradients(x, weight, bias, eps, grad):
    def norm(x, weight, bias):
        centred = x - x.mean(dim=-1, keepdim=True)
        return centred / ((centred * centred).mean(dim=-1, keepdim=True) + eps).sqrt() * weight + bias

    given, found = [x, weight, bias], []
    for one in given:
        slope = torch.zeros_like(one)
        for i in range(one.numel()):
            step = torch.zeros_like(one, dtype=torch.complex128)
            step.view(-1)[i] = 1e-30j
            moved = norm(*(a + step if a is one else a + 0j for a in given))
            slope.view(-1)[i] = (moved.imag * grad).sum() / 1e-30
        found.append(slope)
    return norm(x, weight, bias), *found""",
    },
    "02-4-b": {
        "eps that hardly matters": ROWS.format(**BROKEN | {"eps": "[1, 2, 3, 4]"}),
        "eps as large as the mean square": ROWS.format(**BROKEN | {"eps": "[1e-3] * 4"}),
        "eps matters on both sides": ROWS.format(**BROKEN | {"eps": "[1e-7] * 4"}),
        "so small that ε decides": ROWS.format(**BROKEN | {"agree": "[1e-7, 0, 0, 0]"}),
        "zeros agree": ROWS.format(**BROKEN | {"agree": "[0, 0, 0, 0]"}),
        "a mean that is small only": ROWS.format(**BROKEN | {"agree": "[1, -1, 2, -1.9]"}),
        "apart with signs": ROWS.format(**BROKEN | {"apart": "[5, -5, 5, -5]"}),
        "equal with a factor": ROWS.format(**BROKEN | {"equal": "[2, 4, 6, 8]"}),
        "the same row": ROWS.format(**BROKEN | {"equal": "[1, 2, 3, 4]"}),
        "three numbers": ROWS.format(**BROKEN | {"apart": "[5, 5, 5]"}),
        "not a number": ROWS.format(**BROKEN | {"agree": '[float("nan"), 0, 0, 0]'}),
        "too large": ROWS.format(**BROKEN | {"apart": "[1e6] * 4"}),
    },
    "02-4-c": {
        name: f"prediction = {KEPT | change!r}"
        for name, change in {
            "RMS norm has a mean": {"plus 10": "LRB"},
            "batch norm looks at one token": {"token plus": "LB"},
            "batch norm undoes factors of tokens": {"token times": "LRB"},
            "layer norm undoes a vector": {"vector plus": "LB"},
            "batch norm does not see the other text": {"other text": "LRB"},
            "a copy changes batch norm": {"copy": "LR"},
            "nothing undoes a factor": {"times 3": ""},
            "RMS norm undoes a shift of a token": {"token plus": "LR"},
        }.items()
    },
    "02-4-d": {
        "rounds down": WIDTH.format(**SIZED | {"width": "8 * width // 3 // multiple * multiple"}),
        "always one multiple more": WIDTH.format(
            **SIZED | {"width": "(8 * width // 3 // multiple + 1) * multiple"}
        ),
        "rounds before it multiplies": WIDTH.format(
            **SIZED | {"width": "-(-(width // 3 * 8) // multiple) * multiple"}
        ),
        "keeps the fraction": WIDTH.format(**SIZED | {"width": "-(-8 * width // (3 * multiple)) * multiple"}),
        "4C": WIDTH.format(**SIZED | {"width": "-(-4 * width // multiple) * multiple"}),
        "two matrices": WIDTH.format(**SIZED | {"matrices": "2"}),
        "three matrices in attention": WIDTH.format(
            **SIZED | {"whole": "(feed_forward + 3 * width * width)"}
        ),
        "against attention alone": WIDTH.format(**SIZED | {"whole": "(4 * width * width)"}),
        "a percentage": WIDTH.format(**SIZED | {"whole": "(feed_forward + 4 * width * width) * 100"}),
    },
    "02-4-e": {
        "the slip of the book's listing": block(
            pre="x = x + attention @ norm(x, first)\n        x = norm(x, second)\n        return x + feed_forward(x)"
        ),
        "the norm on the part's result": block(
            post="x = x + norm(attention @ x, first)\n    return x + norm(feed_forward(x), second)"
        ),
        "the second part reads what came in": block(
            pre="return x + attention @ norm(x, first) + feed_forward(norm(x, second))"
        ),
        "parallel: one after the other": block(
            parallel="x + attention @ z + feed_forward(norm(x + attention @ z, first))"
        ),
        "the gate is the other matrix": block(gated='z @ feed["gate"].T * F.silu(up)'),
        "no residual around the feed-forward layer": block(
            pre="x = x + attention @ norm(x, first)\n        return feed_forward(norm(x, second))"
        ),
        "layer norm": block(norm="F.layer_norm(z, z.shape[-1:], weight, None, 1e-6)"),
        "GELU with tanh": block(plain='F.gelu(up, approximate="tanh")'),
        "ReLU": block(plain="F.relu(up)"),
        "SiLU in both": block(plain="F.silu(up)"),
        "no activation": block(plain="up"),
        "GELU on the gate": block(gated='F.gelu(z @ feed["gate"].T) * up'),
        "sigmoid on the gate": block(gated='torch.sigmoid(z @ feed["gate"].T) * up'),
        "the gate is added": block(gated='F.silu(z @ feed["gate"].T) + up'),
        "no gate": block(gated="F.gelu(up)"),
        "all SwiGLU has no up": block(gated='F.silu(z @ feed["gate"].T)'),
        "eps outside the root": block(
            norm="z / (z.square().mean(dim=-1, keepdim=True).sqrt() + 1e-6) * weight"
        ),
        "no eps": block(norm="z / z.square().mean(dim=-1, keepdim=True).sqrt() * weight"),
        "eps of layer norm": block(
            norm="z * torch.rsqrt(z.square().mean(dim=-1, keepdim=True) + 1e-5) * weight"
        ),
        "no weight": block(norm="z * torch.rsqrt(z.square().mean(dim=-1, keepdim=True) + 1e-6)"),
        "divided by the length": block(norm="F.normalize(z, dim=-1) * weight"),
        "one scale for the whole text": block(
            norm="z * torch.rsqrt(z.square().mean(dim=(1, 2), keepdim=True) + 1e-6) * weight"
        ),
        "norm1 twice": block(before="second = first"),
        "norms exchanged": block(before="first, second = second, first"),
        "always pre": block(post=ORDERED["pre"].replace("        ", "    ")),
        "always post": block(pre=ORDERED["post"].replace("    ", "        ")),
        "feed-forward first": block(
            pre="x = x + feed_forward(norm(x, second))\n        return x + attention @ norm(x, first)"
        ),
        "a norm at the end of pre": block(
            pre=ORDERED["pre"].replace(
                "return x + feed_forward(norm(x, second))",
                "return norm(x + feed_forward(norm(x, second)), second)",
            )
        ),
        "no norm at the end of post": block(
            post="x = norm(x + attention @ x, first)\n    return x + feed_forward(x)"
        ),
        "post without residuals": block(
            post="x = norm(attention @ x, first)\n    return norm(feed_forward(x), second)"
        ),
        "parallel: a norm for each part": block(parallel="x + attention @ z + feed_forward(norm(x, second))"),
        "parallel: x twice": block(parallel="2 * x + attention @ z + feed_forward(z)"),
        "parallel: without x": block(parallel="attention @ z + feed_forward(z)"),
        "parallel: added to the normalized x": block(parallel="z + attention @ z + feed_forward(z)"),
        "parallel: feed-forward of x": block(parallel="x + attention @ z + feed_forward(x)"),
        "parallel: half of each": block(parallel="x + (attention @ z + feed_forward(z)) / 2"),
        "attention the other way": block(before="attention = attention.mT"),
        "causal attention": block(before="attention = attention.tril()"),
        "in float32": block(
            before="""x, attention, first, second = (one.float() for one in (x, attention, first, second))
    feed = {name: one.float() for name, one in feed.items()}"""
        ),
        "three decimals": block(parallel="(x + attention @ z + feed_forward(z)).round(decimals=3)"),
        "the first text only": block(before="x = x[:1]; attention = attention[:1]"),
        "x changes": block(
            pre="x += attention @ norm(x, first)\n        return x + feed_forward(norm(x, second))"
        ),
        "the library's block": """def block(x, attention, norms, feed, order):
    class Given(nn.Module):
        def forward(self, z, mask=None, positions=None):
            return attention @ z

    kind = SwiGLU if "gate" in feed else FeedForward
    layer = kind(x.shape[2], len(feed["up"]), bias=False)
    whole = EncoderBlock(
        x.shape[2], 1, pre_norm=order != "post", norm=RMSNorm, attention=Given(), feed_forward=layer
    ).double()
    with torch.no_grad():
        whole.norm1.weight.copy_(norms[0]), whole.norm2.weight.copy_(norms[1])
        for name, weight in feed.items():
            getattr(layer, f"{name}_proj").weight.copy_(weight)
        if order == "parallel":
            z = whole.norm1(x)
            return x + attention @ z + layer(z)
        return whole(x)""",
        "the library's norm": block(norm="rms_norm_plain(z, weight, 1e-6)"),
        "the checker's own": """def block(*given):
    import sys

    with torch.no_grad():
        return sys.modules["minillm.course.classroom.exercises.lesson_02_4"].of_the_library(*given)""",
    },
}
