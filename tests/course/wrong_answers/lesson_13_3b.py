"""Plausible wrong answers to the exercises of lesson 13_3b."""

FIT = """def fit(games):
    names = list(dict.fromkeys(name for a, b, _ in games for name in (a, b)))
    place = {{name: i for i, name in enumerate(names)}}
    wins = np.zeros((len(names), len(names)))
    for a, b, result in games:
        {count}
    met, won, strength = {met}, {won}, np.ones(len(names))
    for _ in range({steps}):
        new = won / (met / ({pair})).sum(1)
        new /= {scale}
        if np.abs(np.log(new / strength)).max() < {close}:
            break
        strength = new
    return {result}
"""
OF_FIT = {
    "count": "wins[place[a], place[b]] += result\n        wins[place[b], place[a]] += 1 - result",
    "met": "wins + wins.T",
    "won": "wins.sum(1)",
    "steps": "20_000",
    "pair": "strength[:, None] + strength[None, :]",
    "scale": "np.exp(np.log(new).mean())",
    "close": "1e-9",
    "result": "dict(zip(names, np.log(new).tolist()))",
}

PANEL = """def panel(judges, question, first, second):
    kept = []
    {before}
    for judge in judges:
        ahead = judge(question, first, second)
        behind = {behind}
        if {good}:
            kept.append({mean})
    return {result}
"""
OF_PANEL = {
    "before": "pass",
    "behind": "1 - judge(question, second, first)",
    "good": "not (min(ahead, behind) < 0.5 < max(ahead, behind))",
    "mean": "(ahead + behind) / 2",
    "result": "(sum(kept) / len(kept) if kept else 0.5), len(kept)",
}

HAND = """def ratings(games, k, start):
    points = {{}}
    {before}
    for a, b, result in {games}:
        ra, rb = points.get(a, {begin}), points.get(b, {begin})
        gain = {k} * ({result} - {expect})
        points[a], points[b] = {update}
    return {points}

def kappa(a, b):
    n = len(a)
    observed = {observed}
    expected = {luck}
    return {kappa}
"""
OF_HAND = {
    "before": "pass",
    "games": "games",
    "begin": "start",
    "k": "k",
    "result": "result",
    "expect": "1 / (1 + 10 ** ((rb - ra) / 400))",
    "update": "ra + gain, rb - gain",
    "points": "points",
    "observed": "sum(x == y for x, y in zip(a, b)) / n",
    "luck": "sum(a.count(label) * b.count(label) for label in set(a)) / n**2",
    "kappa": "(observed - expected) / (1 - expected) if expected < 1 else math.nan",
}


def hand(**changes):
    return HAND.format(**OF_HAND | changes)


def fit(**changes):
    return FIT.format(**OF_FIT | changes)


def panel(**changes):
    return PANEL.format(**OF_PANEL | changes)


STRONG = (
    'games = [("s", "g", 1)] * 10 + [("g", "s", 1)] * 8 + [("m", "w", 1)] * 40 + [("w", "m", 1)] * 2\n'
    'games += [("s", "m", 1)] * 4 + [("m", "s", 1)] + [("g", "m", 1)] * 3 + [("m", "g", 1)]\n'
)

