"""Plausible wrong answers to the exercises of lesson 14_1."""

TOKENS = """def tokens(pictures, weight, bias):
    P, out = {patch}, []
    for y in range({start}, {height}, {step}):
        for x in range(0, {width}, P):
            square = {square}
            out.append(square @ {weight} {bias})
    return {result}"""
OF_TOKENS = {
    "patch": "weight.shape[-1]",
    "start": "0",
    "height": "pictures.shape[2]",
    "step": "P",
    "width": "pictures.shape[3]",
    "square": "pictures[:, :, y : y + P, x : x + P].flatten(1)",
    "weight": "weight.flatten(1).T",
    "bias": "+ bias",
    "result": "torch.stack(out, 1)",
}
VIT = """def vit(tokens, w, heads):
    {before}
    B, N, D = tokens.shape
    norm = lambda x: F.layer_norm(x, (D,))
    x = {start}
    for block in {blocks}:
        h = {first}
        q, k, v = ((h @ block[name].T).{split} for name in {names})
        mixed = {attention}
        x = {mixed}
        x = {fed}
    return {result}"""
OF_VIT = {
    "before": "pass",
    "start": 'torch.cat([w["class"].expand(B, 1, D), tokens], 1) + w["places"]',
    "blocks": 'w["blocks"]',
    "first": "norm(x)",
    "split": "unflatten(2, (heads, -1)).transpose(1, 2)",
    "names": '"qkv"',
    "attention": "F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)",
    "mixed": 'x + mixed @ block["o"].T',
    "fed": 'x + F.gelu(norm(x) @ block["up"].T) @ block["down"].T',
    "result": 'norm(x)[:, 0] @ w["head"].T',
}
STRETCH = """def stretch(row, length):
    {before}
    a = {a}

    def w(d):
        if d <= 1:
            return (a + 2) * d**3 - (a + 3) * d**2 + 1
        return {far} if d < 2 else 0.0

    out = []
    for i in range({length}):
        x = {x}
        first = {first}
        out.append(sum({value} * w({distance}) for j in range(first, first + {taps})))
    return {result}"""
OF_STRETCH = {
    "before": "pass",
    "a": "-0.75",
    "far": "a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a",
    "length": "length",
    "x": "(i + 0.5) * len(row) / length - 0.5",
    "first": "int(x // 1) - 1",
    "value": "row[min(max(j, 0), len(row) - 1)]",
    "distance": "abs(x - j)",
    "taps": "4",
    "result": "out",
}
TWIN = """def twin(picture, patch):
    P = patch
    {before}
    return {result}"""


def other(text: str, parts: dict[str, str], **changed: str) -> str:
    """The right answer with some of its parts changed."""
    return text.format(**(parts | changed))


