"""Plausible wrong answers to the exercises of lesson 03_1."""

TENSORS = """def tensors_of(data):
    length = int.from_bytes(data[:8], "{order}")
    found, at = {{}}, 0
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if {skip}:
            continue
        start, stop = (offset + {base} for offset in entry["data_offsets"])
        raw = torch.tensor(list(data[start:stop]), dtype=torch.uint8)
        found[name] = raw.view({dtype}).reshape({shape})
    return found"""
READ = {
    "order": "little",
    "skip": 'name == "__metadata__"',
    "base": "8 + length",
    "dtype": 'DTYPES[entry["dtype"]]',
    "shape": 'entry["shape"]',
}

WEIGHTS = """def weights_of(data, kind):
    first, size = {{"Q4_0": (2, 18), "Q4_1": (4, 20), "Q8_0": (2, 34)}}[kind]
    weights = []
    for start in range(0, {end}, size):
        block = data[start : start + size]
        d = struct.unpack("{half}", block[:2])[0]
        if kind == "Q8_0":
            weights += [d * q for q in struct.unpack("32{byte}", block[first:])]
        else:
            q = {nibbles}
            m = struct.unpack("<e", block[2:4])[0] if kind == "Q4_1" else {zero} * d
            weights += [d * one + m for one in q]
    return weights"""
BLOCK = {
    "end": "len(data)",
    "half": "<e",
    "byte": "b",
    "nibbles": "[byte & 15 for byte in block[first:]] + [byte >> 4 for byte in block[first:]]",
    "zero": "-8",
}

RENAMED = """def renamed(tensors, heads, kv_heads):
    found = {start}
    for name, tensor in tensors.items():
        layer, _, kind = name.rpartition(".")
        number = re.search(r"(?<=^blk\\.){digits}(?=\\.)", layer)
        known = layer.replace(f"blk.{{number[0]}}.", "blk.{{i}}.") if number else layer
        if known not in NAMES or kind not in ("weight", "bias"):
            {strange}
        for part, count in {parts}:
            if known.endswith(part){only}:
                tensor = {turned}
        new = NAMES[known].replace("{{i}}", number[0]) if number else NAMES[known]
        found[f"{{new}}.{{kind}}"] = tensor
    return found"""
SOUND = {
    "start": "{}",
    "digits": "\\d+",
    "strange": "raise ValueError(name)",
    "parts": '(("attn_q", heads), ("attn_k", kv_heads))',
    "only": "",
    "turned": "tensor.unflatten(0, (count, -1, 2)).transpose(1, 2).flatten(0, 2)",
}

EXCHANGE = """def exchange(data, a, b):
    length = int.from_bytes(data[:8], "little")
    head = json.loads(data[8 : 8 + length])
    {swap}
    text = json.dumps(head).encode()
    return {made}

caught = "{caught}"
missed = "{missed}\""""
LIE = {
    "swap": 'head[a]["data_offsets"], head[b]["data_offsets"] = head[b]["data_offsets"], head[a]["data_offsets"]',
    "made": 'len(text).to_bytes(8, "little") + text + data[8 + length :]',
    "caught": "c",
    "missed": "c",
}

PUT_HEAD = """def put_head(states, mask, weight, bias, labels, task, pool):
    real, rows = mask.bool(), torch.arange(len(mask))
    x = states
    if pool == "mean":
        x = {mean}
    elif pool == "first":
        x = {first}
    elif pool == "last":
        x = {last}
    logits = {linear}
    if task == "score":
        return {result}, {score}
    if task == "classify":
        return {result}, {classify}
    said, right, counts = logits, labels, {tags}
    if task == "next":
        said, right, counts = {next}
    return {result}, {loss}"""
ON_BODY = {
    "mean": "(states * real[:, :, None]).sum(dim=1) / real.sum(dim=1, keepdim=True)",
    "first": "states[rows, real.int().argmax(dim=1)]",
    "last": "states[rows, real.shape[1] - 1 - real.flip(1).int().argmax(dim=1)]",
    "linear": "x @ weight.T + (0 if bias is None else bias)",
    "score": "(logits[:, 0] - labels).square().mean()",
    "classify": "cross_entropy(logits, labels)",
    "tags": "real & (labels != -100)",
    "next": "logits[:, :-1], labels[:, 1:], real[:, :-1] & real[:, 1:]",
    "loss": "cross_entropy(said[counts], right[counts]) if counts.any() else 0.0",
    "result": "logits",
}


