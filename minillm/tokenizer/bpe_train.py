"""BPE training that keeps its counts (증분 학습): each merge touches only the words that hold the pair.

bpe_plain.py counts all pairs before every merge. But joining (a, b) into t changes a count only where it happens:

    ... x a b y ...  ->  ... x t y ...        (x, a) and (b, y) lose the word's count; (x, t) and (t, y) gain it

So the counts are kept, together with the words each pair was seen in. A new pair never occurs more often than the
one just merged, so pairs wait in buckets by count, and the buckets are emptied from the highest count down. A pair
whose count fell meanwhile moves to its new bucket when it comes up, which costs less than looking for it at once.

Where the speed comes from, in plain Python: a word is a str whose characters are token ids, so `str.split` and
`str.join` do the merging; and the words of one merge are gathered by neighbour before a count is touched.

Book: 2.2.1 토큰화. Held against: tokenizers' BpeTrainer (same merges under its tie rule, about its speed).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush
from itertools import pairwise

from minillm._checks import check_choice, check_int, check_text
from minillm.tokenizer.bpe_plain import Pair
from minillm.tokenizer.byte_alphabet import ALPHABET
from minillm.tokenizer.splitting import GPT2_PATTERN, compile_pattern

_EDGE = chr(0x10FFFF)  # in front of and behind each word, so that every pair has two neighbours
_INVERTED = bytes(255 - byte for byte in range(256))


def check_training(num_merges: int, min_frequency: int, ties: str) -> None:
    """Raise ValueError for arguments no trainer accepts."""
    check_int("num_merges", num_merges, minimum=0, maximum=1_000_000)
    check_int("min_frequency", min_frequency, minimum=0)
    check_choice("ties", ties, ("bytes", "ids"))


# A chunk is a run of blanks and the run of signs behind it (\p{White_Space}, which `re` has no name for).
_BLANK = r" \t-\r\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_CHUNK = re.compile(f"[{_BLANK}]*[^{_BLANK}]+|[{_BLANK}]+")


def count_words_by_chunk(texts: Iterable[str]) -> dict[bytes, int]:
    """`bpe_plain.count_words` for GPT-2's pattern, faster: each different chunk is cut only once.

    That is allowed because the pattern always cuts in front of a blank and never looks further than the next sign.
    Raises ValueError for a str instead of an iterable of them, or an item that is no str.
    """
    if isinstance(texts, str):
        raise ValueError(
            "texts must be an iterable of str, got one str, whose characters would pass for texts"
        )
    chunks: Counter[str] = Counter()
    for text in texts:
        chunks.update(_CHUNK.findall(check_text("text", text)))
    counts: defaultdict[str, int] = defaultdict(int)
    find_words = compile_pattern(GPT2_PATTERN).findall
    for chunk, count in chunks.items():
        for word in find_words(chunk):
            counts[word] += count
    return {word.encode("utf-8"): count for word, count in counts.items()}


def _falling(token: bytes) -> str:
    """A sort key that runs against byte order; the end counts as greater than any byte, so prefixes come last."""
    return token.translate(_INVERTED).decode("latin-1") + "\u0100"


def learn_merges(
    words: Mapping[bytes, int], num_merges: int, min_frequency: int = 1, ties: str = "bytes"
) -> list[Pair]:
    """The same merges as `train_bpe_plain`, without counting everything before each one.

    Args:
        words: how often each piece occurs in the corpus.
        num_merges: how many new tokens to make; fewer come when no pair is left.
        min_frequency: a pair seen less often is not merged.
        ties: "bytes", the greatest pair of byte strings wins; "ids", the pair of the lowest ids, as in tokenizers.

    Raises:
        ValueError: a negative number, or another `ties`.
    """
    check_training(num_merges, min_frequency, ties)
    tokens = [bytes([byte]) for byte in ALPHABET]
    keys = [_falling(token) if ties == "bytes" else chr(index) for index, token in enumerate(tokens)]
    to_ids = {byte: chr(index) for index, byte in enumerate(ALPHABET)}
    texts = [_EDGE + word.decode("latin-1").translate(to_ids) + _EDGE for word in words]
    weight_of = list(words.values()).__getitem__

    # pair of id characters -> the words it was seen in, once for each time; words it has left since are skipped later
    places: defaultdict[str, list[int]] = defaultdict(list)
    for index, text in enumerate(texts):
        for i in range(1, len(text) - 2):
            places[text[i : i + 2]].append(index)
    counts = {pair: sum(map(weight_of, where)) for pair, where in places.items()}

    floor = max(1, min_frequency)
    buckets: defaultdict[int, list[str]] = defaultdict(list)  # count -> pairs that had it when they came in
    for pair, count in counts.items():
        buckets[count].append(pair)
    levels = [-count for count in buckets]
    heapify(levels)
    level = 0
    ties_first: list[tuple[str, str]] = []  # (sort key, pair) of the pairs at this level
    merges: list[Pair] = []
    while len(merges) < num_merges:
        if not ties_first:
            if not levels or -levels[0] < floor:
                break
            level = -heappop(levels)
            ties_first = [(keys[ord(pair[0])] + keys[ord(pair[1])], pair) for pair in buckets.pop(level)]
            heapify(ties_first)
        pair = heappop(ties_first)[1]
        if counts[pair] != level:  # it fell since
            if counts[pair] not in buckets:
                heappush(levels, -counts[pair])
            buckets[counts[pair]].append(pair)
            continue
        a, b = pair
        t = chr(len(tokens))
        left, right = tokens[ord(a)], tokens[ord(b)]
        merges.append((left, right))
        tokens.append(left + right)
        keys.append(_falling(left + right) if ties == "bytes" else t)

        before: defaultdict[str, list[int]] = defaultdict(list)  # x -> words where it stood in front
        after: defaultdict[str, list[int]] = defaultdict(list)  # y -> words where it stood behind
        for index in places.pop(pair):
            parts = texts[index].split(pair)
            if len(parts) == 1:
                continue
            texts[index] = t.join(parts)
            if len(parts) == 2:  # the usual case: the pair stands there once
                before[parts[0][-1]].append(index)
                after[parts[1][0]].append(index)
                continue
            # between the two pairs of "abab" there is nothing: when the second is joined, it follows a t
            for front, behind in pairwise(parts):
                before[front[-1] if front else t].append(index)
                after[behind[0] if behind else a].append(index)
        before.pop(_EDGE, None)
        after.pop(_EDGE, None)

        new_pairs = []
        for y, where in after.items():  # first, because before may lower the (t, a) that this adds
            change = sum(map(weight_of, where))
            counts[b + y] -= change
            counts[t + y], places[t + y] = change, where
            new_pairs.append((change, t + y))
        for x, where in before.items():
            change = sum(map(weight_of, where))
            counts[x + a] -= change
            counts[x + t], places[x + t] = change, where
            new_pairs.append((change, x + t))
        for change, new in new_pairs:
            if change == level:
                heappush(ties_first, (keys[ord(new[0])] + keys[ord(new[1])], new))
            else:
                if change not in buckets:
                    heappush(levels, -change)
                buckets[change].append(new)
        counts[pair] = 0
    return merges
