"""Text to ids and back: BPE, WordPiece and Unigram, trained here or opened from the tokenizer files of the field."""

from minillm.tokenizer.base import Tokenizer
from minillm.tokenizer.bpe import BPETokenizer
from minillm.tokenizer.chat import apply_chat_template
from minillm.tokenizer.llama2c import Llama2cTokenizer
from minillm.tokenizer.splitting import GPT2_PATTERN, GPT4_PATTERN
from minillm.tokenizer.tokenizer_json import load_tokenizer
from minillm.tokenizer.unigram import UnigramTokenizer
from minillm.tokenizer.wordpiece import WordPieceTokenizer

__all__ = [
    "GPT2_PATTERN",
    "GPT4_PATTERN",
    "BPETokenizer",
    "Llama2cTokenizer",
    "Tokenizer",
    "UnigramTokenizer",
    "WordPieceTokenizer",
    "apply_chat_template",
    "load_tokenizer",
]