def head(**changes):
    return PUT_HEAD.format(**ON_BODY | changes)


WRONG = {
    "03-1-a": {
        "the metadata is a tensor": TENSORS.format(**READ | {"skip": "False"}),
        "offsets from the start of the file": TENSORS.format(**READ | {"base": "0"}),
        "forgets the 8 bytes": TENSORS.format(**READ | {"base": "length"}),
        "the length's highest byte first": TENSORS.format(**READ | {"order": "big"}),
        "all is float32": TENSORS.format(**READ | {"dtype": "torch.float32"}),
        "bfloat16 taken for half precision": TENSORS.format(
            **READ | {"dtype": '{**DTYPES, "BF16": torch.float16}[entry["dtype"]]'}
        ),
        "flat tensors": TENSORS.format(**READ | {"shape": "-1"}),
        "a number is a list of one": TENSORS.format(**READ | {"shape": 'entry["shape"] or [1]'}),
        "no empty tensors": TENSORS.format(
            **READ | {"skip": 'name == "__metadata__" or 0 in entry["shape"]'}
        ),
        "everything as float32 numbers": TENSORS.format(**READ).replace(
            "return found", "return {n: t.float() for n, t in found.items()}"
        ),
        "one after the other": """def tensors_of(data):
    length = int.from_bytes(data[:8], "little")
    found, at = {}, 8 + length
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            size = entry["data_offsets"][1] - entry["data_offsets"][0]
            raw = torch.tensor(list(data[at : at + size]), dtype=torch.uint8)
            found[name] = raw.view(DTYPES[entry["dtype"]]).reshape(entry["shape"])
            at += size
    return found""",
        "lists": """def tensors_of(data):
    length = int.from_bytes(data[:8], "little")
    found = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            start, stop = (8 + length + offset for offset in entry["data_offsets"])
            raw = torch.tensor(list(data[start:stop]), dtype=torch.uint8)
            found[name] = raw.view(DTYPES[entry["dtype"]]).reshape(entry["shape"]).tolist()
    return found""",
        "all files into one dict": "SEEN = {}\n"
        + TENSORS.format(**READ).replace("found, at = {}, 0", "found = SEEN"),
        "a header of 65,535 bytes at most": TENSORS.format(**READ).replace("data[:8]", "data[:2]"),
        "the package's compiled part": """def tensors_of(data):
    core = __import__("safetensors._safetensors_rust")._safetensors_rust
    return {name: torch.tensor(list(entry["data"]), dtype=torch.uint8).view(DTYPES[entry["dtype"]])
            .reshape(entry["shape"]) for name, entry in core.deserialize(bytes(data))}""",
        "the package's": """def tensors_of(data):
    import safetensors.torch

    return safetensors.torch.load(bytes(data))""",
        "the package's core": """def tensors_of(data):
    from safetensors import deserialize

    return {name: torch.tensor(list(entry["data"]), dtype=torch.uint8).view(DTYPES[entry["dtype"]])
            .reshape(entry["shape"]) for name, entry in deserialize(bytes(data))}""",
        "the package's core, from one of its rooms": """def tensors_of(data):
    import importlib

    flat = importlib.import_module("safetensors.numpy").deserialize(bytes(data))
    return {name: torch.tensor(list(entry["data"]), dtype=torch.uint8).view(DTYPES[entry["dtype"]])
            .reshape(entry["shape"]) for name, entry in flat}""",
    },
    "03-1-b": {
        "high nibbles first": WEIGHTS.format(
            **BLOCK
            | {"nibbles": "[byte >> 4 for byte in block[first:]] + [byte & 15 for byte in block[first:]]"}
        ),
        "low and high in turn": WEIGHTS.format(
            **BLOCK | {"nibbles": "[q for byte in block[first:] for q in (byte & 15, byte >> 4)]"}
        ),
        "no shift by 8": WEIGHTS.format(**BLOCK | {"zero": "0"}),
        "shift by 7": WEIGHTS.format(**BLOCK | {"zero": "-7"}),
        "bytes without a sign": WEIGHTS.format(**BLOCK | {"byte": "B"}),
        "the scale's highest byte first": WEIGHTS.format(**BLOCK | {"half": ">e"}),
        "one block only": WEIGHTS.format(**BLOCK | {"end": "min(len(data), size)"}),
        "Q4_1 as Q4_0": WEIGHTS.format(**BLOCK).replace('"Q4_1": (4, 20)', '"Q4_1": (2, 18)'),
        "m is multiplied": WEIGHTS.format(**BLOCK).replace("d * one + m", "d * (one + m)"),
        "nibbles with a sign": WEIGHTS.format(
            **BLOCK
            | {
                "nibbles": "[(q ^ 8) - 8 for byte in block[first:] for q in [byte & 15]] + "
                "[((byte >> 4) ^ 8) - 8 for byte in block[first:]]",
                "zero": "0",
            }
        ),
        "the library's": """def weights_of(data, kind):
    from minillm.data.gguf_blocks import dequantize

    return dequantize(np.frombuffer(data, np.uint8), kind).tolist()""",
        "the library's, by another way": """def weights_of(data, kind):
    import sys

    size = {"Q4_0": 18, "Q4_1": 20, "Q8_0": 34}[kind]
    module = sys.modules["minillm.data." + "gguf_blocks"].__dict__
    blocks = np.frombuffer(data, np.uint8).reshape(-1, size)
    return module["_from_" + kind.lower()](blocks).reshape(-1).tolist() if data else []""",
        "a list that is kept": WEIGHTS.format(**BLOCK)
        .replace("weights_of(data, kind)", "weights_of(data, kind, weights=[])")
        .replace("    weights = []\n", ""),
        "blocks without a scale are left out": WEIGHTS.format(**BLOCK).replace(
            '        if kind == "Q8_0"', '        if d == 0:\n            continue\n        if kind == "Q8_0"'
        ),
        "the library's table": """def weights_of(data, kind):
    from minillm.data import gguf_blocks

    block = gguf_blocks.TYPES[kind]
    return block.decode(np.frombuffer(data, np.uint8).reshape(-1, block.size)).reshape(-1).tolist()""",
    },
    "03-1-c": {
        "no rows moved": RENAMED.format(**SOUND | {"parts": "()"}),
        "the other way": RENAMED.format(
            **SOUND | {"turned": "tensor.unflatten(0, (count, 2, -1)).transpose(1, 2).flatten(0, 2)"}
        ),
        "k has as many heads as q": RENAMED.format(
            **SOUND | {"parts": '(("attn_q", heads), ("attn_k", heads))'}
        ),
        "one head": RENAMED.format(**SOUND | {"parts": '(("attn_q", 1), ("attn_k", 1))'}),
        "v is moved, too": RENAMED.format(
            **SOUND | {"parts": '(("attn_q", heads), ("attn_k", kv_heads), ("attn_v", kv_heads))'}
        ).replace(
            "tensor = tensor.unflatten(0, (count, -1, 2))",
            "tensor = tensor if len(tensor) % (2 * count) else tensor.unflatten(0, (count, -1, 2))",
        ),
        "only q": RENAMED.format(**SOUND | {"parts": '(("attn_q", heads),)'}),
        "the bias stays": RENAMED.format(**SOUND | {"only": ' and kind == "weight"'}),
        "layers of one digit": RENAMED.format(**SOUND | {"digits": "\\d"}),
        "strange names are dropped": RENAMED.format(**SOUND | {"strange": "continue"}),
        "strange names are kept": RENAMED.format(
            **SOUND | {"strange": "found[name] = tensor\n            continue"}
        ),
        "moves in place": RENAMED.format(
            **SOUND
            | {"turned": "tensor.copy_(tensor.unflatten(0, (count, -1, 2)).transpose(1, 2).flatten(0, 2))"}
        ),
        "everything in double precision": RENAMED.format(**SOUND).replace(
            "] = tensor", "] = tensor.double()"
        ),
        "another error": RENAMED.format(**SOUND | {"strange": "raise KeyError(name)"}),
        "any ending": RENAMED.format(**SOUND).replace(' or kind not in ("weight", "bias")', ""),
        "layers of another part of the model": """def renamed(tensors, heads, kv_heads):
    found = {}
    for name, tensor in tensors.items():
        layer, _, kind = name.rpartition(".")
        number = re.search(r"\\.(\\d+)\\.", layer)
        known = re.sub(r"\\w+\\.\\d+\\.", "blk.{i}.", layer)
        if known not in NAMES or kind not in ("weight", "bias"):
            raise ValueError(name)
        if known[-6:] in ("attn_q", "attn_k"):
            parts = tensor.chunk(heads if known[-1] == "q" else kv_heads)
            tensor = torch.cat([torch.cat([part[0::2], part[1::2]]) for part in parts])
        found[(NAMES[known].replace("{i}", number[1]) if number else NAMES[known]) + "." + kind] = tensor
    return found""",
        "another package's": """def renamed(tensors, heads, kv_heads):
    from transformers.modeling_gguf_pytorch_utils import LlamaTensorProcessor

    move = LlamaTensorProcessor(config={})._reverse_permute_weights
    return {name: torch.from_numpy(move(tensor.numpy(), heads, kv_heads)) for name, tensor in tensors.items()}""",
        "layers without a number": RENAMED.format(**SOUND | {"digits": "\\w+"}),
        "empties the dict": RENAMED.format(**SOUND).replace(
            "return found", "tensors.clear()\n    return found"
        ),
        "the library's": """def renamed(tensors, heads, kv_heads):
    from minillm.nn.pairing import to_halves

    found = {}
    for name, tensor in tensors.items():
        layer, _, kind = name.rpartition(".")
        number = re.search(r"(?<=^blk\\.)\\d+(?=\\.)", layer)
        known = layer.replace(f"blk.{number[0]}.", "blk.{i}.") if number else layer
        if known not in NAMES or kind not in ("weight", "bias"):
            raise ValueError(name)
        for part, count in (("attn_q", heads), ("attn_k", kv_heads)):
            if known.endswith(part):
                tensor = to_halves(tensor, count)
        found[f"{NAMES[known].replace('{i}', number[0] if number else '')}.{kind}"] = tensor
    return found""",
    },
    "03-1-d": {
        "moves the bytes": EXCHANGE.format(
            **LIE
            | {
                "swap": "x, y = (head[name]['data_offsets'] for name in (a, b))",
                "made": "data[: 8 + length] + bytes(data[8 + length :][y[0] + i - x[0]] if x[0] <= i < x[1] "
                "else data[8 + length :][x[0] + i - y[0]] if y[0] <= i < y[1] else one "
                "for i, one in enumerate(data[8 + length :]))",
            }
        ),
        "changes nothing": EXCHANGE.format(**LIE | {"swap": "pass"}),
        "forgets the new length": EXCHANGE.format(**LIE | {"made": "data[:8] + text + data[8 + length :]"}),
        "drops the metadata": EXCHANGE.format(
            **LIE | {"swap": LIE["swap"] + '\n    head.pop("__metadata__", 0)'}
        ),
        "b has the numbers of a, twice": EXCHANGE.format(
            **LIE | {"swap": 'head[b]["data_offsets"] = head[a]["data_offsets"]'}
        ),
        "exchanges the first two": EXCHANGE.format(
            **LIE | {"swap": 'a, b = sorted(set(head) - {"__metadata__"})[1:3]\n    ' + LIE["swap"]}
        ),
        "a length in characters": EXCHANGE.format(
            **LIE | {"made": 'len(text.decode()).to_bytes(8, "little") + text + data[8 + length :]'}
        ).replace("json.dumps(head)", "json.dumps(head, ensure_ascii=False)"),
        "metadata of its own": EXCHANGE.format(
            **LIE | {"swap": LIE["swap"] + '\n    head["__metadata__"] = {"by": "me"}'}
        ),
        "found by the reader": EXCHANGE.format(**LIE | {"caught": "a"}),
        "found by the shapes": EXCHANGE.format(**LIE | {"caught": "b"}),
        "found by the length": EXCHANGE.format(**LIE | {"caught": "d"}),
        "the whole file's sum misses it": EXCHANGE.format(**LIE | {"missed": "a"}),
        "the header's sum misses it": EXCHANGE.format(**LIE | {"missed": "b"}),
        "no letters": EXCHANGE.format(**LIE | {"caught": "", "missed": ""}),
    },
    "03-1-e": {
        "the score beside all labels": head(score="(logits - labels).square().mean()"),
        "the last place": head(last="states[:, -1]"),
        "the mean with padding": head(mean="states.mean(dim=1)"),
        "the token predicts itself": head(next="logits, labels, real"),
        "padding predicts the first token": head(next="logits[:, :-1], labels[:, 1:], real[:, 1:]"),
        "the mean over the texts": head(
            loss="""(torch.stack([cross_entropy(s[c], r[c]) for s, r, c in zip(said, right, counts) if c.any()]).mean()
        if counts.any() else 0.0)"""
        ),
        "padding on the right only": head(last="states[rows, real.sum(dim=1) - 1]"),
        "the first place": head(first="states[:, 0]"),
        "the last token first": head(first=ON_BODY["last"], last=ON_BODY["first"]),
        "the largest of each number": head(mean="states.masked_fill(~real[:, :, None], -1e9).amax(dim=1)"),
        "the sum": head(mean="(states * real[:, :, None]).sum(dim=1)"),
        "divided by the length of the row": head(mean="(states * real[:, :, None]).mean(dim=1)"),
        "always the last": head(mean=ON_BODY["last"]),
        "no bias": head(linear="x @ weight.T"),
        "the bias is subtracted": head(linear="x @ weight.T - (0 if bias is None else bias)"),
        "needs a bias": head(linear="x @ weight.T + bias"),
        "probabilities": head(result="logits.softmax(dim=-1)"),
        "log-probabilities": head(result="logits.log_softmax(dim=-1)"),
        "the likeliest": head(result="logits.argmax(dim=-1)"),
        "a softmax twice": head(classify="cross_entropy(logits.softmax(dim=-1), labels)"),
        "the sum over the texts": head(classify="cross_entropy(logits, labels, reduction='sum')"),
        "bits": head(classify="cross_entropy(logits, labels) / 0.6931471805599453"),
        "minus": head(classify="-cross_entropy(logits, labels)"),
        "errors counted": head(classify="(logits.argmax(-1) != labels).float().mean()"),
        "the distance": head(score="(logits[:, 0] - labels).abs().mean()"),
        "half the square": head(score="(logits[:, 0] - labels).square().mean() / 2"),
        "the root": head(score="(logits[:, 0] - labels).square().mean().sqrt()"),
        "squares added up": head(score="(logits[:, 0] - labels).square().sum()"),
        "one number for each text": head(result="logits.squeeze(-1)"),
        "padding has labels": head(tags="labels != -100"),
        "-100 is class 0": head(tags="real", loss="cross_entropy(said[counts], right[counts].clamp(min=0))"),
        "-100 counts in the mean": head(
            loss="cross_entropy(said[counts], right[counts], reduction='sum') / real.sum() if counts.any() else 0.0"
        ),
        "the token before": head(next="logits[:, 1:], labels[:, :-1], real[:, :-1] & real[:, 1:]"),
        "two tokens after": head(next="logits[:, :-2], labels[:, 2:], real[:, :-2] & real[:, 2:]"),
        "all places of a next token": head(next="logits[:, :-1], labels[:, 1:], real[:, 1:] | True"),
        "the last token predicts padding": head(next="logits[:, :-1], labels[:, 1:], real[:, :-1]"),
        "nothing counts: not a number": head(loss="cross_entropy(said[counts], right[counts])"),
        "the logits alone": head().replace("return logits, ", "return logits  # "),
        "the loss alone": head().replace("return logits, ", "return "),
        "the other way round": head().replace(
            "return logits, (logits[:, 0] - labels).square().mean()",
            "return (logits[:, 0] - labels).square().mean(), logits",
        ),
        "changes the states": head(
            mean="states.mul_(real[:, :, None]).sum(dim=1) / real.sum(dim=1, keepdim=True)"
        ),
        "changes the labels": head(tags="real & (labels.masked_fill_(~real, -100) != -100)"),
        "ignores pool": head().replace("if pool ==", "if 'last' =="),
        "the checker's own": """def put_head(*given):
    import sys

    return sys.modules["minillm.course.classroom.exercises.lesson_03_1"].head_by_formula(*given)""",
    },
}
