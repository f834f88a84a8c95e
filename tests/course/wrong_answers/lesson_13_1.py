"""Plausible wrong answers to the exercises of lesson 13_1."""

COMMIT = """def commit(objects, files):
    new = {start}

    def keep(content):
        name = {name}
        new[name] = {kept}
        return name

    pairs = {pairs}
    version = {version}
    return {result}
"""
OF_COMMIT = {
    "start": "dict(objects)",
    "name": "hashlib.sha256(content).hexdigest()",
    "kept": "content",
    "pairs": "sorted([name, keep(content)] for name, content in files.items())",
    "version": 'keep(json.dumps(pairs, ensure_ascii=False, separators=(",", ":")).encode())',
    "result": "new, version",
}
STAGES = """def stages(moves):
    allowed = {allowed}
    found = {{}}
    for version, stage in moves:
        now = {now}
        if {refused}:
            {then}
        if {makes_room}:
            found = {room}
        found[version] = stage
    return {result}
"""
OF_STAGES = {
    "allowed": '{"None": ("Staging", "Archived"), "Staging": ("Production", "Archived"),'
    ' "Production": ("Archived",), "Archived": ("Staging",)}',
    "now": 'found.setdefault(version, "None")',
    "refused": "stage not in allowed[now]",
    "then": "continue",
    "makes_room": 'stage == "Production"',
    "room": '{one: "Archived" if at == "Production" else at for one, at in found.items()}',
    "result": "found",
}
ALERTS = """def alerts(reference, requests, window, allowed):
    def far(one, other):
        gaps = [
            {size}(sum(n {at} x for n in one) / len(one) - sum(n {at} x for n in other) / {share}) for x in {places}
        ]
        return {far}

    starts = range(0, {end}, {step})
    chance = {chance}
    threshold = {threshold}
    found = []
    for number in range({count}):
        part = requests[{first} : {last}]
        if far({whole}, part) {above} threshold:
            found.append({name})
    return found
"""
OF_ALERTS = {
    "size": "abs",
    "at": "<=",
    "share": "len(other)",
    "places": "{*one, *other}",
    "far": "max(gaps)",
    "end": "len(reference) - window + 1",
    "step": "window",
    "chance": "sorted((far(reference[:i] + reference[i + window :], reference[i : i + window]) for i in starts),"
    " reverse=True)",
    "threshold": "chance[allowed]",
    "count": "len(requests) // window",
    "first": "number * window",
    "last": "(number + 1) * window",
    "whole": "reference",
    "above": ">",
    "name": "number",
}
SPREAD = "[-2.0] * 4 + [0.0] * 24 + [2.0] * 4"


def commit(**changes):
    return COMMIT.format(**OF_COMMIT | changes)


def stages(**changes):
    return STAGES.format(**OF_STAGES | changes)


def alerts(**changes):
    return ALERTS.format(**OF_ALERTS | changes)


