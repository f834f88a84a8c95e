"""Byte-pair encoding (BPE, 바이트 쌍 인코딩) on a whiteboard: merge the commonest neighbours, again and again.

    best = argmax over pairs of (count(pair), pair)        count(pair) = sum over words of occurrences * word count

Start with bytes; each step turns the commonest adjacent pair into one new token. The list of merges, in order, is
the tokenizer. Encoding replays it: of all adjacent pairs, merge the one that was learned first, until none is left.
Decoding joins the bytes of the ids.

    text --special tokens cut out--> parts --pattern--> pieces --merges--> ids         `encode_plain`, `decode_plain`

Every step here counts every pair of every word anew, so training costs (merges x corpus): fine for a lesson.
bpe_train_fast.py keeps the counts instead, in compiled code, and gives these same merges.
Ties in counts go to the greatest pair of byte strings, so that a corpus has exactly one answer.

Book: 2.2.1 토큰화. Paper: Sennrich, Haddow and Birch 2016, algorithm 1. Held against: tokenizers, tiktoken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from minillm.tokenizer.special import special_parts
from minillm.tokenizer.splitting import GPT2_PATTERN, split

Pair = tuple[bytes, bytes]


def count_words(texts: Iterable[str], pattern: str = GPT2_PATTERN) -> dict[bytes, int]:
    """How often each piece occurs: `["a a"]` -> `{b"a": 1, b" a": 1}`. Merging needs nothing else of the corpus."""
    if isinstance(texts, str):
        raise ValueError(
            "texts must be an iterable of str, got one str, whose characters would pass for texts"
        )
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(split(text, pattern))
    return {word.encode("utf-8"): count for word, count in counts.items()}


def count_pairs(words: Iterable[tuple[Sequence[bytes], int]]) -> Counter[Pair]:
    """Adjacent pairs of tokens, weighted: `[([b"a", b"b", b"a"], 2)]` -> `{(b"a", b"b"): 2, (b"b", b"a"): 2}`."""
    counts: Counter[Pair] = Counter()
    for tokens, count in words:
        for pair in pairwise(tokens):
            counts[pair] += count
    return counts


def best_pair(counts: Mapping[Pair, int]) -> Pair:
    """The pair with the highest count; of equals, the greatest pair of byte strings."""
    return max(counts, key=lambda pair: (counts[pair], pair))


def merge_pair(tokens: Sequence[bytes], pair: Pair) -> list[bytes]:
    """`tokens` with each occurrence of `pair` joined, from the left: `[a, a, a]` with `(a, a)` -> `[aa, a]`."""
    merged: list[bytes] = []
    i = 0
    while i < len(tokens):
        if tuple(tokens[i : i + 2]) == pair:
            merged.append(pair[0] + pair[1])
            i += 2
        else:
            merged.append(tokens[i])
            i += 1
    return merged


def train_bpe_plain(words: Mapping[bytes, int], num_merges: int, min_frequency: int = 1) -> list[Pair]:
    """The first `num_merges` merges of a corpus given as word counts (fewer when no pair is left to merge)."""
    table = [([bytes([byte]) for byte in word], count) for word, count in words.items()]
    merges: list[Pair] = []
    while len(merges) < num_merges:
        counts = count_pairs(table)
        if not counts:
            break
        pair = best_pair(counts)
        if counts[pair] < min_frequency:
            break
        merges.append(pair)
        table = [(merge_pair(tokens, pair), count) for tokens, count in table]
    return merges


def encode_word_plain(word: bytes, ranks: Mapping[Pair, int]) -> list[bytes]:
    """The tokens of one piece; `ranks` says which step of training learned each pair (0 first).

    Each round scans every pair, so a piece of n bytes costs up to n * n steps.
    """
    tokens = [bytes([byte]) for byte in word]
    while len(tokens) > 1:
        pair = min(pairwise(tokens), key=lambda pair: ranks.get(pair, len(ranks)))
        if pair not in ranks:
            break
        tokens = merge_pair(tokens, pair)
    return tokens


def encode_plain(
    text: str,
    vocab: Mapping[bytes, int],
    ranks: Mapping[Pair, int],
    special_tokens: Mapping[str, int],
    pattern: str = GPT2_PATTERN,
) -> list[int]:
    """The ids of a text: a special token is one id, each piece of what lies between is merged for itself."""
    ids: list[int] = []
    for part in special_parts(text, frozenset(special_tokens)):
        if part in special_tokens:
            ids.append(special_tokens[part])
            continue
        for piece in split(part, pattern):
            ids += [vocab[token] for token in encode_word_plain(piece.encode("utf-8"), ranks)]
    return ids


def decode_plain(ids: Iterable[int], tokens: Sequence[bytes]) -> str:
    """The text of the ids, `tokens[i]` being the bytes of id i; bytes that are no character become U+FFFD."""
    return b"".join([tokens[index] for index in ids]).decode("utf-8", errors="replace")
