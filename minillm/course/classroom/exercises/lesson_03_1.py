"""Checkers of lesson 03_1, bodies, heads, checkpoints, the hub, GGUF."""

import json
import struct

import torch
from safetensors.torch import load

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    Inputs,
    as_list,
    cases,
    copied_library,
    expect,
    forbid,
    packages_of,
    plain,
    shown,
)
from minillm.data.gguf_blocks import TYPES, dequantize
from minillm.models import Llama, LlamaConfig
from minillm.models.decoder_heads import LlamaForSequenceClassification
from minillm.nn.pairing import to_halves

SAFETENSORS = ("safetensors.torch.load", "safetensors.torch.load_file", "safetensors.numpy.load",
               "safetensors.safe_open", "safetensors.deserialize",
               "safetensors.torch.deserialize", "safetensors.numpy.deserialize",
               "safetensors._safetensors_rust.deserialize", "minillm.models.weights.read_tensors",
               "minillm._files.load_arrays")  # fmt: skip
BLOCKS = ("minillm.data.gguf_blocks.dequantize", "minillm.data.gguf.GGUFFile.read",
          *(f"minillm.data.gguf_blocks.{name}" for name in ("_from_q4_0", "_from_q4_1", "_from_q8_0", "_nibbles")),
          )  # fmt: skip
PAIRING = ("minillm.nn.pairing.to_halves", "minillm.nn.pairing.to_interleaved",
           "minillm.nn.pairing.convert_pairing", "minillm.models.gguf.translated",
           "minillm.models.gguf.file_tensors")  # fmt: skip
DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
    "BOOL": torch.bool,
}  # fmt: skip
SHAPES = ((), (3,), (2, 4), (2, 1, 3), (0,), (3, 0))


@exercise("03-1-a", points=3)
def tensors_of(answer):
    """The tensors of a file."""
    copied = copied_library(answer) or packages_of(answer, "safetensors")
    assert not copied, f"read the bytes yourself: your answer uses {copied}"
    for case in cases(dtype=tuple(DTYPES), shape=SHAPES, about=(False, True), blanks=(0, 5, 1 << 16)):
        inputs = Inputs(case.seed)
        tensors = {"첫째.weight": _tensor(inputs, case.dtype, case.shape), "b": _tensor(inputs, "F32", (2, 2)),
                   f"a.{len(case.shape)}.bias": _tensor(inputs, case.dtype, (1,))}  # fmt: skip
        data = _file(tensors, inputs, case.about, case.blanks)
        with forbid("read the bytes yourself", *SAFETENSORS, answer=answer):
            found = answer(data)
        hint = f"a file with {case.dtype} of shape {list(case.shape)}"
        assert isinstance(found, dict), f"{hint}: the result is a dict, got {shown(found)}"
        assert set(found) == set(tensors), (
            f"{hint}: it has the names {shown(list(tensors))}, got {shown(list(found))}"
        )
        for name, tensor in tensors.items():
            one = found[name]
            assert isinstance(one, torch.Tensor), f"{hint}: {name} must be a torch tensor, got {shown(one)}"
            assert one.dtype == tensor.dtype, f"{hint}: {name} must be of {tensor.dtype}, got {one.dtype}"
            shape = list(torch.Tensor.size(one))
            assert shape == list(tensor.shape), (
                f"{hint}: {name} has the shape {list(tensor.shape)}, got {shape}"
            )
            expect(one, tensor, hint=f"{hint}: the numbers of {name}")


def _tensor(inputs, dtype, shape):
    kind, count = DTYPES[dtype], torch.Size(shape).numel()
    if kind.is_floating_point:
        return inputs.tensor(count).to(kind).reshape(shape)
    low, high = (0, 1) if dtype == "BOOL" else (0, 255) if dtype == "U8" else (-128, 127)
    return torch.tensor(inputs.integers(count, low, high), dtype=kind).reshape(shape)


def _file(tensors, inputs, about, blanks):
    """The bytes of a safetensors file: in the header the tensors stand in another order than behind it."""
    raw, entries, at = b"", {}, 0
    for name in inputs.shuffled(tensors):
        piece = bytes(tensors[name].reshape(-1).view(torch.uint8).tolist()) if tensors[name].numel() else b""
        entries[name] = (at, at + len(piece))
        raw, at = raw + piece, at + len(piece)
    names = {kind: name for name, kind in DTYPES.items()}
    head = {"__metadata__": {"format": "pt"}} if about else {}
    for name in inputs.shuffled(tensors):
        one = tensors[name]
        head[name] = {
            "dtype": names[one.dtype],
            "shape": list(one.shape),
            "data_offsets": list(entries[name]),
        }
    text = json.dumps(head, ensure_ascii=bool(about)).encode() + b" " * blanks
    return struct.pack("<Q", len(text)) + text + raw


