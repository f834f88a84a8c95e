"""BPE training that keeps its counts (증분 학습): each merge touches only the words that hold the pair.

bpe_plain.py counts all pairs before every merge. But joining (a, b) into t changes a count only where it happens:

    ... x a b y ...  ->  ... x t y ...        (x, a) and (b, y) lose the word's count; (x, t) and (t, y) gain it

So the counts are kept, together with the words each pair was seen in, and a heap offers the highest count. The heap
is lazy: a count that fell is corrected when its entry comes up, which costs less than searching for it.

Where the speed comes from, in plain Python: a word is a str whose characters are token ids, so `str.find` and
`str.replace` do the scanning; and the changes of one merge are summed by neighbour before a table is touched.

Book: 2.2.1 토큰화. Held against: tokenizers' BpeTrainer (same merges under its tie rule, about its speed).
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heapify, heappop, heappush

from minillm._checks import check_choice, check_int
from minillm.tokenizer.bpe_plain import Pair
from minillm.tokenizer.byte_alphabet import ALPHABET

_INVERTED = bytes(255 - byte for byte in range(256))


def check_training(num_merges: int, min_frequency: int, ties: str) -> None:
    """Raise ValueError for arguments no trainer accepts."""
    check_int("num_merges", num_merges, minimum=0)
    check_int("min_frequency", min_frequency, minimum=0)
    check_choice("ties", ties, ("bytes", "ids"))


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
    texts = [word.decode("latin-1").translate(to_ids) for word in words]
    weights = list(words.values())

    counts: dict[str, int] = {}  # pair of two id characters -> occurrences in the corpus
    places: dict[str, list[int]] = {}  # pair -> indices of words it was seen in, some twice, some out of date
    for index, text in enumerate(texts):
        weight = weights[index]
        for i in range(len(text) - 1):
            pair = text[i : i + 2]
            if pair in counts:
                counts[pair] += weight
                places[pair].append(index)
            else:
                counts[pair] = weight
                places[pair] = [index]

    floor = max(1, min_frequency)
    heap = [(-count, keys[ord(pair[0])] + keys[ord(pair[1])], pair) for pair, count in counts.items()]
    heapify(heap)
    merges: list[Pair] = []
    while len(merges) < num_merges and heap:
        negative, key, pair = heappop(heap)
        count = counts[pair]
        if count != -negative:  # an entry out of date
            if floor <= count < -negative:
                heappush(heap, (-count, key, pair))
            continue
        if count < floor:
            break
        a, b = pair
        left, right = tokens[ord(a)], tokens[ord(b)]
        joined = left + right
        merges.append((left, right))
        t = chr(len(tokens))
        tokens.append(joined)
        keys.append(_falling(joined) if ties == "bytes" else t)

        before: dict[str, int] = {}  # x -> how often it stood in front of the pair
        after: dict[str, int] = {}  # y -> how often it stood behind
        before_places: dict[str, list[int]] = {}
        after_places: dict[str, list[int]] = {}
        for index in places.pop(pair):
            text = texts[index]
            i = text.find(pair)
            if i < 0:
                continue
            weight = weights[index]
            texts[index] = text.replace(pair, t)
            end = 0
            while i >= 0:
                if i:
                    x = t if i == end else text[i - 1]
                    if x in before:
                        before[x] += weight
                        before_places[x].append(index)
                    else:
                        before[x] = weight
                        before_places[x] = [index]
                end = i + 2
                y = text[end : end + 1]
                if y:
                    if y in after:
                        after[y] += weight
                        after_places[y].append(index)
                    else:
                        after[y] = weight
                        after_places[y] = [index]
                i = text.find(pair, end)

        for x, change in before.items():  # gains first: with "abab" the new (t, a) is lowered again below
            counts[x + t] = counts.get(x + t, 0) + change
            places.setdefault(x + t, []).extend(before_places[x])
        for y, change in after.items():
            counts[t + y] = counts.get(t + y, 0) + change
            places.setdefault(t + y, []).extend(after_places[y])
        for x, change in before.items():
            counts[x + a] -= change
        for y, change in after.items():
            counts[b + y] -= change
        counts[pair] = 0
        for changed in [x + t for x in before] + [t + y for y in after]:
            count = counts[changed]
            if count >= floor:
                heappush(heap, (-count, keys[ord(changed[0])] + keys[ord(changed[1])], changed))
    return merges
