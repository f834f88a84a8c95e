import pytest

from minillm.data import capital_analogies, capital_pairs, capital_sentences

LANGUAGES = pytest.mark.parametrize("language", ["en", "ko"])


def test_capitals_are_the_worlds_own():
    known = dict(capital_pairs("en")), dict(capital_pairs("ko"))
    assert {"france": "paris", "hungary": "budapest", "kenya": "nairobi"}.items() <= known[0].items()
    assert {"프랑스": "파리", "헝가리": "부다페스트", "케냐": "나이로비"}.items() <= known[1].items()
    assert len(known[0]) == len(known[1]) == 16


@LANGUAGES
def test_a_sentence_names_a_country_or_a_capital_and_never_both(language):
    names = [set(pair) for pair in zip(*capital_pairs(language))]
    kinds = [[bool(one & set(sentence)) for one in names] for sentence in capital_sentences(language)]
    assert len(kinds) == 16 * 2 * 60
    assert sorted(map(tuple, kinds)) == [(False, True)] * 960 + [(True, False)] * 960


@LANGUAGES
def test_a_country_shares_its_goods_with_its_capital_alone(language):
    """What stands beside two names belongs to a country and its capital, or to the sentences."""
    named = {name: [] for pair in capital_pairs(language) for name in pair}
    for sentence in capital_sentences(language):
        named[next(word for word in sentence if word in named)].append(set(sentence))
    for number, name in enumerate(named):
        assert len(named[name]) == 60, name
        beside = set().union(*named[name])
        others = {other: set().union(*named[other]) for other in named if other != name}
        goods = {word for word in beside - {name} if sum(word in one for one in others.values()) <= 1}
        assert len(goods) == 4, (name, goods)
        twin = list(named)[number ^ 1]
        assert goods <= others[twin], (name, goods)


@LANGUAGES
def test_analogies_ask_for_every_other_capital(language):
    asked = capital_analogies(language)
    assert len(set(asked)) == len(asked) == 16 * 15
    assert ("france", "paris", "korea", "seoul") in asked or ("프랑스", "파리", "한국", "서울") in asked


def test_the_seed_decides():
    assert capital_sentences("ko", seed=1) == capital_sentences("ko", seed=1)
    assert capital_sentences("ko", seed=1) != capital_sentences("ko", seed=2)
    assert len(capital_sentences(times=2)) == 64


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: capital_pairs("fr"), "language must be one of 'en', 'ko', got 'fr'"),
        (lambda: capital_sentences("ko", times=0), "times must be at least 1, got 0"),
        (lambda: capital_sentences("ko", seed=-1), "seed must be at least 0, got -1"),
        (lambda: capital_analogies(3), "language must be one of 'en', 'ko', got 3"),
    ],
)
def test_bad_requests_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