@exercise("03-1-b", points=3)
def weights_of(answer):
    """The weights of blocks."""
    copied = copied_library(answer)
    assert not copied, f"read the blocks yourself: your answer uses {copied}"
    for case in cases(kind=("Q4_0", "Q4_1", "Q8_0"), blocks=(0, 1, 2, 7), scale=(0.0, 0.01, -0.3)):
        inputs = Inputs(case.seed)
        numbers = TYPES[case.kind].size - (4 if case.kind == "Q4_1" else 2)
        data = b""
        for _ in range(case.blocks):
            data += struct.pack("<e", case.scale * (1 + inputs.floats(1)[0] / 2))
            data += struct.pack("<e", inputs.floats(1)[0]) if case.kind == "Q4_1" else b""
            data += bytes(inputs.integers(numbers, 0, 255))
        expected = dequantize(torch.tensor(list(data), dtype=torch.uint8).numpy(), case.kind)
        with forbid("read the blocks yourself", *BLOCKS, answer=answer):
            found = answer(data, case.kind)
        expect(found, expected, 1e-4, f"{case.blocks} blocks of {case.kind}")


LAYERS = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "blk.{i}.attn_norm": "model.layers.{i}.input_layernorm",
    "blk.{i}.attn_q": "model.layers.{i}.self_attn.q_proj",
    "blk.{i}.attn_k": "model.layers.{i}.self_attn.k_proj",
    "blk.{i}.attn_v": "model.layers.{i}.self_attn.v_proj",
    "blk.{i}.attn_output": "model.layers.{i}.self_attn.o_proj",
    "blk.{i}.ffn_up": "model.layers.{i}.mlp.up_proj",
}


