"""How many analogies of the capitals a model gets right, ours or a peer's."""

from minillm.data import capital_analogies


def analogies_right(most_similar, language: str) -> float:
    """The share of all questions "capital - country + other country = ?" that `most_similar(positive, negative)` gets
    right, 16 x 15 of them."""
    right = [
        most_similar([capital, other], [country])[0][0] == answer
        for country, capital, other, answer in capital_analogies(language)
    ]
    return sum(right) / len(right)
