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
ALERTS = """def alerts(reference, requests, window, threshold):
    found = []
    for number in range({count}):
        part = requests[{first} : {last}]
        gaps = [
            {size}(sum(r {at} x for r in reference) / len(reference) - sum(p {at} x for p in part) / {share})
            for x in {places}
        ]
        if {far} {above} {threshold}:
            found.append({name})
    return found
"""
OF_ALERTS = {
    "count": "len(requests) // window",
    "first": "number * window",
    "last": "(number + 1) * window",
    "size": "abs",
    "at": "<=",
    "share": "window",
    "places": "{*reference, *part}",
    "far": "max(gaps)",
    "above": ">",
    "threshold": "threshold",
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
        "the last window counts": alerts(count="-(-len(requests) // window)", share="max(1, len(part))"),
        "forgets the last full window": alerts(count="len(requests) // window - 1"),
        "counts from one": alerts(name="number + 1"),
        "only gaps above": alerts(size=""),
        "windows that slide": alerts(
            count="len(requests) - window + 1", first="number", last="number + window"
        ),
        "all requests so far": alerts(first="0", share="len(part)"),
        "the sum of the gaps": alerts(far="sum(gaps)"),
        "the mean of the gaps": alerts(far="sum(gaps) / len(gaps)"),
        "only at the least number": alerts(places="{min(reference)}"),
        "only at the reference's numbers": alerts(places="reference"),
        "only at the window's numbers": alerts(places="part"),
        "at the threshold, too": alerts(above=">="),
        "scipy's": """from scipy.stats import ks_2samp

def alerts(reference, requests, window, threshold):
    parts = [requests[i * window : (i + 1) * window] for i in range(len(requests) // window)]
    return [i for i, part in enumerate(parts) if ks_2samp(reference, part).statistic > threshold]
""",
        "the library's monitor": """from minillm.apps.ops import monitor

def alerts(reference, requests, window, threshold):
    parts = [requests[i * window : (i + 1) * window] for i in range(len(requests) // window)]
    far = [monitor.distance_of(np.asarray(reference, dtype=float), np.asarray(part)) for part in parts]
    return [i for i, one in enumerate(far) if one > threshold]
""",
        "shares of the reference's size": alerts(share="len(reference)"),
        "the numbers equal to x": alerts(at="=="),
        "a threshold of its own": alerts(threshold="0.25"),
        "a threshold in percent": alerts(threshold="threshold / 100"),
        "the distance in place of the number": alerts(name="max(gaps)"),
        "the library's": """def alerts(reference, requests, window, threshold):
    parts = [requests[i * window : (i + 1) * window] for i in range(len(requests) // window)]
    return [i for i, part in enumerate(parts) if ks_statistic(reference, part) > threshold]
""",
        "compares the means": """def alerts(reference, requests, window, threshold):
    parts = [requests[i * window : (i + 1) * window] for i in range(len(requests) // window)]
    return [i for i, part in enumerate(parts) if abs(np.mean(part) - np.mean(reference)) > threshold]
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
