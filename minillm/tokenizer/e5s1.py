"""The tokenizer of an E5S1 file: a Unigram model of XLM-RoBERTa's 250,002 pieces, with its table of characters.

    "query: ①한국어"  ->  "query: 1한국어"  ->  <s> ▁que ry : ▁1 한국 어 </s>

Characters are replaced, runs of blanks become one, ▁ stands in front of every word, and the likeliest spelling is
taken; a character that is in no piece costs the lowest score less 10. A blank at the end of a text is a ▁ of its own.
The table of the file knows single characters only: decomposed Hangul (as macOS writes names of files) is not put
together, where XLM-RoBERTa's own table does it. The tokenizers library reads a table in another way than
SentencePiece where a letter of it carries a mark (charsmap.py): there a saved tokenizer.json gives it other ids.

Book: 2.2.1 토큰화, 10.2. Papers: Kudo 2018; Conneau et al. 2020 (XLM-R). Held against: tokenizers.
"""

from __future__ import annotations

import base64
from pathlib import Path

from minillm._files import BadFileError
from minillm.data.e5s1 import SPECIAL, E5S1File, read_e5s1
from minillm.tokenizer.added import AddedToken
from minillm.tokenizer.charsmap import Charsmap, Trie, write_charsmap
from minillm.tokenizer.unigram import Unigram, UnigramTokenizer, metaspace_layout

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
    ids = {*file.special.values(), *(index for index, piece in enumerate(file.pieces) if piece == MASK)}
    table = write_charsmap(file.replacements)
    normalizer = {
        "type": "Sequence",
        "normalizers": [
            {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(table).decode("ascii")},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
        ],
    }
    bos, eos, pad, unk = (file.pieces[file.special[name]] for name in SPECIAL)
    layout = metaspace_layout(normalizer, file.pieces, bos, eos)
    first, text, last = layout["post_processor"]["single"]
    second = {"Sequence": {**text["Sequence"], "id": "B"}}
    layout["post_processor"]["pair"] = [first, text, last, last, second, last]  # RoBERTa's way, all of type 0
    tokenizer = UnigramTokenizer(
        Unigram(list(zip(file.pieces, file.scores)), file.special["unk"]),
        [AddedToken(index, file.pieces[index]) for index in sorted(ids)],
        layout,
    )
    tokenizer.normalizer.steps[0] = Charsmap(Trie(table))  # the longest key first, as the file means it
    tokenizer.pad_token = pad
    tokenizer.roles = {  # <s> and </s> are BERT's [CLS] and [SEP], too
        "bos_token": bos, "eos_token": eos, "cls_token": bos, "sep_token": eos, "pad_token": pad, "unk_token": unk,
    }  # fmt: skip
    tokenizer.model_max_length = file.sizes["positions"]
    return tokenizer