WRONG = {
    "14-1-a": {
        "the library's": (
            "from minillm.models.patches import embed_patches_plain\n\n\n"
            "def tokens(pictures, weight, bias):\n    return embed_patches_plain(pictures, weight, bias)"
        ),
        "a convolution": (
            "def tokens(pictures, weight, bias):\n"
            "    return F.conv2d(pictures, weight, bias, weight.shape[-1]).flatten(2).mT"
        ),
        "unfold": (
            "def tokens(pictures, weight, bias):\n    P = weight.shape[-1]\n"
            "    return F.unfold(pictures, P, stride=P).mT @ weight.flatten(1).T + bias"
        ),
        "patches of two at most": other(
            TOKENS,
            OF_TOKENS,
            patch="min(2, weight.shape[-1])",
            height="pictures.shape[2] // weight.shape[-1] * P",
            width="pictures.shape[3] // weight.shape[-1] * P",
            weight="weight[..., :P, :P].flatten(1).T",
        ),
        "no bias": other(TOKENS, OF_TOKENS, bias=""),
        "bias taken away": other(TOKENS, OF_TOKENS, bias="- bias"),
        "a square picture": other(TOKENS, OF_TOKENS, width="pictures.shape[2]"),
        "patches that overlap": other(TOKENS, OF_TOKENS, step="1", height="pictures.shape[2] - P + 1"),
        "the first row is missing": other(
            TOKENS, OF_TOKENS, start="P", result="torch.stack(out or [square * 0], 1)"
        ).replace("for y", "square = pictures[:, :1, 0, 0]\n    for y"),
        "channels last": other(
            TOKENS, OF_TOKENS, square="pictures[:, :, y : y + P, x : x + P].permute(0, 2, 3, 1).flatten(1)"
        ),
        "columns of pixels first": other(
            TOKENS, OF_TOKENS, square="pictures[:, :, y : y + P, x : x + P].mT.flatten(1)"
        ),
        "the wrong axis is stacked": other(TOKENS, OF_TOKENS, result="torch.stack(out, 2)"),
        "from the bottom": other(TOKENS, OF_TOKENS, result="torch.stack(out[::-1], 1)"),
        "the mean of a patch": other(TOKENS, OF_TOKENS, bias="/ P**2 + bias"),
        "one channel": other(
            TOKENS,
            OF_TOKENS,
            square="pictures[:, :1, y : y + P, x : x + P].flatten(1)",
            weight="weight[:, :1].flatten(1).T",
        ),
        "the weight is changed": other(TOKENS, OF_TOKENS, result="(torch.stack(out, 1), weight.zero_())[0]"),
    },
    "14-1-b": {
        "the class token last": other(
            VIT, OF_VIT, start='torch.cat([tokens, w["class"].expand(B, 1, D)], 1) + w["places"]'
        ),
        "the class token last, and read there": other(
            VIT,
            OF_VIT,
            start='torch.cat([tokens, w["class"].expand(B, 1, D)], 1) + w["places"]',
            result='norm(x)[:, -1] @ w["head"].T',
        ),
        "no places": other(VIT, OF_VIT, start='torch.cat([w["class"].expand(B, 1, D), tokens], 1)'),
        "places of the patches alone": other(
            VIT, OF_VIT, start='torch.cat([w["class"].expand(B, 1, D), tokens + w["places"][1:]], 1)'
        ),
        "places one row off": other(
            VIT, OF_VIT, start='torch.cat([w["class"].expand(B, 1, D), tokens + w["places"][:-1]], 1)'
        ),
        "no class token": other(
            VIT, OF_VIT, start='tokens + w["places"][1:]', result='norm(x).mean(1) @ w["head"].T'
        ),
        "the mean of all rows": other(VIT, OF_VIT, result='norm(x).mean(1) @ w["head"].T'),
        "the last row": other(VIT, OF_VIT, result='norm(x)[:, -1] @ w["head"].T'),
        "no last norm": other(VIT, OF_VIT, result='x[:, 0] @ w["head"].T'),
        "the first block alone": other(VIT, OF_VIT, blocks='w["blocks"][:1]'),
        "blocks backwards": other(VIT, OF_VIT, blocks='w["blocks"][::-1]'),
        "no norm before attention": other(VIT, OF_VIT, first="x"),
        "no norm before the rest": other(VIT, OF_VIT, fed='x + F.gelu(x @ block["up"].T) @ block["down"].T'),
        "the norm behind": other(
            VIT,
            OF_VIT,
            first="x",
            mixed='norm(x + mixed @ block["o"].T)',
            fed='norm(x + F.gelu(x @ block["up"].T) @ block["down"].T)',
            result='x[:, 0] @ w["head"].T',
        ),
        "one head": other(VIT, OF_VIT, split="unflatten(2, (1, -1)).transpose(1, 2)"),
        "heads between each other": other(
            VIT,
            OF_VIT,
            split="unflatten(2, (-1, heads)).permute(0, 3, 1, 2)",
        ),
        "rows as heads": other(
            VIT,
            OF_VIT,
            split="unflatten(2, (heads, -1))",
            attention="F.scaled_dot_product_attention(q, k, v).flatten(2)",
        ),
        "no scale": other(
            VIT,
            OF_VIT,
            attention="F.scaled_dot_product_attention(q, k, v, scale=1.0).transpose(1, 2).flatten(2)",
        ),
        "the scale of the whole width": other(
            VIT,
            OF_VIT,
            attention="F.scaled_dot_product_attention(q, k, v, scale=D**-0.5).transpose(1, 2).flatten(2)",
        ),
        "causal": other(
            VIT,
            OF_VIT,
            attention="F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)",
            result='norm(x)[:, 0] @ w["head"].T',
        ),
        "queries as keys": other(VIT, OF_VIT, names='("k", "q", "v")'),
        "keys as values": other(VIT, OF_VIT, names='("q", "k", "k")'),
        "no residual at attention": other(VIT, OF_VIT, mixed='mixed @ block["o"].T'),
        "no residual behind it": other(VIT, OF_VIT, fed='F.gelu(norm(x) @ block["up"].T) @ block["down"].T'),
        "the residual of the norm": other(VIT, OF_VIT, mixed='h + mixed @ block["o"].T'),
        "no o": other(VIT, OF_VIT, mixed="x + mixed"),
        "o turned": other(VIT, OF_VIT, mixed='x + mixed @ block["o"]'),
        "relu": other(VIT, OF_VIT, fed='x + F.relu(norm(x) @ block["up"].T) @ block["down"].T'),
        "both parts of the same x": other(VIT, OF_VIT, fed='x + F.gelu(h @ block["up"].T) @ block["down"].T'),
        "attention alone": other(VIT, OF_VIT, fed="x"),
        "probabilities": other(VIT, OF_VIT, result='(norm(x)[:, 0] @ w["head"].T).softmax(1)'),
        "changed in place": other(VIT, OF_VIT, before="tokens *= 1.5"),
        "places changed in place": other(
            VIT, OF_VIT, result='(norm(x)[:, 0] @ w["head"].T, w["places"].zero_())[0]'
        ),
        "torch's layer": (
            "def vit(tokens, w, heads):\n"
            "    B, N, D = tokens.shape\n"
            '    x = torch.cat([w["class"].expand(B, 1, D), tokens], 1) + w["places"]\n'
            '    for block in w["blocks"]:\n'
            "        layer = torch.nn.TransformerEncoderLayer(\n"
            '            D, heads, len(block["up"]), 0.0, "gelu", batch_first=True, norm_first=True\n'
            "        ).double()\n"
            "        with torch.no_grad():\n"
            "            for name, one in layer.named_parameters():\n"
            '                one.fill_(float(name.startswith("norm") and name.endswith("weight")))\n'
            '            layer.self_attn.in_proj_weight.copy_(torch.cat([block[name] for name in "qkv"]))\n'
            '            layer.self_attn.out_proj.weight.copy_(block["o"])\n'
            '            layer.linear1.weight.copy_(block["up"])\n'
            '            layer.linear2.weight.copy_(block["down"])\n'
            "        x = layer(x)\n"
            '    return F.layer_norm(x, (D,))[:, 0].detach() @ w["head"].T'
        ),
    },
    "14-1-c": {
        "torch's": (
            "def stretch(row, length):\n    table = torch.tensor(row).reshape(1, 1, 1, -1)\n"
            "    return F.interpolate(table, size=(1, length), mode='bicubic').flatten().tolist()"
        ),
        "the nearest": "def stretch(row, length):\n    return [row[i * len(row) // length] for i in range(length)]",
        "a = -0.5": other(STRETCH, OF_STRETCH, a="-0.5"),
        "a = -1": other(STRETCH, OF_STRETCH, a="-1.0"),
        "corners aligned": other(STRETCH, OF_STRETCH, x="i * (len(row) - 1) / max(1, length - 1)"),
        "no half": other(STRETCH, OF_STRETCH, x="i * len(row) / length"),
        "half forgotten at the end": other(STRETCH, OF_STRETCH, x="(i + 0.5) * len(row) / length"),
        "cut toward zero": other(STRETCH, OF_STRETCH, first="int(x) - 1"),
        "two places": other(STRETCH, OF_STRETCH, first="int(x // 1)", taps="2"),
        "three places": other(STRETCH, OF_STRETCH, taps="3"),
        "zero outside": other(STRETCH, OF_STRETCH, value="(row[j] if 0 <= j < len(row) else 0.0)"),
        "round at the ends": other(STRETCH, OF_STRETCH, value="row[j % len(row)]"),
        "far places weigh nothing": other(STRETCH, OF_STRETCH, far="0.0"),
        "one length": other(STRETCH, OF_STRETCH, length="len(row) * 2"),
        "the ratio the wrong way": other(STRETCH, OF_STRETCH, x="(i + 0.5) * length / len(row) - 0.5"),
        "the row is rounded": other(STRETCH, OF_STRETCH, result="[round(one, 2) for one in out]"),
        "the row is emptied": other(STRETCH, OF_STRETCH, result="(out, row.clear())[0]"),
    },
    "14-1-d": {
        "the library's": (
            "from minillm.models.patches import cut_patches\n\n\n"
            "def twin(picture, patch):\n"
            "    C, H, W = picture.shape\n"
            "    rows = cut_patches(picture[None], patch)[0]\n"
            "    for k in range(1, len(rows)):\n"
            "        moved = rows.roll(k, 0).reshape(H // patch, W // patch, C, patch, patch)\n"
            "        out = moved.permute(2, 0, 3, 1, 4).reshape(C, H, W)\n"
            "        if not torch.equal(out, picture):\n"
            "            return out"
        ),
        "hardly changed": TWIN.format(before="pass", result="picture + 1e-7"),
        "the same": TWIN.format(before="pass", result="picture.clone()"),
        "shuffled pixels": TWIN.format(before="pass", result="picture.flip(2)"),
        "upside down": TWIN.format(before="pass", result="picture.flip(1)"),
        "turned": TWIN.format(before="pass", result="picture.mT.clone()"),
        "moved by a pixel": TWIN.format(before="pass", result="picture.roll(1, 2)"),
        "the first two columns": TWIN.format(
            before="out = picture.clone()\n    out[:, :P, :P], out[:, :P, P : 2 * P] = "
            "picture[:, :P, P : 2 * P], picture[:, :P, :P]",
            result="out",
        ),
        "only one is copied": TWIN.format(
            before="out = picture.clone()\n    out[:, :P, :P] = picture[:, -P:, -P:]", result="out"
        ),
        "brighter": TWIN.format(before="pass", result="picture + 0.1"),
        "changed in place": TWIN.format(before="picture.copy_(picture.roll(P, 2))", result="picture"),
        "patches of two": TWIN.format(before="P = 2", result="picture.roll(P, 2)"),
        "half of a patch": TWIN.format(before="pass", result="picture.roll(max(1, P // 2), 1)"),
    },
}
