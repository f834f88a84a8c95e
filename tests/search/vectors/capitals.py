"""A small text whose analogies are known: countries and capitals, in English and in Korean.

Each country has goods of its own, and its capital has the same; countries stand in other sentences than capitals do.
So a capital is its country's vector plus one step that is the same for all, which is what an analogy asks for.
"""

import random

NAMES = {
    "en": """france paris, korea seoul, japan tokyo, italy rome, spain madrid, egypt cairo, peru lima, cuba havana,
    norway oslo, austria vienna, greece athens, poland warsaw, russia moscow, china beijing, kenya nairobi,
    thailand bangkok""",
    "ko": """프랑스 파리, 한국 서울, 일본 도쿄, 이탈리아 로마, 스페인 마드리드, 이집트 카이로, 페루 리마, 쿠바 아바나,
    노르웨이 오슬로, 오스트리아 빈, 그리스 아테네, 폴란드 바르샤바, 러시아 모스크바, 중국 베이징, 케냐 나이로비,
    태국 방콕""",
}
ABOUT = {
    "en": (
        "the president of {} praised the harvest of {}; {} sells {} to its neighbours; farmers of {} grow {} again",
        "the mayor of {} opened a market for {}; trains into {} carry {} every morning; the streets of {} smell of {}",
    ),
    "ko": (
        "{} 대통령은 올해 {} 수확을 칭찬했다; {} 정부는 이웃 나라에 {} 수출을 늘렸다; {} 농부들은 {} 농사를 짓는다",
        "{} 시장은 새로 {} 가게를 열었다; {} 역에는 아침마다 {} 열차가 들어온다; {} 거리에는 온통 {} 냄새가 난다",
    ),
}


def pairs(language: str) -> list[tuple[str, str]]:
    """(country, capital) of each country."""
    return [tuple(pair.split()) for pair in NAMES[language].split(",")]


def sentences(language: str, seed: int = 0, times: int = 60) -> list[list[str]]:
    """`times` sentences about each country and each capital, as lists of words, in random order."""
    rng, found = random.Random(seed), []
    for number, names in enumerate(pairs(language)):
        goods = [f"{'물건' if language == 'ko' else 'good'}{number}{letter}" for letter in "abcdef"]
        for name, about in zip(names, ABOUT[language], strict=True):
            for _ in range(times):
                found.append(rng.choice(about.split("; ")).format(name, rng.choice(goods)).split())
    rng.shuffle(found)
    return found


def analogies_right(most_similar, language: str) -> float:
    """The share of all questions "capital - country + other country = ?" that `most_similar(positive, negative)` gets
    right, 16 x 15 of them."""
    known = pairs(language)
    asked = [(*one, *other) for one in known for other in known if one != other]
    right = [
        most_similar([capital, other], [country])[0][0] == answer for country, capital, other, answer in asked
    ]
    return sum(right) / len(right)
