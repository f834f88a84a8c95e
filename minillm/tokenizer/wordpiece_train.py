"""Training WordPiece (워드피스 학습): as BPE, but on characters, and what goes on inside a word carries ##.

    "hugging" -> h ##u ##g ##g ##i ##n ##g       merge the commonest neighbours: (##g, ##i) -> ##gi, ...

The first paper chose the pair that raises the likelihood of the corpus most, count(ab) / (count(a) count(b)); the code
was never published, and what the field trains with (tokenizers' WordPieceTrainer) takes the commonest pair, as here.
Ties go to the pair of the lowest ids. Ids: special tokens, characters that begin words and all others, characters with
##, then the tokens in the order in which they were made.

Pair counts are kept: a merge recounts the words that hold the pair and no others, and a heap knows the commonest.

Book: 2.2.1 토큰화. Held against: tokenizers.trainers.WordPieceTrainer. It numbers the ## characters in the order of a
hash table, anew in each run, so that ties fall differently each time; with that order fixed its vocabulary is ours.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import pairwise
from typing import Any

from minillm.tokenizer.normalizers import build_normalizer
from minillm.tokenizer.pre_tokenizers import build_pre_tokenizer
from minillm.tokenizer.special import ordinary_parts

Pair = tuple[int, int]


def first_characters(words: Mapping[str, int], limit: int | None = None) -> list[str]:
    """The characters of all words in the order of Unicode; of more than `limit`, the commonest."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    kept = sorted(counts, key=lambda character: (-counts[character], character))
    return sorted(kept if limit is None else kept[:limit])


def learn_wordpieces(
    words: Mapping[str, int],
    vocab_size: int,
    first: Sequence[str] = (),
    min_frequency: int = 2,
    limit_alphabet: int | None = None,
    prefix: str = "##",
) -> list[str]:
    """The vocabulary: `first`, the characters, and merged tokens up to `vocab_size` in all.

    `words` says how often each word occurs. Characters beyond `limit_alphabet` are left out of the words.
    """
    alphabet = first_characters(words, limit_alphabet)
    known = set(alphabet)
    spelled = [[c for c in word if c in known] for word in words]
    inside = sorted({prefix + c for word in spelled for c in word[1:]})
    ids = {token: index for index, token in enumerate(dict.fromkeys([*first, *alphabet, *inside]))}
    names = list(ids)
    symbols = [[ids[prefix * (place > 0) + c] for place, c in enumerate(word)] for word in spelled]
    weights = list(words.values())

    counts: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[int]] = defaultdict(set)
    for word, row in enumerate(symbols):
        for pair in pairwise(row):
            counts[pair] += weights[word]
            where[pair].add(word)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapify(heap)
    while heap and len(names) < vocab_size:
        count, pair = heappop(heap)
        if counts[pair] != -count:  # out of date
            if counts[pair] > 0:
                heappush(heap, (-counts[pair], pair))
            continue
        if -count < max(1, min_frequency):
            break
        token = names[pair[0]] + names[pair[1]].removeprefix(prefix)
        index = ids.setdefault(token, len(names))  # two pairs may make one token
        if index == len(names):
            names.append(token)
        gained: set[Pair] = set()
        for word in where.pop(pair):
            row, weight = symbols[word], weights[word]
            for old in pairwise(row):
                counts[old] -= weight
            row = symbols[word] = merge(row, pair, index)
            for new in pairwise(row):
                counts[new] += weight
                if index in new:
                    where[new].add(word)
                    gained.add(new)
        for new in gained:
            heappush(heap, (-counts[new], new))
    return names


def merge(row: list[int], pair: Pair, index: int) -> list[int]:
    """`row` with each occurrence of `pair` joined into `index`, from the left."""
    joined: list[int] = []
    at = 0
    while at < len(row):
        if at + 1 < len(row) and (row[at], row[at + 1]) == pair:
            joined.append(index)
            at += 2
        else:
            joined.append(row[at])
            at += 1
    return joined


def count_words(texts: Iterable[str], special: Iterable[str], layout: Mapping[str, Any]) -> Counter[str]:
    """How often each piece occurs between the `special` tokens of the texts, normalised and cut as `layout` says."""
    normalizer, cut = build_normalizer(layout["normalizer"]), build_pre_tokenizer(layout["pre_tokenizer"])
    counts: Counter[str] = Counter()
    for part in ordinary_parts(texts, frozenset(special)):
        counts.update(cut(normalizer(part)))
    return counts