@exercise("03-1-c", points=3)
def renamed(answer):
    """From llama.cpp's names and order to Hugging Face's."""
    copied = copied_library(answer) or packages_of(answer, "transformers")
    assert not copied, f"move the rows yourself: your answer uses {copied}"
    for case in cases(
        heads=(1, 2, 6), shared=(1, 2), half=(1, 2, 5), layer=(0, 9, 10, 121), kind=("weight", "bias")
    ):
        inputs = Inputs(case.seed)
        kv_heads = max(1, case.heads // case.shared)
        rows = {"attn_q": case.heads * 2 * case.half, "attn_k": kv_heads * 2 * case.half}
        given, expected = {}, {}
        for ours, theirs in inputs.shuffled(LAYERS.items()):
            part = ours.rpartition(".")[2]
            shape = (rows.get(part, 4),) if case.kind == "bias" or "norm" in part else (rows.get(part, 4), 3)
            tensor = inputs.tensor(*shape)
            given[f"{ours.replace('{i}', str(case.layer))}.{case.kind}"] = tensor
            heads = {"attn_q": case.heads, "attn_k": kv_heads}.get(part)
            moved = tensor if heads is None else to_halves(tensor, heads)
            expected[f"{theirs.replace('{i}', str(case.layer))}.{case.kind}"] = moved
        before = {name: tensor.clone() for name, tensor in given.items()}
        with forbid("move the rows yourself", *PAIRING, answer=answer):
            found = answer(given, case.heads, kv_heads)
        hint = f"{case.heads} heads of q, {kv_heads} of k, each of width {2 * case.half}, layer {case.layer}"
        expect(found, expected, 1e-6, hint)
        for name, tensor in expected.items():
            kind = getattr(found[name], "dtype", None)
            assert kind == tensor.dtype, (
                f"{hint}: {name} must be a tensor of {tensor.dtype}, got {shown(kind)}"
            )
        expect(given, before, hint=f"{hint}: the tensors that you are given must stay as they are")
    for name in ("blk.0.attn_rot.weight", "output.weight", "blk.0.attn_q.scale", "blk.x.attn_q.weight",
                 "mm.0.attn_q.weight", "blk.0.token_embd.weight", "blk.0.1.attn_q.weight"):  # fmt: skip
        try:
            found = answer({name: torch.ones(2)}, 1, 1)
        except ValueError:
            continue
        raise AssertionError(
            f"{name} stands in no row of NAMES: a ValueError was expected, got {shown(found)}"
        )


@exercise("03-1-d", points=3)
def lie(answer):
    """A file that is sound, and lies."""
    found = answer if isinstance(answer, dict) else {}
    missing = [name for name in ("exchange", "caught", "missed") if name not in found]
    assert not missing, f"the answer lacks {', '.join(missing)}"
    for case in cases(
        shape=((2,), (3, 2), ()), dtype=("F32", "BF16", "U8"), about=(False, True), blanks=(0, 3)
    ):
        inputs = Inputs(case.seed)
        a, b = inputs.shuffled(["w10", "w9"])
        tensors = {a: _tensor(inputs, case.dtype, case.shape), b: _tensor(inputs, case.dtype, case.shape),
                   "첫째": inputs.tensor(40)}  # fmt: skip
        data = _file(tensors, inputs, case.about, case.blanks)
        forged = plain(found["exchange"](data, a, b), "what exchange returns")
        hint = f"two tensors of {case.dtype} and shape {list(case.shape)}"
        assert isinstance(forged, bytes), f"{hint}: exchange returns bytes, got {shown(forged)}"
        assert len(forged) > 8, f"{hint}: a file has more than 8 bytes, got {len(forged)}"
        behind, was = (one[8 + int.from_bytes(one[:8], "little") :] for one in (forged, data))
        assert behind == was, (
            f"{hint}: the bytes behind the header must stay as they are, got {shown(behind)}"
        )
        about = _about(forged)
        expect(about, _about(data), hint=f"{hint}: __metadata__")
        try:
            loaded = load(forged)
        except Exception as error:  # safetensors' own has no common parent
            raise AssertionError(f"{hint}: the file does not open: {error}") from None
        expect({name: list(one.shape) for name, one in loaded.items()},
               {name: list(one.shape) for name, one in tensors.items()}, hint=f"{hint}: shapes")  # fmt: skip
        for name, other in ((a, b), (b, a), ("첫째", "첫째")):
            same = loaded[name].dtype == tensors[other].dtype
            assert same, f"{hint}: {name} must be of {tensors[other].dtype}, got {loaded[name].dtype}"
            expect(
                loaded[name], tensors[other], hint=f"{hint}: under {name} must stand the numbers of {other}"
            )
    letters = {name: plain(found[name], name) for name in ("caught", "missed")}
    for name, letter in letters.items():
        assert isinstance(letter, str), f"{name} is a letter from a to d, got {shown(letter)}"
        letters[name] = letter.strip().lower()
    assert letters["caught"] == "c", (
        f"caught: {shown(letters['caught'])} is not it. What of the file is the same as before, and what is not?"
    )
    assert letters["missed"] == "c", (
        f"missed: {shown(letters['missed'])} is not it. Which of these bytes did your exchange leave as they were?"
    )


def _about(data):
    """__metadata__ of a file, None where it has none; AssertionError where the header cannot be read."""
    try:
        return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__")
    except (ValueError, AttributeError):
        raise AssertionError("the header is not JSON") from None


# --- a head on a body ---

HEAD = "build the head yourself, with nothing of minillm"
TASKS = ("classify", "score", "tag", "next")


@exercise("03-1-e", points=4)
def put_head(answer):
    """Pool, matrix and loss, for four tasks; on random states, and on those of small Llamas."""
    copied = copied_library(answer)
    assert not copied, f"the exercise says: {HEAD}; your answer uses {copied}"
    check_head(answer, *some_batch(Inputs(0), 2, 3, 4, 1, "right", True), labels=torch.tensor([0.5, -2.0]),
               task="score", pool="last", hint="two texts of 3 tokens")  # fmt: skip
    for case in cases(
        48, task=TASKS, pool=("first", "last", "mean"), texts=(1, 2, 5), length=(1, 2, 7), width=(1, 3, 8),
        labels=(2, 5), side=("left", "right", "both"), bias=(False, True), some=(0, 1, 2),
    ):  # fmt: skip
        inputs, each = Inputs(case.seed), case.task in ("tag", "next")
        count = 1 if case.task == "score" else case.labels
        given = some_batch(inputs, case.texts, case.length, case.width, count, case.side, case.bias)
        check_head(answer, *given, labels=some_labels(inputs, given[1], count, case.task, case.some), task=case.task,
                   pool=None if each else case.pool, hint=str(case))  # fmt: skip
    for seed in range(3):
        check_llamas(answer, Inputs(100 + seed))


def some_batch(inputs, texts, length, width, labels, side, bias):
    """(states, mask, weight, bias): texts of 1 to `length` tokens; at padding the states are large."""
    mask = torch.zeros(texts, length, dtype=torch.long)
    for row in range(texts):
        tokens = length if row == 0 else inputs.integer(1, length)
        left = {"left": True, "right": False, "both": bool(row % 2)}[side]
        mask[row, length - tokens if left else 0 : length if left else tokens] = 1
    states = inputs.tensor(texts, length, width)
    states = torch.where(mask[:, :, None] == 1, states, 900 * states)
    return states, mask, inputs.tensor(labels, width), inputs.tensor(labels) if bias else None


def some_labels(inputs, mask, labels, task, some):
    """Labels of the task. some: 0, of a "tag" no label counts, 1, half of them, 2, all; at padding stands anything."""
    if task == "score":
        return inputs.tensor(len(mask))
    if task == "classify":
        return torch.tensor(inputs.integers(len(mask), 0, labels - 1))
    drawn = torch.tensor(inputs.integers(mask.numel(), 0, labels - 1)).view(mask.shape)
    if task == "tag" and some < 2:
        left_out = torch.tensor(inputs.integers(mask.numel(), 0, some)).view(mask.shape) == 0
        drawn = torch.where(left_out & (mask == 1), -100, drawn)
    return drawn


def check_head(answer, states, mask, weight, bias, labels, task, pool, hint, logits=None):
    """logits: those of a model, where there is one; else they are worked out."""
    computed, loss = head_by_formula(states, mask, weight, bias, labels, task, pool)
    expected = computed if logits is None else logits.double()
    given = [states, mask, weight, bias, labels]
    copies = [None if one is None else one.clone() for one in given]
    with forbid(HEAD, *HEADS, answer=answer):
        found = answer(*copies, task, pool)
    assert isinstance(found, (list, tuple)), f"put_head returns (logits, loss), got {shown(found)} ({hint})"
    assert len(found) == 2, f"put_head returns (logits, loss), got {len(found)} things ({hint})"
    said = as_list(found[0], f"the logits ({hint})")
    if task in ("tag", "next"):
        try:
            said = torch.tensor(said, dtype=torch.float64)
        except (ValueError, TypeError, RuntimeError):
            raise AssertionError(f"the logits must be {tuple(expected.shape)} numbers ({hint})") from None
        assert said.shape == expected.shape, (
            f"the logits are {tuple(expected.shape)}, got {tuple(said.shape)} ({hint})"
        )
        said, expected = said[mask == 1], expected[mask == 1]  # padding has any logits
    expect(said, expected, 1e-4, f"the logits ({hint})")
    expect(found[1], loss.item(), 1e-4, f"the loss ({hint})")
    for name, one, before in zip(("states", "mask", "weight", "bias", "labels"), copies, given):
        assert before is None or torch.equal(one, before), f"{name} must stay as it is ({hint})"


def head_by_formula(states, mask, weight, bias, labels, task, pool):
    """(logits, loss) in float64, text by text and token by token."""
    weight = weight.double()
    shift = torch.zeros(len(weight)).double() if bias is None else bias.double()
    logits = states.double() @ weight.T + shift  # of every token, (B, T, L)
    terms = []
    if task in ("classify", "score"):
        rows = []
        for row, real, label in zip(logits, mask == 1, labels):
            own = row[real]  # the mean of the logits is the logits of the mean
            rows.append({"first": own[0], "last": own[-1], "mean": own.mean(0)}[pool])
            nats = (
                (rows[-1].logsumexp(0) - rows[-1][label])
                if task == "classify"
                else (rows[-1][0] - label) ** 2
            )
            terms.append(nats)
        logits = torch.stack(rows)
    else:
        for row, real, text in zip(logits, (mask == 1).tolist(), labels.tolist()):
            for t in range(len(text)):
                label, counts = text[t], real[t] and text[t] != -100
                if task == "next":
                    counts = t + 1 < len(text) and real[t] and real[t + 1]
                    label = text[t + 1] if counts else 0
                if counts:
                    terms.append(row[t].logsumexp(0) - row[t][label])
    return logits, torch.stack(terms).mean() if terms else torch.zeros(()).double()


HEADS = (
    "minillm.models.decoder_heads.DecoderForSequenceClassification.forward",
    "minillm.models.encoder_heads.EncoderWithHead.forward",
    "minillm.course.classroom.exercises.lesson_03_1.head_by_formula",
)


@torch.no_grad()
def check_llamas(answer, inputs):
    """The lesson's heads on small Llamas of random weights: a classifier, a score, the language model."""
    config = {"vocab_size": 11, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2,
              "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 32}  # fmt: skip
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2, [1] + [0] * 5])
    ids = torch.tensor(inputs.integers(mask.numel(), 0, 10)).view(mask.shape)
    model = Llama(LlamaConfig(**config), seed=inputs.integer(0, 99))
    states = model.body(ids, mask).last_hidden_state
    check_head(answer, states, mask, model.head.weight, None, ids, "next", None, "a small Llama",
               model(ids, mask).logits)  # fmt: skip
    for labels, task in ((6, "classify"), (1, "score")):
        one = LlamaForSequenceClassification(
            LlamaConfig(**config, num_labels=labels, pad_token_id=None), seed=inputs.integer(0, 99)
        )
        right = inputs.tensor(3) if labels == 1 else torch.tensor(inputs.integers(3, 0, labels - 1))
        states = one.body(ids, mask).last_hidden_state
        check_head(answer, states, mask, one.score.weight, None, right, task, "last", f"a small Llama, {labels} labels",
                   one(ids, mask).logits)  # fmt: skip
