"""Made-up headlines: the two sides share nothing, topics overlap, and nothing depends on more than seed and part."""

from collections import Counter, defaultdict

import pytest

from minillm.data import TOPICS, headline_events, korean_headlines, prove_held_out
from minillm.evaluation import CharacterNaiveBayes


def texts(rows):
    return [row["text"] for row in rows]


def test_seeded_prefix_and_different():
    rows = korean_headlines(400, seed=3)
    assert rows == korean_headlines(400, seed=3)
    assert rows[:150] == korean_headlines(150, seed=3)
    assert len(set(texts(rows))) == 400
    assert rows != korean_headlines(400, seed=4)


def test_every_topic_is_there_with_about_its_share():
    counts = Counter(row["label"] for row in korean_headlines(4000))
    assert set(counts) == set(TOPICS)
    # 3 sigma of a share of a quarter, 4,000 draws: 82
    assert abs(counts["사회"] - 1000) < 100
    assert min(counts.values()) > 200


def test_no_slot_is_left_unfilled():
    assert not [text for text in texts(korean_headlines(3000)) if "{" in text or "}" in text or "  " in text]


def test_the_sides_share_no_headline_and_no_name():
    train, held = texts(korean_headlines(5000, 0, "train")), texts(korean_headlines(1500, 7, "held_out"))
    assert prove_held_out(held, train, what="headline").items == 1500
    for name in ("한울", "나래", "포항", "강릉"):  # a company and a town of either side
        sides = {any(name in text for text in side) for side in (train, held)}
        assert sides == {True, False}, name


def test_the_sides_share_no_subject_with_its_predicate():
    """What is left when occasion and number are cut off never stands on both sides."""

    def mains(rows):
        cut = set()
        for text in texts(rows):
            for marker in (" 앞두고 ", " 코앞에 두고 ", " 다가오자 ", " 여파에 ", " 영향에 ", " 와중에 "):
                text = text.split(marker, 1)[-1]
            cut.add("".join("#" if letter.isdigit() else letter for letter in text))
        return cut

    held, train = mains(korean_headlines(2000, 1, "held_out")), mains(korean_headlines(8000, 0, "train"))
    assert len(held) > 100
    assert not held & train


def test_names_stand_in_several_topics():
    topics = defaultdict(set)
    for row in korean_headlines(4000):
        for name in ("한빛", "가온", "강릉"):
            if name in row["text"]:
                topics[name].add(row["label"])
    assert len(topics) == 3
    assert all(len(found) >= 3 for found in topics.values())


def test_counting_words_is_good_and_not_enough():
    """The counts of naive Bayes do not know which event of two is the occasion."""
    train, held = korean_headlines(3000, 0, "train"), korean_headlines(1000, 1, "held_out")
    model = CharacterNaiveBayes().fit(texts(train), [row["label"] for row in train])
    right = sum(said == row["label"] for said, row in zip(model.predict(texts(held)), held))
    assert 700 < right < 920


def test_the_largest_sets_are_there():
    assert len(korean_headlines(4000, 5, "held_out")) == 4000


@pytest.mark.parametrize("arguments", [(0,), (4001, 0, "held_out"), (5, -1), (5, 0, "test"), (True,)])
def test_bad_arguments(arguments):
    with pytest.raises(ValueError):
        korean_headlines(*arguments)


def test_events_are_of_one_topic_each():
    events = [
        event for kind in ("before", "after") for own in headline_events(kind).values() for event in own
    ]
    assert len(events) == len(set(events)) == 42
    assert headline_events()["스포츠"][0] == "월드컵"
    with pytest.raises(ValueError, match="kind"):
        headline_events("during")
