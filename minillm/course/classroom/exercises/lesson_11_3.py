"""Checkers of lesson 11_3, fine-tuning with MNR loss."""

import math

import numpy as np
import torch

from minillm.course import exercise
from minillm.course.classroom.checkers import (
    BY_HAND,
    Inputs,
    as_floats,
    as_list,
    cases,
    copied_library,
    expect,
    forbid,
    packages_of,
    plain,
    shown,
)
from minillm.data.documents import plain_words
from minillm.search.hard_negatives import mine_hard_negatives
from minillm.search.losses import mnr_loss

OWN = "write it in plain Python with math"
READY = [
    *BY_HAND, "torch.nn.functional.cross_entropy", "torch.nn.functional.normalize", "minillm.search.losses.mnr_loss",
    *(f"numpy.{name}" for name in (
        "concatenate", "diag", "dot", "einsum", "empty", "eye", "fromiter", "full", "hstack", "linalg.norm", "log",
        "matmul", "ones", "sqrt", "stack", "vstack", "zeros",
    )),
    *(f"torch.{name}" for name in (
        "DoubleTensor", "FloatTensor", "empty", "eye", "from_numpy", "full", "log", "log_softmax", "ones", "zeros",
        "Tensor.exp", "Tensor.log_softmax", "Tensor.softmax",
    )),
]  # fmt: skip


@exercise("11-3-a", points=3)
def pushes(answer):
    """The loss and its derivative by every cosine, doubles left out."""
    copied = copied_library(answer) or packages_of(answer, "torch", "numpy", "scipy")
    assert not copied, f"the exercise says: {OWN}; your answer uses {copied}"
    for case in cases(
        size=(1, 2, 5, 9), width=(1, 3, 6), doubles=("none", "some", "all"), scale=(0.25, 1.0, 20.0, 1000.0),
        length=(0.01, 1.0, 50.0), alike=(False, True),
    ):  # fmt: skip
        inputs = Inputs(case.seed)
        u, v = (inputs.matrix(case.size, case.width, 0.1, case.length + 0.1) for _ in range(2))
        signs = inputs.integers(case.size, 0, 1)
        u = [[-x if sign else x for x in row] for row, sign in zip(u, signs)]
        names = names_of(inputs, case.size, case.doubles)
        if case.alike:  # the vectors of one article are those of another: its name decides, not its vector
            v = [list(v[0]) for _ in v]
        expected = loss_and_moves(u, v, names, case.scale)
        given = [list(map(list, u)), list(map(list, v)), list(names)]
        with forbid(OWN, *READY, answer=answer):
            found = answer(*given, case.scale)
        where = f"{case}, names {names}"
        loss, moves = as_list(found, f"what pushes returns ({where})", 2)
        assert isinstance(plain(loss), float), f"the loss is a float, got {shown(loss)} ({where})"
        expect(loss, expected[0], 1e-6, f"the loss ({where})")
        for row in as_list(moves, f"the moves ({where})", case.size):
            as_floats(row, f"a row of the moves ({where})", case.size)
        expect(moves, expected[1], 1e-6, f"the moves ({where})")
        expect(given, [u, v, names], hint="the lists that you are given must stay as they are")


