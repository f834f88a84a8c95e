"""The smallest model that chooses: a weight for each feature, the candidate with the largest sum wins.

    score(c) = sum of w[f] over the features f of candidate c                 the choice: the largest score
    wrong choice c of gold g:   w[f] += 1 for f in g,   w[f] -= 1 for f in c   (the perceptron's rule)
    what is kept is the mean of w over all steps, which forgets the last few examples' noise
    dropout: in training each feature is hidden with this probability, so that none is relied on alone

Features are texts ("send_message|word=send"), so candidates may be classes, spans of a text or anything else, and how
many there are may differ from one example to the next. Where some w separates all examples, the number of mistakes is
at most (R / margin)^2, however many examples there are (Novikoff 1962).

Book: 15.1.2 에이전트의 두뇌 (the brain may be small). Paper: Collins 2002, "Discriminative Training Methods for Hidden
Markov Models", where the mean is section 2.5. Held against: a mean of the weights kept in full; Novikoff's bound.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from minillm._checks import check_int, check_number, describe

Candidates = Sequence[Sequence[str]]  # the features of each candidate


class Ranker:
    """`Ranker().fit([(candidates, gold), ...]).best(candidates)`. `mistakes` of each epoch stand there after `fit`."""

    def __init__(self) -> None:
        self.weights: dict[str, float] = {}
        self.mistakes: list[int] = []

    def fit(
        self,
        examples: Sequence[tuple[Candidates, int]],
        epochs: int = 5,
        seed: int = 0,
        dropout: float = 0.0,
    ) -> Ranker:
        """Learn from examples (candidates, index of the right one), in another order each epoch.

        Raises ValueError for no examples, and for a gold index that is none of its candidates.
        """
        examples = list(examples)
        check_int("epochs", epochs, 1), check_int("seed", seed, 0), check_number("dropout", dropout, 0, 0.9)
        if not examples:
            raise ValueError("fit needs examples, got none")
        for candidates, gold in examples:
            if not 0 <= gold < len(candidates):
                raise ValueError(f"gold must be one of {len(candidates)} candidates, got {describe(gold)}")
        self._learn(examples, epochs, random.Random(seed), dropout)
        return self

    def _learn(
        self, examples: list[tuple[Candidates, int]], epochs: int, rng: random.Random, dropout: float
    ) -> None:
        now: dict[str, float] = defaultdict(float)
        late: dict[str, float] = defaultdict(
            float
        )  # each change times when it came: mean = now - late / steps
        step, self.mistakes = 1, []
        for _ in range(epochs):
            self.mistakes.append(0)
            for candidates, gold in rng.sample(examples, len(examples)):
                if dropout:
                    candidates = [[f for f in one if rng.random() >= dropout] for one in candidates]
                found = best_of(candidates, now)
                if found != gold:
                    self.mistakes[-1] += 1
                    for place, sign in ((gold, 1.0), (found, -1.0)):
                        for feature in candidates[place]:
                            now[feature] += sign
                            late[feature] += sign * step
                step += 1
        self.weights = {feature: now[feature] - late[feature] / step for feature in now}

    def scores(self, candidates: Candidates) -> list[float]:
        """The sum of the weights of each candidate's features; a feature that was never seen counts nothing."""
        return [sum(self.weights.get(feature, 0.0) for feature in one) for one in candidates]

    def best(self, candidates: Candidates) -> int:
        """The index of the candidate with the largest score, the first of several. ValueError for no candidates."""
        if not len(candidates):
            raise ValueError("there must be at least one candidate, got none")
        return best_of(candidates, self.weights)


def best_of(candidates: Candidates, weights: dict[str, float]) -> int:
    """The first candidate of the largest sum."""
    sums = [sum(weights.get(feature, 0.0) for feature in one) for one in candidates]
    return sums.index(max(sums))
