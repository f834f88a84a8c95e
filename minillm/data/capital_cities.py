"""A small text whose analogies are known: countries and their capitals, in English and in Korean.

    the government of france taxes wine lightly         프랑스 정부는 올해 와인 수출을 늘렸다
    visitors to paris buy wine near the station         파리 거리에는 와인 가게가 늘어서 있다

A country shares its goods with its capital and with nobody else; all countries share their sentences, and so do all
capitals. No sentence names both. So a capital is its country plus one step that is the same for all of them, which is
what an analogy asks for: paris - france + korea = seoul. The names stand without particles, as in headlines.

Book: 10.1.5 워드투벡. Paper: Mikolov et al. 2013, "Efficient Estimation of Word Representations in Vector Space", whose
questions begin with capitals. Left out: every other kind of analogy.
"""

from __future__ import annotations

import random

from minillm._checks import check_choice, check_int

# country, capital: four goods
_WORDS = {
    "en": """
        france, paris: wine cheese perfume baguettes
        korea, seoul: kimchi ginseng bibimbap hanbok
        japan, tokyo: sushi kimonos sake ramen
        italy, rome: pasta pizza espresso gelato
        spain, madrid: paella churros saffron sherry
        egypt, cairo: cotton papyrus dates hibiscus
        peru, lima: quinoa potatoes ponchos ceviche
        cuba, havana: cigars rum sugar mojitos
        norway, oslo: salmon herring skis sweaters
        hungary, budapest: paprika goulash salami violins
        greece, athens: olives feta yogurt figs
        poland, warsaw: pierogi sausages mushrooms cherries
        russia, moscow: vodka caviar furs samovars
        china, beijing: silk porcelain dumplings bamboo
        kenya, nairobi: coffee roses avocados baskets
        thailand, bangkok: mangoes coconuts orchids durian
    """,
    "ko": """
        프랑스, 파리: 와인 치즈 향수 바게트
        한국, 서울: 김치 인삼 비빔밥 한복
        일본, 도쿄: 초밥 기모노 청주 라멘
        이탈리아, 로마: 파스타 피자 에스프레소 젤라토
        스페인, 마드리드: 파에야 추로스 사프란 셰리주
        이집트, 카이로: 면화 파피루스 대추야자 히비스커스
        페루, 리마: 퀴노아 감자 판초 세비체
        쿠바, 아바나: 시가 럼주 설탕 모히토
        노르웨이, 오슬로: 연어 청어 스키 스웨터
        헝가리, 부다페스트: 파프리카 굴라시 살라미 바이올린
        그리스, 아테네: 올리브 페타 요구르트 무화과
        폴란드, 바르샤바: 피에로기 소시지 버섯 체리
        러시아, 모스크바: 보드카 캐비아 모피 사모바르
        중국, 베이징: 비단 도자기 만두 대나무
        케냐, 나이로비: 커피 장미 아보카도 바구니
        태국, 방콕: 망고 코코넛 난초 두리안
    """,
}
# what is said of a country, and what of a capital; the name first, then one of its goods
_ABOUT = {
    "en": (
        (
            "the government of {} taxes {} lightly",
            "the embassy of {} gave {} to the guests",
            "{} exports {} all over the world",
            "the law of {} protects makers of {}",
        ),
        (
            "visitors to {} buy {} near the station",
            "the mayor of {} opened a festival of {}",
            "shops in {} sell {} until midnight",
            "an old street in {} smells of {}",
        ),
    ),
    "ko": (
        (
            "{} 정부는 올해 {} 수출을 늘렸다",
            "{} 대사관은 손님에게 {} 선물을 건넸다",
            "{} 국민은 {} 사랑이 남다르다",
            "{} 법은 {} 상표를 엄격히 보호한다",
        ),
        (
            "{} 거리에는 {} 가게가 늘어서 있다",
            "{} 시장은 주말에 {} 축제를 열었다",
            "{} 공항에는 {} 매장이 새로 생겼다",
            "{} 시내에서 {} 전시회가 열린다",
        ),
    ),
}


def _world(language: str) -> list[tuple[tuple[str, str], list[str]]]:
    """((country, capital), goods) of each country."""
    lines = _WORDS[check_choice("language", language, tuple(_WORDS))].strip().split("\n")
    halves = [line.split(":") for line in lines]
    return [(tuple(names.strip().split(", ")), goods.split()) for names, goods in halves]


def capital_pairs(language: str = "en") -> list[tuple[str, str]]:
    """(country, capital) of 16 countries, in English ("en") or Korean ("ko"). Another language is a ValueError."""
    return [names for names, _ in _world(language)]


def capital_sentences(language: str = "en", seed: int = 0, times: int = 60) -> list[list[str]]:
    """`times` sentences about each country and each capital, 32 times `times` in random order, each a list of words.

    ["프랑스", "정부는", "올해", "와인", "수출을", "늘렸다"]. The same seed gives the same sentences.
    """
    world, times = _world(language), check_int("times", times, 1)
    rng, found = random.Random(check_int("seed", seed, 0)), []
    for names, goods in world:
        for name, about in zip(names, _ABOUT[language], strict=True):
            for _ in range(times):
                found.append(rng.choice(about).format(name, rng.choice(goods)).split())
    rng.shuffle(found)
    return found


def capital_analogies(language: str = "en") -> list[tuple[str, str, str, str]]:
    """(country, capital, other country, its capital), 16 x 15 of them: capital - country + other country = ?"""
    known = capital_pairs(language)
    return [(*one, *other) for one in known for other in known if one != other]