def names_of(inputs, size, doubles):
    """Names of articles: all different, some twice or more, or one for all."""
    most = {"none": size, "some": max(1, size // 2), "all": 1}[doubles]
    return inputs.shuffled([f"글 {n % most}" for n in range(size)])


def loss_and_moves(u, v, names, scale):
    """The same in arrays of numpy."""
    u, v = (np.array(one) / np.linalg.norm(one, axis=1, keepdims=True) for one in (u, v))
    same = np.array(names)[:, None] == np.array(names)
    scores = np.where(same & ~np.eye(len(u), dtype=bool), -np.inf, scale * u @ v.T)
    scores -= scores.max(axis=1, keepdims=True)
    total = np.exp(scores).sum(axis=1, keepdims=True)
    loss = (np.log(total[:, 0]) - np.diag(scores)).mean()
    return float(loss), (scale / len(u) * (np.exp(scores) / total - np.eye(len(u)))).tolist()


@exercise("11-3-b", points=2)
def ahead(answer):
    """Four numbers about a batch."""
    found = as_floats(answer, "prediction", 4)
    hints = (
        (math.log(8 + 24), "each row has 8 articles and the 24 hard negatives of all questions"),
        (8 * (8 + 24), "every question is compared with every text, the hard negatives of others too"),
        (math.log(2), "two copies have the largest cosine, and only one of them counts as right"),
        (2 * (8 + 8 + 24), "every text is read twice, whatever the size of the pieces"),
    )
    for place, (one, (expected, hint)) in enumerate(zip(found, hints), start=1):
        assert abs(one - expected) <= 0.01, f"number {place} is not {shown(one)}: {hint}"


class Encoder:
    """encode and backward of a linear encoder, which count what they are given and hold `size` texts at most."""

    def __init__(self, weights, size):
        self.weights, self.size = np.array(weights), size
        self.encoded, self.gone_back, self.at_once = [], [], []
        self.total = np.zeros_like(self.weights)

    def functions(self):
        """encode and backward, plain functions: by their names no answer reaches the limit or the counts."""

        def encode(W, texts):
            return self.encode(W, texts)

        def backward(texts, gradients):
            return self.backward(texts, gradients)

        return encode, backward

    def _few(self, name, texts):
        texts = as_list(texts, f"the texts that {name} is given")
        self.at_once.append(len(texts))
        assert 1 <= len(texts) <= self.size, (
            f"{name} holds 1 to {self.size} texts at a time, it was given {len(texts)}"
        )
        return [
            tuple(as_floats(text, f"a text that {name} is given", self.weights.shape[1])) for text in texts
        ]

    def encode(self, weights, texts):
        expect(weights, self.weights, hint="encode must be given the weights as they are")
        texts = self._few("encode", texts)
        self.encoded += texts
        return (np.array(texts) @ self.weights.T).tolist()

    def backward(self, texts, gradients):
        texts = self._few("backward", texts)
        gradients = as_list(gradients, "the derivatives that backward is given", len(texts))
        rows = [as_floats(one, "a derivative", len(self.weights)) for one in gradients]
        self.gone_back += texts
        found = np.array(rows).T @ np.array(texts)
        self.total += found
        return found.tolist()


class Push:
    """The derivatives of a loss by all vectors, asked for once, with all of them."""

    def __init__(self, loss, count, width):
        self.loss, self.count, self.width, self.calls = loss, count, width, 0

    def __call__(self, u, v):
        self.calls += 1
        assert self.calls == 1, "push must be called once, with all vectors"
        sides = []
        for name, side in (("u", u), ("v", v)):
            rows = as_list(side, f"the {name} that push is given", self.count)
            rows = [as_floats(row, f"a row of {name}", self.width) for row in rows]
            sides.append(torch.tensor(rows, dtype=torch.float64, requires_grad=True))
        return [one.tolist() for one in torch.autograd.grad(self.loss(*sides), sides)]


LOSSES = {
    "mnr": mnr_loss,
    "mnr of sums": lambda u, v: (u.sum(0) * v.sum(0)).sum() + (u * v).sum() ** 2,
    "articles alone": lambda u, v: (v**3).sum() + 0 * u.sum(),
}


@exercise("11-3-c", points=3)
def weights_gradient(answer):
    """The gradient of the whole batch, with a few texts at a time."""
    copied = copied_library(answer)
    assert not copied, f"build it yourself: your answer uses {copied}"
    for case in cases(
        count=(1, 2, 5, 8), size=(1, 2, 3, 20), shape=((1, 2), (3, 4), (4, 1)), loss=tuple(LOSSES)
    ):
        inputs = Inputs(case.seed)
        weights = inputs.matrix(*case.shape)
        questions, articles = (inputs.matrix(case.count, case.shape[1]) for _ in range(2))
        push = Push(LOSSES[case.loss], case.count, case.shape[0])
        inner = torch.tensor(weights, dtype=torch.float64, requires_grad=True)
        texts = [torch.tensor(side, dtype=torch.float64) for side in (questions, articles)]
        push.loss(*(side @ inner.T for side in texts)).backward()
        expected = inner.grad.tolist()
        encoder = Encoder(weights, case.size)
        given = [list(map(list, one)) for one in (weights, questions, articles)]
        found = answer(*given, lambda u, v, push=push: push(u, v), case.size, *encoder.functions())
        assert push.calls == 1, f"push must be called once, it was called {push.calls} times ({case})"
        most = max(encoder.at_once, default=0)
        assert most <= case.size, (
            f"encode and backward hold {case.size} texts at a time, {most} were given ({case})"
        )
        every = sorted(map(tuple, [*questions, *articles]))
        assert set(encoder.encoded) == set(every), f"every text goes through encode ({case})"
        assert sorted(encoder.gone_back) == every, (
            f"every text goes through backward once: {2 * case.count} texts, got {len(encoder.gone_back)} ({case})"
        )
        expect(found, expected, 1e-8, f"the gradient of W ({case})")
        hint = f"backward is given the derivatives of each text's vector: the sum of what it gave ({case})"
        expect(encoder.total, expected, 1e-8, hint)
        expect(given, [weights, questions, articles], hint="what you are given must stay as it is")


@exercise("11-3-d", points=3)
def trap(answer):
    """An unmarked answer that BM25 ranks first, and that the margin refuses."""
    question, right, corpus, phrase = as_list(answer, "trap = (question, right, corpus, answer)", 4)
    corpus = as_list(corpus, "corpus", None)
    texts = [plain(one) for one in (question, right, phrase, *corpus)]
    for one in texts:
        assert isinstance(one, str), f"trap holds texts, got {shown(one)}"
        assert one.strip(), "a text of trap is blank"
    question, right, phrase, *corpus = texts
    assert 3 <= len(corpus) <= 12, f"corpus has 3 to 12 texts, got {len(corpus)}"
    different = len({plain_words(one) for one in corpus})
    assert different == len(corpus), f"the texts of corpus differ, {len(corpus)} came and {different} differ"
    signs = [sign for sign in phrase if sign.isalnum()]
    assert len(signs) >= 2, f"answer has at least 2 letters or digits, got {shown(phrase)}"
    assert phrase in right, f"answer must stand in right: {shown(phrase)} does not"
    assert plain_words(phrase) not in plain_words(question), (
        f"answer must not stand in the question, in capitals or not: {shown(phrase)} does"
    )
    assert plain_words(right) not in map(plain_words, corpus), "no text of corpus is right once more"
    (taken,) = mine_hard_negatives([(question, right)], corpus, num_negatives=1)
    assert taken.negatives, "without a margin no negative is found: no text of corpus shares a word with it"
    assert phrase in taken.negatives[0], (
        f"without a margin {shown(taken.negatives[0])} is taken, and your answer does not stand in it"
    )
    (guarded,) = mine_hard_negatives([(question, right)], corpus, num_negatives=1, relative_margin=0.1)
    assert guarded.negatives, "with the margin nothing is left: one text more must share a word or two"
    assert phrase not in guarded.negatives[0], (
        f"with the margin {shown(guarded.negatives[0])} is taken still, and your answer stands in it"
    )