WRONG = {
    "13-1-a": {
        "writes into what it is given": commit(start="objects"),
        "forgets the old objects": commit(start="{}"),
        "another checksum": commit(name="hashlib.sha1(content).hexdigest()"),
        "a short checksum": commit(name="hashlib.sha256(content).hexdigest()[:32]"),
        "keeps the checksum": commit(kept="name.encode()"),
        "keeps text": commit(kept="content.decode()"),
        "in the order given": commit(pairs="[[name, keep(content)] for name, content in files.items()]"),
        "sorted by address": commit(
            pairs="sorted(([name, keep(content)] for name, content in files.items()), key=lambda pair: pair[1])"
        ),
        "addresses first": commit(pairs="sorted([keep(content), name] for name, content in files.items())"),
        "without the names": commit(pairs="sorted(keep(content) for name, content in files.items())"),
        "with spaces": commit(version="keep(json.dumps(pairs, ensure_ascii=False).encode())"),
        "escapes Korean": commit(version='keep(json.dumps(pairs, separators=(",", ":")).encode())'),
        "forgets the manifest": commit(
            version="hashlib.sha256(json.dumps(pairs, ensure_ascii=False,"
            ' separators=(",", ":")).encode()).hexdigest()'
        ),
        "the version first": commit(result="version, new"),
        "only the version": commit(result="version"),
        "the library's records": """def commit(objects, files):
    from minillm.apps.ops import Records
    import tempfile
    records, new = Records(tempfile.mkdtemp()), dict(objects)
    def keep(content):
        name = records.put(content)
        new[name] = content
        return name
    pairs = sorted([name, keep(content)] for name, content in files.items())
    return new, keep(json.dumps(pairs, ensure_ascii=False, separators=(",", ":")).encode())
""",
    },
    "13-1-b": {
        "everything is allowed": stages(refused="False"),
        "straight to Production": stages(
            allowed=OF_STAGES["allowed"].replace('"None": (', '"None": ("Production", ')
        ),
        "no way to the archive from None": stages(
            allowed=OF_STAGES["allowed"].replace('"None": ("Staging", "Archived")', '"None": ("Staging",)')
        ),
        "Staging cannot be archived": stages(
            allowed=OF_STAGES["allowed"].replace('("Production", "Archived")', '("Production",)')
        ),
        "Production goes back to Staging": stages(
            allowed=OF_STAGES["allowed"].replace('"Production": (', '"Production": ("Staging", ')
        ),
        "nothing leaves the archive": stages(
            allowed=OF_STAGES["allowed"].replace('"Archived": ("Staging",)', '"Archived": ()')
        ),
        "from the archive to Production": stages(
            allowed=OF_STAGES["allowed"].replace(
                '"Archived": ("Staging",)', '"Archived": ("Staging", "Production")'
            )
        ),
        "nobody makes room": stages(makes_room="False"),
        "makes room for Staging, too": stages(makes_room='stage in ("Production", "Staging")'),
        "the old one goes to Staging": stages(
            room=OF_STAGES["room"].replace('"Archived" if', '"Staging" if')
        ),
        "all others are archived": stages(room='{one: "Archived" for one in found}'),
        "the old one is forgotten": stages(
            room='{one: at for one, at in found.items() if at != "Production"}'
        ),
        "makes room before it looks": stages(
            refused="(stage == 'Production' and found.update({o: 'Archived' for o, a in found.items()"
            " if a == 'Production' and o != version})) or stage not in allowed[now]"
        ),
        "forgets who was refused": stages(now='found.get(version, "None")'),
        "stops at the first refusal": stages(then="break"),
        "the versions as text": stages(result="{str(one): at for one, at in found.items()}"),
        "without None": stages(result='{one: at for one, at in found.items() if at != "None"}'),
    },
    "13-1-c": {
        "the last window counts": alerts(count="-(-len(requests) // window)"),
        "forgets the last full window": alerts(count="len(requests) // window - 1"),
        "counts from one": alerts(name="number + 1"),
        "only gaps above": alerts(size=""),
        "windows that slide": alerts(
            count="len(requests) - window + 1", first="number", last="number + window"
        ),
        "all requests so far": alerts(first="0"),
        "the sum of the gaps": alerts(far="sum(gaps)"),
        "the mean of the gaps": alerts(far="sum(gaps) / len(gaps)"),
        "only at the least number": alerts(places="{min(one)}"),
        "only at the first sample's numbers": alerts(places="one"),
        "only at the second sample's numbers": alerts(places="other"),
        "at the threshold, too": alerts(above=">="),
        "shares of one size": alerts(share="len(one)"),
        "the numbers equal to x": alerts(at="=="),
        "a threshold of its own": alerts(threshold="0.25"),
        "the median of what chance shows": alerts(threshold="chance[len(chance) // 2]"),
        "the largest, whatever is allowed": alerts(threshold="chance[0]"),
        "the smallest": alerts(threshold="chance[-1]"),
        "one more is allowed": alerts(threshold="chance[min(allowed + 1, len(chance) - 1)]"),
        "counts from the small end": alerts(threshold="chance[::-1][allowed]"),
        "the mean of what chance shows": alerts(threshold="sum(chance) / len(chance)"),
        "windows against the whole reference": alerts(
            chance=OF_ALERTS["chance"].replace("reference[:i] + reference[i + window :]", "reference")
        ),
        "windows against what follows": alerts(
            chance=OF_ALERTS["chance"].replace(
                "reference[:i] + reference[i + window :]", "(reference[i + window :] or reference[:i])"
            )
        ),
        "windows of the reference that slide": alerts(step="1"),
        "the part left over is a window": alerts(end="len(reference)"),
        "the part left over is thrown away": alerts(
            whole="reference[: len(reference) // window * window]",
            chance=OF_ALERTS["chance"].replace(
                "reference[i + window :]", "reference[i + window : len(reference) // window * window]"
            ),
        ),
        "the threshold comes from the requests": """def alerts(reference, requests, window, allowed):
    def far(one, other):
        return max(abs(sum(n <= x for n in one) / len(one) - sum(n <= x for n in other) / len(other))
                   for x in {*one, *other})

    parts = [requests[i : i + window] for i in range(0, len(requests) - window + 1, window)]
    distances = [far(reference, part) for part in parts]
    bound = sorted(distances, reverse=True)[min(allowed, len(distances) - 1)] if distances else 0
    return [i for i, one in enumerate(distances) if one > bound]
""",
        "sorts the reference": alerts(step="(reference.sort(), window)[1]"),
        "scipy's": """from scipy.stats import ks_2samp

def alerts(reference, requests, window, allowed):
    starts = range(0, len(reference) - window + 1, window)
    chance = sorted(
        (ks_2samp(reference[:i] + reference[i + window :], reference[i : i + window]).statistic for i in starts),
        reverse=True,
    )
    parts = [requests[i * window : (i + 1) * window] for i in range(len(requests) // window)]
    return [i for i, part in enumerate(parts) if ks_2samp(reference, part).statistic > chance[allowed]]
""",
        "the library's monitor": """from minillm.apps.ops import monitor

def alerts(reference, requests, window, allowed):
    def far(one, other):
        return monitor.distance_of(np.asarray(one, dtype=float), np.asarray(other, dtype=float))

    starts = range(0, len(reference) - window + 1, window)
    chance = sorted((far(reference[:i] + reference[i + window :], reference[i : i + window]) for i in starts))
    parts = [requests[i * window : (i + 1) * window] for i in range(len(requests) // window)]
    return [i for i, part in enumerate(parts) if far(reference, part) > chance[-1 - allowed]]
""",
        "the distance in place of the number": alerts(name="far(reference, part)"),
        "the library's": """def alerts(reference, requests, window, allowed):
    starts = range(0, len(reference) - window + 1, window)
    chance = sorted(ks_statistic(reference[:i] + reference[i + window :], reference[i : i + window]) for i in starts)
    parts = [requests[i * window : (i + 1) * window] for i in range(len(requests) // window)]
    return [i for i, part in enumerate(parts) if ks_statistic(reference, part) > chance[-1 - allowed]]
""",
        "compares the means": """def alerts(reference, requests, window, allowed):
    starts = range(0, len(reference) - window + 1, window)
    mean = sum(reference) / len(reference)
    chance = sorted(abs(np.mean(reference[i : i + window]) - mean) for i in starts)
    parts = [requests[i * window : (i + 1) * window] for i in range(len(requests) // window)]
    return [i for i, part in enumerate(parts) if abs(np.mean(part) - mean) > chance[-1 - allowed]]
""",
        "the checker's own": """def alerts(reference, requests, window, allowed):
    import sys

    return sys.modules["minillm.course.classroom.exercises.lesson_13_1"].alerts_of(
        reference, requests, window, allowed)[0]
""",
    },
    "13-1-d": {
        "the same": f"drift = ({SPREAD}, {SPREAD})",
        "another mean": "drift = ([-1.0, 1.0] * 16, [0.0, 2.0] * 16)",
        "another deviation": "drift = ([-1.0, 1.0] * 16, [-2.0, 2.0] * 16)",
        "nothing varies": "drift = ([1.0] * 20, [1.0] * 20)",
        "too few": "drift = ([-1.0, 1.0] * 4, [-2.0, 0, 0, 0, 0, 0, 0, 2.0])",
        "a shape that hides": "drift = ([-1.0] * 16 + [1.0] * 16, [-1.0] * 15 + [1.0] * 15 + [-1.0, 1.0])",
        "one list": f"drift = {SPREAD}",
        "no numbers": f'drift = (["1"] * 20, {SPREAD})',
        "too large": "drift = ([-1e9] * 16 + [1e9] * 16, [-2e9] * 4 + [0.0] * 24 + [2e9] * 4)",
    },
}