WRONG = {
    "13-3b-a": {
        "the share of games won": fit(result="dict(zip(names, (won / met.sum(1)).tolist()))"),
        "the log of the odds": fit(
            result="dict(zip(names, (odds := np.log(won / (met.sum(1) - won))) - odds.mean()))"
        ),
        "one step": fit(steps="1"),
        "three steps": fit(steps="3"),
        "sixty steps": fit(steps="60", close="0"),
        "stops early": fit(close="0.01"),
        "strengths without the logarithm": fit(result="dict(zip(names, new.tolist()))"),
        "powers of ten": fit(result="dict(zip(names, np.log10(new).tolist()))"),
        "Elo's points": fit(result="dict(zip(names, (1000 + 400 * np.log10(new)).tolist()))"),
        "the sum is one": fit(scale="new.sum()"),
        "the first player is zero": fit(scale="new[0]"),
        "the weakest is zero": fit(scale="new.min()"),
        "ties are left out": fit(
            count="if result == 0.5:\n            continue\n        wins[place[a], place[b]] += result\n"
            "        wins[place[b], place[a]] += 1 - result"
        ),
        "a tie is won by the first": fit(
            count="wins[place[a], place[b]] += result >= 0.5\n        wins[place[b], place[a]] += result < 0.5"
        ),
        "a tie is a whole win for both": fit(
            count="wins[place[a], place[b]] += result > 0\n        wins[place[b], place[a]] += result < 1"
        ),
        "only games that a won": fit(count="wins[place[a], place[b]] += result"),
        "results turned round": fit(
            count="wins[place[b], place[a]] += result\n        wins[place[a], place[b]] += 1 - result"
        ),
        "games lost": fit(won="wins.sum(0)"),
        "each pair met once": fit(met="((wins + wins.T) > 0) * 1.0"),
        "everybody met everybody": fit(met="np.full_like(wins, (wins + wins.T).mean())"),
        "the geometric mean of both": fit(pair="2 * np.sqrt(strength[:, None] * strength[None, :])"),
        "only the other's strength": fit(pair="2 * strength[None, :]"),
        "a list": fit(result="list(zip(names, np.log(new).tolist()))"),
        "places for names": fit(result="dict(enumerate(np.log(new).tolist()))"),
        "names as texts": fit(result="{str(n): v for n, v in zip(names, np.log(new).tolist())}"),
        "a price on large strengths": """def fit(games):
    return {name: float(s) for name, s in bradley_terry(games, alpha=0.05, resamples=0).items()}""",
        "the library": """def fit(games):
    return {name: float(s) for name, s in bradley_terry(games, resamples=0).items()}""",
        "the library's inside": """def fit(games):
    from minillm.evaluation import ratings
    names, rows = ratings.players_and_rows(games)
    return dict(zip(names, ratings.strengths(ratings.win_counts(rows, len(names)))))""",
        "Elo": """def fit(games):
    rating = {}
    for a, b, result in games * 50:
        ra, rb = rating.setdefault(a, 0.0), rating.setdefault(b, 0.0)
        gain = 0.05 * (result - 1 / (1 + math.exp(rb - ra)))
        rating[a], rating[b] = ra + gain, rb - gain
    return rating""",
        "empties the list": fit(result="(games.clear(), dict(zip(names, np.log(new).tolist())))[1]"),
        "forgets the mean": fit(scale="np.exp(np.log(new).mean() - 0.01)"),
    },
    "13-3b-b": {
        "one order": panel(behind="ahead"),
        "not turned round": panel(behind="judge(question, second, first)"),
        "the same order twice": panel(behind="judge(question, first, second)"),
        "the same order twice, turned": panel(behind="1 - judge(question, first, second)"),
        "nobody is left out": panel(good="True"),
        "ties are left out": panel(good="(ahead > 0.5) == (behind > 0.5) and ahead != 0.5"),
        "half a tie contradicts": panel(good="(ahead > 0.5) == (behind > 0.5)"),
        "a hair contradicts nothing": panel(
            good="not (min(ahead, behind) < 0.49 and max(ahead, behind) > 0.51)"
        ),
        "only equal orders": panel(good="abs(ahead - behind) < 1e-9"),
        "those that contradict alone": panel(good="min(ahead, behind) < 0.5 < max(ahead, behind)"),
        "by the product": panel(good="ahead * behind > 0.25"),
        "the first order's preference": panel(mean="ahead"),
        "the second order's preference": panel(mean="behind"),
        "the stronger order": panel(mean="max(ahead, behind, key=lambda p: abs(p - 0.5))"),
        "the geometric mean": panel(mean="(ahead * behind) ** 0.5"),
        "a verdict": panel(mean="float((ahead + behind) / 2 > 0.5)"),
        "rounded": panel(mean="round((ahead + behind) / 2, 1)"),
        "the mean over all judges": panel(result="(sum(kept) / len(judges) if judges else 0.5), len(kept)"),
        "the sum": panel(result="(sum(kept) if kept else 0.5), len(kept)"),
        "the median": panel(result="(sorted(kept)[len(kept) // 2] if kept else 0.5), len(kept)"),
        "all judges are counted": panel(result="(sum(kept) / len(kept) if kept else 0.5), len(judges)"),
        "none left is zero": panel(result="(sum(kept) / len(kept) if kept else 0.0), len(kept)"),
        "fails without judges": panel(result="sum(kept) / len(kept), len(kept)"),
        "only the preference": panel(result="sum(kept) / len(kept) if kept else 0.5"),
        "the other answer": panel(result="(1 - sum(kept) / len(kept) if kept else 0.5), len(kept)"),
        "asks again to be sure": panel(before="[judge(question, first, second) for judge in judges]"),
        "only the first judge": panel(before="judges = judges[:1]"),
        "turns the list round": panel(before="judges.reverse()"),
        "without the question": panel(behind="1 - judge('', second, first)"),
        "the library": """def panel(judges, question, first, second):
    kept = [both_orders(judge, question, first, second) for judge in judges]
    kept = [one.preference for one in kept if not min(one[1:]) < 0.5 < max(one[1:])]
    return (sum(kept) / len(kept) if kept else 0.5), len(kept)""",
    },
    "13-3b-c": {
        "the best wins most": 'games = [("a", "b", 1)] * 9 + [("b", "a", 1)] + [("b", "c", 1)] * 9 + [("c", "b", 1)]',
        "too few games": 'games = [("a", "b", 1), ("b", "a", 1), ("c", "a", 1), ("a", "c", 1)]',
        "two players": 'games = [("a", "b", 1)] * 20 + [("b", "a", 1)] * 5',
        "never lost": STRONG.replace('+ [("w", "m", 1)] * 2', "").replace(
            '+ [("s", "m", 1)] * 4', '[("s", "m", 1)] * 4'
        ),
        "nobody meets the others": STRONG.partition("games +=")[0],
        "too small a lead in strength": STRONG + 'games += [("m", "s", 1)] * 4 + [("m", "g", 1)] * 3',
        "too small a lead in share": STRONG + 'games += [("w", "m", 1)] * 28',
        "ties": STRONG + 'games += [("s", "w", 0.5)]',
        "against itself": STRONG + 'games += [("s", "s", 1)]',
        "six players": STRONG + 'games += [("x", "y", 1), ("y", "x", 1), ("x", "s", 1), ("s", "x", 1)]',
        "too many games": STRONG + 'games += [("m", "w", 1)] * 190',
        "shares in place of games": 'games = {"a": 0.9, "b": 0.5}',
    },
    "13-3b-d": {
        "the winner": "prediction = [1016, 0.0, 0.0, 0.5, 0.4]",
        "all points": "prediction = [968, 0.0, 0.0, 0.5, 0.4]",
        "half won": "prediction = [984, 0.5, 0.0, 0.5, 0.4]",
        "agreement": "prediction = [984, 0.0, 0.5, 0.5, 0.4]",
        "the habit stays": "prediction = [984, 0.0, 0.0, 0.9, 0.4]",
        "a quarter": "prediction = [984, 0.0, 0.0, 0.5, 0.2]",
        "no change": "prediction = [984, 0.0, 0.0, 0.5, 0.8]",
        "four numbers": "prediction = [984, 0.0, 0.0, 0.5]",
        "not a number": "prediction = [984, float('nan'), 0.0, 0.5, 0.4]",
    },
    "13-3b-e": {
        "what both people say together is the luck": hand(
            luck="sum(((a + b).count(label) / (2 * n)) ** 2 for label in set(a + b))"
        ),
        "each label is as likely as another": hand(luck="1 / len(set(a + b))"),
        "the agreement": hand(kappa="observed"),
        "one label only is perfect": hand(
            kappa="(observed - expected) / (1 - expected) if expected < 1 else 1.0"
        ),
        "the second player by the new points": hand(
            update="ra + gain, rb + k * (1 - result - 1 / (1 + 10 ** ((ra + gain - rb) / 400)))"
        ),
        "expected of the other player": hand(expect="1 / (1 + 10 ** ((ra - rb) / 400))"),
        "powers of e": hand(expect="1 / (1 + math.exp((rb - ra) / 400))"),
        "only the winner's points move": hand(update="ra + max(gain, 0), rb + max(-gain, 0)"),
        "a tie moves nothing": hand(update="(ra, rb) if result == 0.5 else (ra + gain, rb - gain)"),
        "a tie is a win": hand(result="(result >= 0.5)"),
        "the last game first": hand(games="games[::-1]"),
        "from sorted games": hand(games="sorted(games)"),
        "all games from the first points": hand(expect="0.5"),
        "starts at 1,000": hand(begin="1000"),
        "starts at 0": hand(begin="0"),
        "k is 32": hand(k="32"),
        "k is 4": hand(k="4"),
        "forgets the expectation": hand(expect="0"),
        "half of k": hand(k="k / 2"),
        "without 400": hand(expect="1 / (1 + 10 ** min(rb - ra, 300))"),
        "never below the start": hand(update="max(ra + gain, start), max(rb - gain, start)"),
        "both get the points": hand(update="ra + gain, rb + gain"),
        "whole points": hand(points="{name: round(one) for name, one in points.items()}"),
        "a list": hand(points="list(points.items())"),
        "names as texts": hand(points="{str(name): one for name, one in points.items()}"),
        "gains only": hand(points="{name: one - start for name, one in points.items()}"),
        "only those who won": hand(points="{a: points[a] for a, _, result in games if result == 1}"),
        "fails without games": hand(before="games[0]"),
        "empties the games": hand(points="(games.clear(), points)[1]"),
        "one label is no error": hand(kappa="(observed - expected) / (1 - expected)"),
        "one label only is luck": hand(
            kappa="(observed - expected) / (1 - expected) if expected < 1 else 0.0"
        ),
        "never below 0": hand(
            kappa="max(0, (observed - expected) / (1 - expected)) if expected < 1 else math.nan"
        ),
        "its size": hand(kappa="abs(observed - expected) / (1 - expected) if expected < 1 else math.nan"),
        "not divided": hand(kappa="observed - expected if expected < 1 else math.nan"),
        "divided by the luck": hand(
            kappa="(observed - expected) / expected if 0 < expected < 1 else math.nan"
        ),
        "luck of the first person": hand(luck="sum(a.count(label) ** 2 for label in set(a)) / n**2"),
        "luck of two labels": hand(
            luck="(lambda p, q: p * q + (1 - p) * (1 - q))(a.count(a[0]) / n, b.count(a[0]) / n)"
        ),
        "n - 1": hand(luck="sum(a.count(label) * b.count(label) for label in set(a)) / max(n * (n - 1), 1)"),
        "the share of the commonest label": hand(
            luck="max(a.count(label) * b.count(label) for label in set(a)) / n**2"
        ),
        "labels in order": hand(observed="sum(x == y for x, y in zip(sorted(a), sorted(b))) / n"),
        "sorts the lists": hand(observed="(sum(x == y for x, y in zip(a, b)) / n, a.sort(), b.sort())[0]"),
        "the library's elo": hand()
        + "\nfrom minillm.evaluation import elo\n"
        + "def ratings(games, k, start):\n    return {n: +r for n, r in elo(games, k, start, resamples=0).items()}",
        "the library's kappa": hand() + "\nkappa = cohen_kappa\n",
        "the library's kappa, called": hand() + "\ndef kappa(a, b):\n    return cohen_kappa(a, b)\n",
        "the checker's own": hand()
        + "\ndef kappa(a, b):\n    import sys\n"
        + '    return sys.modules["minillm.course.classroom.exercises.lesson_13_3b"].beyond_luck(a, b)\n',
        "no functions": "ratings, kappa = {}, 0.5",
    },
}
