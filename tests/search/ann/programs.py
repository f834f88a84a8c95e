"""Random programs: the same steps on an index and on ExactIndex, which is never wrong."""

import numpy as np

from minillm.search import ExactIndex
from tests.search.ann.helpers import check_rows

STEPS = ("add", "add", "add", "copy", "remove", "remove", "update", "search", "filter", "file", "clear")
DIM = 6


def draw(number, count):
    """Vectors around eight centres, never equal by chance."""
    generator = np.random.default_rng(number)
    middle = np.random.default_rng(99).normal(size=(8, DIM)) * 3
    return (middle[generator.integers(8, size=count)] + generator.normal(size=(count, DIM))).astype(
        np.float32
    )


class Program:
    """An index, its truth, and how many true neighbours it found of how many."""

    def __init__(self, index, path):
        self.index, self.path = index, path
        self.truth = ExactIndex(DIM, index.metric)
        self.vectors = {}  # id -> vector
        self.hits = self.wanted = 0

    def run(self, step, number):
        getattr(self, step)(number)
        assert len(self.index) == len(self.vectors)

    def some(self, number, most):
        """A few of the ids that are there."""
        ids = np.array(sorted(self.vectors), np.int64)
        generator = np.random.default_rng(number)
        return generator.choice(ids, size=min(len(ids), number % most + 1), replace=False)

    def put(self, vectors):
        ids = self.index.add(vectors)
        self.truth.add(vectors, ids)
        self.vectors |= zip(ids.tolist(), vectors)

    def add(self, number):
        self.put(draw(number, number % 23 + 1))

    def copy(self, number):
        if self.vectors:
            self.put(np.array([self.vectors[i] for i in self.some(number, 9).tolist()]))

    def remove(self, number):
        ids = self.some(number, 20)
        for one in (self.index, self.truth):
            one.remove(ids)
        for i in ids.tolist():
            del self.vectors[i]

    def update(self, number):
        ids = self.some(number, 5)
        vectors = draw(number + 1, len(ids))
        if hasattr(self.index, "update"):
            self.index.update(vectors, ids)
        else:
            self.index.remove(ids)
            self.index.add(vectors, ids)
        self.truth.remove(ids)
        self.truth.add(vectors, ids)
        self.vectors |= zip(ids.tolist(), vectors)

    def clear(self, number):
        if number % 5 == 0:
            ids = sorted(self.vectors)
            for one in (self.index, self.truth):
                one.remove(ids)
            self.vectors.clear()

    def file(self, number):
        self.index = type(self.index).load(self.index.save(self.path))

    def search(self, number, filter=None):
        queries, k = draw(number, 4), number % 12 + 1
        found, distances = self.index.search(queries, k, filter=filter)
        living = set(self.vectors) if filter is None else set(self.vectors) & set(filter)
        check_rows(found, distances, living)
        expected, far = self.truth.search(queries, k, filter=filter)
        # Equal vectors are equally good: what counts is how far the neighbours are.
        self.hits += int((distances <= far + 1e-5 * (1 + np.abs(far)))[expected >= 0].sum())
        self.wanted += int((expected >= 0).sum())

    def filter(self, number):
        self.search(number, self.some(number, max(1, len(self.vectors))).tolist())

    @property
    def recall(self):
        return self.hits / max(1, self.wanted)
