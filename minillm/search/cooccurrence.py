"""Word vectors by counting: tokens that keep the same company get similar vectors.

    PPMI(w, c) = max(0, ln( P(w, c) / (P(w) P(c)) ))      P(w, c): share of neighbour pairs that are w beside c
    PPMI (V, V)  ~=  U S Z^T,  vectors = U sqrt(S)        the best D dimensions of it (singular values, 특잇값 분해)

The matrix says how much more often two tokens meet than chance would have it. Word2Vec's training approaches the same
factors (Levy & Goldberg 2014); counting takes a second and needs no learning rate.

Book: 10.1 텍스트 임베딩 이해하기. Papers: Levy, Goldberg & Dagan 2015 (P(c)^0.75); Halko, Martinsson & Tropp 2011 (the
randomised factorisation). Left out: weighting by distance, subsampling of frequent words.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from minillm._checks import check_int, describe, is_listing

MOST_TOKENS = 16_384  # of a vocabulary whose (V, V) matrix we are willing to hold: 1 GB


def count_neighbours(
    sequences: Sequence[Sequence[int]], vocab_size: int, window: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(w, c, times w and c stand within `window` places of each other), both ways round, sorted by (w, c).

    [[0, 1, 2]] with window 1 -> w [0, 1, 1, 2], c [1, 0, 2, 1], times [1, 1, 1, 1].
    Raises ValueError for a token id outside 0 .. vocab_size - 1, or when there is no pair at all.
    """
    vocab_size, window = check_int("vocab_size", vocab_size, 1), check_int("window", window, 1)
    if not is_listing(sequences):
        raise ValueError(f"sequences must be a list of lists of token ids, got {describe(sequences)}")
    gap = np.full(window, -1, np.int64)  # between texts, so that no pair reaches across
    flat = np.concatenate([part for tokens in sequences for part in (_ids(tokens), gap)] or [gap])
    if flat.max() >= vocab_size or flat.min() < -1:
        raise ValueError(f"token ids must be between 0 and {vocab_size - 1}, got {describe(flat)}")
    found = []
    for distance in range(1, window + 1):
        left, right = flat[:-distance], flat[distance:]
        inside = (left >= 0) & (right >= 0)
        left, right = left[inside], right[inside]
        found += [left * vocab_size + right, right * vocab_size + left]  # one number a pair
    pairs, times = np.unique(np.concatenate(found), return_counts=True)
    if not len(pairs):
        raise ValueError("sequences must hold at least one text of two tokens")
    return pairs // vocab_size, pairs % vocab_size, times


def _ids(tokens: Sequence[int]) -> np.ndarray:
    try:
        ids = np.asarray(tokens) if len(tokens) else np.empty(0, np.int64)
    except (TypeError, ValueError):
        ids = None
    if ids is None or ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise ValueError(f"a sequence must be a list of token ids, got {describe(tokens)}")
    return ids.astype(np.int64)


def ppmi(
    words: np.ndarray, contexts: np.ndarray, times: np.ndarray, vocab_size: int, power: float = 0.75
) -> np.ndarray:
    """PPMI of each counted pair, float32, same order. P(c) is raised to `power`, which damps rare contexts."""
    word_share = np.bincount(words, times, vocab_size) / times.sum()
    context_share = np.bincount(contexts, times, vocab_size) ** power
    context_share /= context_share.sum()
    # PPMI(w, c) = max(0, ln( P(w, c) / (P(w) P(c)) ))
    meet = times / times.sum()
    return np.maximum(0, np.log(meet / (word_share[words] * context_share[contexts]))).astype(np.float32)


def randomized_svd(
    matrix: torch.Tensor, rank: int, seed: int = 0, rounds: int = 3
) -> tuple[torch.Tensor, torch.Tensor]:
    """(U (V, rank), S (rank,)): the largest singular values of a (V, W) matrix and their left vectors, nearly.

    A random (W, rank + 8) block is multiplied by the matrix: its columns lean to the strongest directions, more so
    with every round there and back. The factorisation then happens in that small space.
    """
    generator = torch.Generator().manual_seed(seed)
    width = min(rank + 8, *matrix.shape)
    noise = torch.randn(matrix.shape[1], width, generator=generator)
    basis = torch.linalg.qr(matrix @ noise)[0]  # (V, width)
    for _ in range(rounds):
        basis = torch.linalg.qr(matrix @ torch.linalg.qr(matrix.T @ basis)[0])[0]
    small_u, values, _ = torch.linalg.svd(basis.T @ matrix, full_matrices=False)  # of a (width, W) matrix
    return (basis @ small_u)[:, :rank], values[:rank]


def cooccurrence_vectors(
    sequences: Sequence[Sequence[int]], vocab_size: int, dim: int = 128, window: int = 8, seed: int = 0
) -> np.ndarray:
    """A float32 vector for each token, (vocab_size, dim), of mean length 1 over the tokens that occur.

    A token that never occurs has the zero vector; with vocab_size < dim the last dimensions are 0.
    Needs 4 V^2 bytes, 64 MB for 4,096 tokens. Raises ValueError as `count_neighbours` does, for dim < 1, and for
    vocab_size above 16,384.
    """
    dim = check_int("dim", dim, 1)
    check_int("vocab_size", vocab_size, 1, MOST_TOKENS)
    words, contexts, times = count_neighbours(sequences, vocab_size, window)
    # Most of it is zero, yet a full matrix multiplies nine times faster than torch's sparse one at V = 4,096.
    matrix = np.zeros((vocab_size, vocab_size), np.float32)
    matrix[words, contexts] = ppmi(words, contexts, times, vocab_size)
    left, values = randomized_svd(torch.from_numpy(matrix), min(dim, vocab_size), check_int("seed", seed, 0))
    vectors = np.zeros((vocab_size, dim), np.float32)
    vectors[:, : len(values)] = (left * values.sqrt()).numpy()
    lengths = np.linalg.norm(vectors, axis=1)
    occurs = lengths > 1e-6
    vectors[~occurs] = 0  # rounding noise of tokens that never occur
    return vectors / (lengths[occurs].mean() if occurs.any() else np.float32(1))
