"""The tokenizer of an E5S1 file: a Unigram model of XLM-RoBERTa's 250,002 pieces, with its table of characters.

    "query: ①한국어"  ->  "query: 1한국어"  ->  <s> ▁query : ▁1 한국 어 </s>

As SentencePiece does it: characters are replaced, runs of blanks become one, ▁ stands in front of a word, and the
likeliest spelling is taken; a character that is in no piece costs the lowest score less 10. The table of the file
knows single characters only: Hangul in decomposed form (as macOS writes names of files) is not put together, where
XLM-RoBERTa's own table does it. The tokenizers library reads a table in another way than SentencePiece where a letter
of it carries a mark (charsmap.py): in such places the ids of a saved tokenizer.json differ from the file's.

Book: 2.2.1 토큰화, 10.2. Papers: Kudo 2018; Conneau et al. 2020 (XLM-R). Held against: tokenizers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minillm._files import BadFileError
from minillm.data.e5s1 import E5S1File, read_e5s1
from minillm.tokenizer.charsmap import write_charsmap
from minillm.tokenizer.sentencepiece import CONTROL, NORMAL, UNKNOWN, SentencePieceModel, build_tokenizer
from minillm.tokenizer.unigram import UnigramTokenizer

MASK = "<mask>"  # the only special token that the file does not name by its id


def load_e5s1_tokenizer(path: str | Path) -> UnigramTokenizer:
    """The tokenizer of an E5S1 file; calling it puts <s> and </s> around a text, and </s></s> between two.

    Raises BadFileError for a file that is cut, damaged, or whose tokenizer cannot be.
    """
    file = read_e5s1(path)
    try:
        return _tokenizer(file)
    except ValueError as error:
        raise BadFileError(f"tokenizer of {str(path)!r} is refused: {error}") from None


def _tokenizer(file: E5S1File) -> UnigramTokenizer:
    kinds = [CONTROL if piece == MASK else NORMAL for piece in file.pieces]
    for name, index in file.special.items():
        kinds[index] = UNKNOWN if name == "unk" else CONTROL
    model = SentencePieceModel(file.pieces, file.scores, kinds, charsmap=write_charsmap(file.replacements))
    bos, eos = ((file.pieces[file.special[name]], file.special[name]) for name in ("bos", "eos"))
    tokenizer = build_tokenizer(model, _frame(bos, eos))
    tokenizer.pad_token = file.pieces[file.special["pad"]]
    tokenizer.model_max_length = file.sizes["positions"]
    return tokenizer


def _frame(bos: tuple[str, int], eos: tuple[str, int]) -> dict[str, Any]:
    """RoBERTa's frame as tokenizer.json writes it: <s> A </s>, and <s> A </s> </s> B </s>."""
    first, last = ({"SpecialToken": {"id": name, "type_id": 0}} for name, _ in (bos, eos))
    one, two = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {
        "type": "TemplateProcessing",
        "single": [first, one, last],
        "pair": [first, one, last, last, two, last],
        "special_tokens": {
            name: {"id": name, "ids": [index], "tokens": [name]} for name, index in (bos, eos)
        },
    }
