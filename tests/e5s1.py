"""Writes small E5S1 files, and wrong ones: the library only reads them."""

import struct

import numpy as np

from minillm.data.gguf_blocks import quantize

WIDTH, HEADS, INNER, POSITIONS, TYPES, SPARE = 32, 4, 64, 20, 2, 3
LISTED = (
    "▁ ▁a ▁b a b c ▁que ry : ▁pass age ▁한국 한 국 어 는 ▁서울 서 울 . ! ▁hello ▁world lo w o r l d e h ▁the ▁cat 1 2 "
    "▁1 fi A"
)
WORDS = LISTED.split()
PIECES = ["<s>", "<pad>", "</s>", "<unk>", *WORDS, "<mask>"]
SCORES = [0.0] * 4 + [-1.0 - 0.37 * i for i in range(len(WORDS))] + [0.0]
REPLACED = {"\t": " ", "\n": " ", "\u3000": " ", "①": "1", "ﬁ": "fi", "Ａ": "A", "\x07": "", "½": "1/2"}
SPECIAL = (0, 2, 1, 3)  # bos, eos, pad, unk


def weights(layers=2, pieces=PIECES, seed=0):
    """name -> float32 array of every tensor; matrices hold what four bits can say."""
    rng = np.random.default_rng(seed)
    shapes = {
        "emb.word": (len(pieces) + SPARE, WIDTH),
        "emb.pos": (POSITIONS, WIDTH),
        "emb.type": (TYPES, WIDTH),
        "emb.ln.w": (WIDTH,),
        "emb.ln.b": (WIDTH,),
    }
    for i in range(layers):
        for part in ("q", "k", "v", "ao"):
            shapes |= {f"l{i}.{part}.w": (WIDTH, WIDTH), f"l{i}.{part}.b": (WIDTH,)}
        shapes |= {f"l{i}.fi.w": (INNER, WIDTH), f"l{i}.fi.b": (INNER,)}
        shapes |= {f"l{i}.fo.w": (WIDTH, INNER), f"l{i}.fo.b": (WIDTH,)}
        shapes |= {f"l{i}.{part}.{kind}": (WIDTH,) for part in ("aln", "oln") for kind in "wb"}
    return {name: rng.normal(0.0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}


def e5s1_bytes(layers=2, pieces=PIECES, scores=SCORES, replaced=REPLACED, special=SPECIAL, **changes):
    """The bytes of a file; `changes` replaces fields by name, to make it lie."""
    one = {
        "magic": b"E5S1", "version": 1, "width": WIDTH, "layers": layers, "heads": HEADS, "inner": INNER,
        "vocabulary": len(pieces) + SPARE, "positions": POSITIONS, "types": TYPES, "eps": 1e-12, "block": 32,
        "count": len(pieces), "begins": None, "text_size": None, "replacements": len(replaced),
        "replaced_size": None, "tensors": None, "codes": None, "entry": lambda name, entry: entry, "tail": b"",
        "arrays": weights(layers, pieces),
    } | changes  # fmt: skip
    sizes = [one[name] for name in ("width", "layers", "heads", "inner", "vocabulary", "positions", "types")]
    head = one["magic"] + struct.pack("<I7ifi", one["version"], *sizes, one["eps"], one["block"])
    texts = [piece if isinstance(piece, bytes) else piece.encode() for piece in pieces]
    text = b"".join(texts)
    begins = one["begins"] or np.cumsum([0, *map(len, texts)]).tolist()
    size = len(text) if one["text_size"] is None else one["text_size"]
    head += struct.pack("<5iQ", one["count"], *special, size)
    head += np.array(begins, "<u4").tobytes() + np.array(scores, "<f4").tobytes() + text
    table = b""
    for old, new in one["codes"] or [(ord(old), [ord(c) for c in new]) for old, new in replaced.items()]:
        table += struct.pack(f"<IB{len(new)}I", old, len(new), *new)
    size = len(table) if one["replaced_size"] is None else one["replaced_size"]
    head += struct.pack("<iI", one["replacements"], size) + table
    kinds = {
        name: int(array.ndim == 2 and name not in ("emb.pos", "emb.type"))
        for name, array in one["arrays"].items()
    }
    blobs = {
        name: quantize(array, "Q4_0").tobytes() if kinds[name] else array.tobytes()
        for name, array in one["arrays"].items()
    }
    head += struct.pack("<i", len(blobs) if one["tensors"] is None else one["tensors"])
    directory = sum(2 + len(name) + 21 for name in blobs)
    at, listed, body = len(head) + directory, b"", b""
    for name, blob in blobs.items():
        at += -at % 64 * (name == "emb.word")  # the real file's data begins at a multiple of 64
        if name == "emb.word":
            body += bytes(at - len(head) - directory)
        entry = one["entry"](name, (kinds[name], one["arrays"][name].size, at, len(blob)))
        listed += struct.pack(f"<H{len(name)}sBIQQ", len(name), name.encode(), *entry)
        body, at = body + blob, at + len(blob)
    return head + listed + body + one["tail"]
