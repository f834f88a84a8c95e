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
from typing import Any

from minillm._checks import check_int, describe, is_listing
from minillm.tokenizer.batch import check_ids
from minillm.tokenizer.special import special_parts
from minillm.tokenizer.splitting import GPT2_PATTERN, split

Pair = tuple[bytes, bytes]


def count_words(texts: Iterable[str], pattern: str = GPT2_PATTERN) -> dict[bytes, int]:
    """How often each piece occurs: `["a a"]` -> `{b"a": 1, b" a": 1}`. Merging needs nothing else of the corpus."""
    if not is_listing(texts):  # a str would pass: its characters are texts
        raise ValueError(f"texts must be an iterable of str, got {describe(texts)}")
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(split(text, pattern))
    return {word.encode("utf-8"): count for word, count in counts.items()}


def count_pairs(words: Iterable[tuple[Sequence[bytes], int]]) -> Counter[Pair]:
    """Adjacent pairs of tokens, weighted: `[([b"a", b"b", b"a"], 2)]` -> `{(b"a", b"b"): 2, (b"b", b"a"): 2}`.

    ValueError for a dict of words, and for a word that is not cut into tokens yet.
    """
    if not is_listing(words) or isinstance(words, Mapping):
        raise ValueError(f"words must be an iterable of (tokens, count), got {describe(words)}")
    counts: Counter[Pair] = Counter()
    for tokens, count in words:
        if isinstance(tokens, (bytes, str)):
            raise ValueError(f"a word must be a list of tokens, got {describe(tokens)}")
        for pair in pairwise(tokens):
            counts[pair] += count
    return counts


def best_pair(counts: Mapping[Pair, int]) -> Pair:
    """The pair with the highest count; of equals, the greatest pair of byte strings. ValueError for none."""
    if not counts:
        raise ValueError("counts must hold at least one pair, got none: nothing is left to merge")
    return max(counts, key=lambda pair: (counts[pair], pair))


def merge_pair(tokens: Sequence[bytes], pair: Pair) -> list[bytes]:
    """`tokens` with each occurrence of `pair` joined, from the left: `[a, a, a]` with `(a, a)` -> `[aa, a]`.

    ValueError for a pair that is no tuple of two (a list would equal no pair), and for tokens that are one text.
    """
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise ValueError(f"pair must be a tuple of two byte strings, got {describe(pair)}")
    if isinstance(tokens, (bytes, str)):
        raise ValueError(f"tokens must be a list of byte strings, got {describe(tokens)}")
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
    """The first `num_merges` merges of a corpus given as word counts (fewer when no pair is left to merge).

    ValueError for words that are no dict from byte strings to counts, and for negative or broken numbers.
    """
    check_words(words), check_int("num_merges", num_merges, 0), check_int("min_frequency", min_frequency, 0)
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

    Each round scans every pair, so a piece of n bytes costs up to n * n steps. ValueError for a word that is no bytes.
    """
    if not isinstance(word, bytes) or not isinstance(ranks, Mapping):
        raise ValueError(
            f"word must be bytes and ranks a dict from pairs, got {describe(word)} and {describe(ranks)}"
        )
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
    """The ids of a text: a special token is one id, each piece of what lies between is merged for itself.

    ValueError for a text that is no str, and for a vocab without one of the 256 bytes.
    """
    check_vocab(vocab, special_tokens)
    ids: list[int] = []
    for part in special_parts(text, frozenset(special_tokens)):
        if part in special_tokens:
            ids.append(special_tokens[part])
            continue
        for piece in split(part, pattern):
            ids += [vocab[token] for token in encode_word_plain(piece.encode("utf-8"), ranks)]
    return ids


def decode_plain(ids: Sequence[int], tokens: Sequence[bytes]) -> str:
    """The text of the ids, `tokens[i]` being the bytes of id i; bytes that are no character become U+FFFD.

    ValueError for an id that has no token (-1 is none: it does not count from the end).
    """
    if not hasattr(ids, "__len__"):  # a generator is used up by the check
        raise ValueError(f"ids must be a list of int, got {describe(ids)}")
    check_ids(ids, len(tokens))
    return b"".join([tokens[index] for index in ids]).decode("utf-8", errors="replace")


# Checks, out of the way of the whiteboard


def check_words(words: Any) -> None:
    """ValueError unless `words` maps byte strings to counts."""
    if not isinstance(words, Mapping):
        raise ValueError(f"words must be a dict from byte strings to counts, got {describe(words)}")
    for word, count in words.items():
        if not isinstance(word, bytes):
            raise ValueError(f"words must have bytes as keys, got {describe(word)}")
        check_int("the count of a word", count, 0)


def check_vocab(vocab: Any, special_tokens: Any) -> None:
    """ValueError unless both are dicts and `vocab` has an id for each of the 256 bytes."""
    if not isinstance(vocab, Mapping) or not isinstance(special_tokens, Mapping):
        raise ValueError(
            f"vocab and special_tokens must be dicts, got {describe(vocab)} and {describe(special_tokens)}"
        )
    lacking = [byte for byte in range(256) if bytes([byte]) not in vocab]
    if lacking:
        raise ValueError(f"vocab must have an id for each of the 256 bytes, {len(lacking)} of them have none")
