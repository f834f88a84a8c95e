"""Questions with a right and a wrong answer of the same form: what a judge must be able to tell apart.

    What is the capital of Japan?      The capital of Japan is Tokyo.      The capital of Japan is Madrid.
    What is the opposite of hot?       The opposite of hot is cold.        The opposite of hot is warm.

Both answers have the same words but one, so that neither length nor style tells the right one. In English, as the small
real model speaks nothing else. Left out: everything on which people could disagree.

Book: 13.3.4 LLM을 통한 평가 (the task; the questions are ours).
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from minillm._checks import check_int

CAPITALS = (
    "France Paris, Japan Tokyo, Italy Rome, Spain Madrid, Germany Berlin, Russia Moscow, China Beijing, Egypt Cairo, "
    "Greece Athens, Austria Vienna, Poland Warsaw, Sweden Stockholm, Norway Oslo, Portugal Lisbon, Ireland Dublin, "
    "Cuba Havana, Peru Lima, Kenya Nairobi, Thailand Bangkok, Vietnam Hanoi, Iraq Baghdad, Iran Tehran, "
    "Canada Ottawa, Denmark Copenhagen, Finland Helsinki, Hungary Budapest, Belgium Brussels, Turkey Ankara, "
    "Tunisia Tunis, Chile Santiago, Colombia Bogota, Ukraine Kyiv, Romania Bucharest, Bulgaria Sofia, "
    "Indonesia Jakarta, Lebanon Beirut, Syria Damascus, Nepal Kathmandu, Mongolia Ulaanbaatar, Morocco Rabat"
)
OPPOSITES = (
    "hot cold warm, big small large, fast slow quick, old young ancient, day night noon, up down above, open closed "
    "wide, full empty filled, light dark bright, rich poor wealthy, happy sad glad, hard soft solid, wet dry damp, "
    "early late soon, loud quiet noisy, high low tall, strong weak powerful, thick thin fat, clean dirty pure, "
    "near far close, win lose gain, love hate like, buy sell pay, push pull press, begin end start, "
    "right wrong correct, true false real, inside outside within, deep shallow low, sharp dull pointed, "
    "alive dead living, cheap expensive free, sweet sour sugary, smooth rough even, wide narrow broad, "
    "heavy light big, brave cowardly bold, "
    "always never often, before after during, friend enemy partner"
)
PAST = (
    "go went goed, eat ate eated, see saw seed, take took taked, write wrote writed, sing sang singed, swim swam "
    "swimmed, drink drank drinked, run ran runned, give gave gived, break broke breaked, speak spoke speaked, "
    "buy bought buyed, think thought thinked, catch caught catched, teach taught teached, fly flew flyed, know knew "
    "knowed, grow grew growed, throw threw throwed, drive drove drived, ride rode rided, fall fell falled, "
    "find found finded, feel felt feeled, keep kept keeped, sleep slept sleeped, build built builded, "
    "send sent sended, lose lost losed"
)
PLURALS = (
    "mouse mice mouses, child children childs, foot feet foots, tooth teeth tooths, goose geese gooses, man men mans, "
    "woman women womans, leaf leaves leafs, knife knives knifes, wolf wolves wolfs, ox oxen oxes, city cities citys, "
    "baby babies babys, box boxes boxs, bus buses buss, watch watches watchs, half halves halfs, life lives lifes, "
    "potato potatoes potatos, berry berries berrys"
)
YOUNG = (
    "dog puppy kitten, cat kitten puppy, cow calf foal, horse foal calf, sheep lamb piglet, pig piglet lamb, hen chick "
    "kid, goat kid chick, duck duckling gosling, goose gosling duckling, frog tadpole cub, bear cub tadpole"
)
FACTS = (
    "How many days does a week have?|A week has seven days.|A week has nine days.\n"
    "How many months does a year have?|A year has twelve months.|A year has ten months.\n"
    "How many legs does a spider have?|A spider has eight legs.|A spider has four legs.\n"
    "How many wheels does a bicycle have?|A bicycle has two wheels.|A bicycle has five wheels.\n"
    "How many sides does a triangle have?|A triangle has three sides.|A triangle has six sides.\n"
    "How many hours does a day have?|A day has 24 hours.|A day has 36 hours.\n"
    "How many minutes does an hour have?|An hour has 60 minutes.|An hour has 90 minutes.\n"
    "What colour is the sky on a clear day?|The sky is blue.|The sky is green.\n"
    "What colour is grass?|Grass is green.|Grass is purple.\n"
    "What colour is snow?|Snow is white.|Snow is black.\n"
    "What colour is a ripe banana?|A ripe banana is yellow.|A ripe banana is blue.\n"
    "What do bees make?|Bees make honey.|Bees make milk.\n"
    "What do cows give?|Cows give milk.|Cows give honey.\n"
    "What does the sun give us?|The sun gives us light.|The sun gives us rain.\n"
    "What is frozen water called?|Frozen water is called ice.|Frozen water is called steam.\n"
    "Where do fish live?|Fish live in water.|Fish live in trees.\n"
    "With what do we hear?|We hear with our ears.|We hear with our eyes.\n"
    "With what do we see?|We see with our eyes.|We see with our ears.\n"
    "On which continent is Egypt?|Egypt is in Africa.|Egypt is in Europe.\n"
    "On which continent is Japan?|Japan is in Asia.|Japan is in America.\n"
    "Which planet do we live on?|We live on Earth.|We live on Mars.\n"
    "Which season comes after spring?|Summer comes after spring.|Winter comes after spring.\n"
    "Which day comes after Monday?|Tuesday comes after Monday.|Friday comes after Monday.\n"
    "Which month comes after March?|April comes after March.|August comes after March.\n"
    "What is the first letter of the alphabet?|The first letter is A.|The first letter is K.\n"
    "What is the largest ocean?|The largest ocean is the Pacific.|The largest ocean is the Arctic.\n"
    "What do plants need to grow?|Plants need water.|Plants need salt.\n"
    "What do you use to cut paper?|You use scissors.|You use spoons.\n"
    "Who treats sick people?|A doctor treats sick people.|A baker treats sick people.\n"
    "What is the opposite side of left?|It is the right side.|It is the front side."
)
MOST = 200


def judge_pairs(n: int = MOST, seed: int = 0) -> list[dict[str, str]]:
    """The first n (1 to 200) of the questions in a seeded order: {"question", "right", "wrong", "kind"}."""
    check_int("n", n, 1, MOST)
    rng = random.Random(check_int("seed", seed, 0))
    pairs = [dict(zip(("question", "right", "wrong", "kind"), row)) for row in _all(random.Random(0))]
    rng.shuffle(pairs)
    return pairs[:n]


def _all(rng: random.Random) -> Iterator[tuple[str, str, str, str]]:
    countries = [one.split() for one in CAPITALS.split(", ")]
    towns = [town for _, town in countries]
    for place, (country, _) in enumerate(countries):
        other = towns[(place + 1 + rng.randrange(len(towns) - 1)) % len(towns)]
        says = f"The capital of {country} is {{}}."
        yield f"What is the capital of {country}?", says.format(towns[place]), says.format(other), "capital"
    for kind, table, question, says in (
        ("opposite", OPPOSITES, "What is the opposite of {}?", "The opposite of {} is {}."),
        ("past", PAST, "What is the past tense of {}?", "The past tense of {} is {}."),
        ("plural", PLURALS, "What is the plural of {}?", "The plural of {} is {}."),
        ("young", YOUNG, "What is a young {} called?", "A young {} is called a {}."),
    ):
        for word, right, wrong in (one.split() for one in table.split(", ")):
            yield question.format(word), says.format(word, right), says.format(word, wrong), kind
    for line in FACTS.splitlines():
        yield (*line.split("|"), "fact")
    sums = [(a, b) for a in range(2, 10) for b in range(2, 10)]
    for a, b in rng.sample(sums, 28):
        wrong = a + b + rng.choice((-3, -2, 2, 3))
        yield f"What is {a} plus {b}?", f"{a} plus {b} is {a + b}.", f"{a} plus {b} is {wrong}.", "sum"
