"""CLIP's tokenizer (CLIP 토크나이저) from the file that OpenAI published, `bpe_simple_vocab_16e6.txt.gz`.

Byte-level BPE with two differences from GPT-2's: text is lowercased, so nothing comes back as it was written, and a
word's last letter carries the sign `</w>` in place of a blank at its front. The file lists merges only; the ids are the
256 bytes, the same 256 as last letters, the first 48,894 merges, and two special tokens.

Before all that CLIP cleans texts with the ftfy library. Of its rules these are built here: curled quotes become
straight, half- and full-width forms ordinary ones, ligatures letters; the byte order mark and signs of no width go.
Left out: repairing text that was decoded wrongly, HTML entities.

Book: 14. Paper: Radford et al. 2021 (CLIP). Held against: openai/CLIP's SimpleTokenizer.
"""

from __future__ import annotations

import base64
import unicodedata
import zlib
from pathlib import Path

from minillm._files import BadFileError, read_bytes
from minillm.tokenizer.added import AddedToken
from minillm.tokenizer.bpe import BPETokenizer
from minillm.tokenizer.bpe_encode import BPE
from minillm.tokenizer.byte_alphabet import ALPHABET, BYTE_TO_CHARACTER
from minillm.tokenizer.charsmap import write_charsmap

BEGIN, END = "<|startoftext|>", "<|endoftext|>"
_MERGES = 49152 - 256 - 2
_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_LARGEST = 1 << 24  # bytes of the unpacked file


def cleaning_table() -> dict[str, str]:
    """What is replaced before a text is cut."""
    table = dict.fromkeys("\u02bc\u2018\u2019\u201a\u201b", "'") | dict.fromkeys(
        "\u201c\u201d\u201e\u201f", '"'
    )
    letters = "ĲĳǱǲǳǄǅǆǇǈǉǊǋǌﬀﬁﬂﬃﬄﬆ"
    widths = map(chr, (0x3000, *range(0xFF01, 0xFFF0)))
    table |= {letter: unicodedata.normalize("NFKC", letter) for letter in (*letters, *widths)}
    table |= {"ŉ": "'n", "ﬅ": "ſt"}
    return {old: new for old, new in table.items() if old != new} | dict.fromkeys(map(chr, _NOTHING), "")


_NOTHING = (
    *range(0x206A, 0x2070),
    0xFEFF,
    *range(0xFFF9, 0xFFFD),
    *range(1, 9),
    0x0B,
    *range(0x0E, 0x20),
    0x7F,
)


def load_clip(path: str | Path) -> BPETokenizer:
    """Open CLIP's file of merges; BadFileError when it is missing, cut short or damaged."""
    data = read_bytes(path, "tokenizer")
    try:
        unpacker = zlib.decompressobj(wbits=31)
        text = unpacker.decompress(data, _LARGEST).decode("utf-8")
        if not unpacker.eof:
            raise ValueError("cut short or larger than expected")
        merges = [tuple(line.split(" ")) for line in text.split("\n")[1 : _MERGES + 1]]
        if len(merges) < _MERGES or not all(len(pair) == 2 for pair in merges):
            raise ValueError(f"expected {_MERGES} lines of two tokens each behind the first line")
        letters = [BYTE_TO_CHARACTER[byte] for byte in ALPHABET]
        tokens = [*letters, *(letter + "</w>" for letter in letters), *map("".join, merges), BEGIN, END]
        vocab = {token: index for index, token in enumerate(tokens)}
        options = {"unk_token": END, "end_of_word_suffix": "</w>"}
        added = [AddedToken(vocab[END], END), AddedToken(vocab[BEGIN], BEGIN)]
        tokenizer = BPETokenizer.from_parts(BPE(vocab, merges, options), added, _layout(vocab))
        tokenizer.pad_token = END
        return tokenizer
    except (ValueError, zlib.error) as error:
        raise BadFileError(f"tokenizer {str(path)!r} is refused: {error}") from None


def _layout(vocab: dict[str, int]) -> dict:
    table = base64.b64encode(write_charsmap(cleaning_table())).decode("ascii")
    cut = {"type": "Split", "pattern": {"Regex": _PATTERN}, "behavior": "Removed", "invert": True}
    to_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    normalizers = [
        {"type": "Precompiled", "precompiled_charsmap": table},
        {"type": "NFC"},
        {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
        {"type": "Lowercase"},
    ]
    return {
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [cut, to_bytes]},
        "post_processor": {
            "type": "RobertaProcessing",
            "sep": [END, vocab[END]],
            "cls": [BEGIN, vocab[BEGIN]],
            "trim_offsets": False,
            "add_prefix_space": False,
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [to_bytes, {"type": "BPEDecoder", "suffix": "</w>"}],
        },
    }
