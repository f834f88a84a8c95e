"""A query taken apart, so that two ways of writing the same one come to the same value.

    SELECT T1.name FROM people AS T1 WHERE T1.age > 30 AND T1.city = "Ulm";
    {"select": {"people.name": 1}, "from": {"people": 1}, "where": {"people.age > 30", "people.city = 'ulm'"}, ...}

    words      letter case, white space, comments, brackets around a whole, AS, ASC, INNER and a last ; do not count
    names      an alias is replaced by its table; a column gets its table where the query has one, or a schema says it
    order      of columns, of tables, of conditions joined by AND or by OR, of the two sides of =, does not count
    joins      ON a condition is the same as WHERE it (not for LEFT JOIN)
    queries    within a query, and on both sides of UNION, INTERSECT and EXCEPT, are taken apart likewise

Left out: whether two different conditions mean the same (age > 30, NOT age <= 30); the two copies of a table that is
joined with itself are not told apart, as in Spider's evaluator. Book: 6.2. Paper: Yu et al. 2018.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from minillm._checks import describe
from minillm.apps.text2sql.words import CLAUSES, JOINS, WORDS, Tokens, closes, depths_of, split, tokens_of

MOST_TOKENS, MOST_DEEP = 5_000, 40  # words and signs; queries and brackets in each other
_SETS = ("union", "intersect", "except")
_NO_NAMES = {*WORDS, *CLAUSES, *JOINS, *_SETS, "on", "using", "by"}
_MIRRORED = {">": "<", ">=": "<="}
Schema = Mapping[str, Sequence[str]]


def read_sql(sql: str, schema: Schema | None = None, masked: bool = False) -> dict[str, Any]:
    """The clauses of a query, each as a value that can be compared. ValueError where it cannot be taken apart.

    schema: {table: [columns]}, so that a column without its table is found in a query of several. masked: texts and
    numbers become a ?, and DISTINCT is left out: what is compared is the form.
    """
    tables = {
        table.lower(): {column.lower() for column in columns} for table, columns in (schema or {}).items()
    }
    tokens = tokens_of(sql, {*tables, *(column for columns in tables.values() for column in columns)})
    if len(tokens) > MOST_TOKENS or max(depths_of(tokens)) > MOST_DEEP:
        raise ValueError(
            f"the query has more than {MOST_TOKENS:,} words, or {MOST_DEEP} brackets in each other"
        )
    if masked:
        tokens = _masked(tokens)
    if tokens[0] in ("with", "values"):
        return {tokens[0]: tuple(tokens)}
    return _query(tokens, tables, {}, 0)


def _masked(tokens: list[str]) -> list[str]:
    kept = [token for token in tokens if token != "distinct"]
    return ["?" if token[0] == "'" or token[0].isdigit() else token for token in kept]


def _query(tokens: Tokens, schema: Any, outer: dict[str, str], deep: int) -> dict[str, Any]:
    """One query, or several joined by UNION, INTERSECT, EXCEPT."""
    if deep > MOST_DEEP:
        raise ValueError(f"the query has more than {MOST_DEEP} brackets in each other")
    depths = depths_of(tokens)
    places = [i for i, token in enumerate(tokens) if depths[i] == 0 and token in _SETS]
    if places:
        first = places[0]
        word = tokens[first]
        all_rows = first + 1 < len(tokens) and tokens[first + 1] == "all"
        left = _query(tokens[:first], schema, outer, deep + 1)
        right = _query(tokens[first + 1 + all_rows :], schema, outer, deep + 1)
        return {"set": word + (" all" if all_rows else ""), "left": left, "right": right}
    if tokens[:1] == ["("] and closes(tokens):
        return _query(tokens[1:-1], schema, outer, deep + 1)
    return _select(tokens, schema, outer, deep)


def _select(tokens: Tokens, schema: Any, outer: dict[str, str], deep: int) -> dict[str, Any]:
    if tokens[:1] != ["select"]:
        raise ValueError(f"expected SELECT, got {describe(' '.join(map(str, tokens[:5])))}")
    parts: dict[str, Tokens] = {}
    for token, depth in zip(tokens, depths_of(tokens)):
        if depth == 0 and token in CLAUSES:
            if parts and CLAUSES.index(token) <= CLAUSES.index([*parts][-1]):
                raise ValueError(f"{token.upper()} stands twice in one query, or too late")
            parts[token] = current = []
        else:
            current.append(token)
    if not all(parts.values()):
        raise ValueError(f"expected something after {min(word for word in parts if not parts[word]).upper()}")
    tables, aliases, ons = _from(parts.get("from", []), schema, deep)
    names = {**outer, **aliases}

    def plain(part: Tokens) -> Any:
        return _expression(part, names, schema, tables, deep)

    def by(word: str) -> Tokens:
        part = parts.get(word, ["by"])
        if part[:1] != ["by"] or (word in parts and len(part) == 1):
            raise ValueError(f"expected {word.upper()} BY, got {describe(' '.join(map(str, part[:5])))}")
        return part[1:]

    chosen = parts["select"]
    distinct = chosen[:1] == ["distinct"]
    items = split(chosen[distinct:], [","])
    called = {
        one[-1]: one[:-2] for one in items if len(one) > 2 and one[-2] == "as"
    }  # the name that an item gets

    def expanded(part: Tokens) -> Tokens:
        return [word for token in part for word in called.get(token, [token])]

    def listed(part: Tokens) -> list[Tokens]:
        items = split(expanded(part), [","]) if part else []
        if not all(items):
            raise ValueError(f"a comma too many in {describe(' '.join(map(str, part)))}")
        return items

    where = [*ons, *([parts["where"]] if "where" in parts else [])]
    conditions = _all(where, plain, deep)
    return {
        "distinct": distinct,
        "select": Counter(plain(one[:-2] if one[-2:-1] == ["as"] else one) for one in items),
        "from": Counter(tables),
        "where": conditions,
        "group": Counter(map(plain, listed(by("group")))),
        "having": _all([expanded(parts["having"])] if "having" in parts else [], plain, deep),
        "order": tuple(plain(one[:-1] if one[-1] == "asc" else one) for one in listed(by("order"))),
        "limit": plain(parts.get("limit", [])),
        "offset": plain(parts.get("offset", [])),
    }


def _from(tokens: Tokens, schema: Any, deep: int) -> tuple[list[Any], dict[str, str], list[Tokens]]:
    """(tables, {alias: table}, conditions of ON)."""
    tables: list[Any] = []
    aliases: dict[str, str] = {}
    ons: list[Tokens] = []
    for kind, part in _sources(tokens):
        depths = depths_of(part)
        place = next((i for i, d in enumerate(depths) if d == 0 and part[i] in ("on", "using")), len(part))
        source, condition = part[:place], part[place:]
        if source[:1] == ["("]:
            end = next(i for i, d in enumerate(depths_of(source)) if d == 1 and source[i] == ")")
            table, names = _frozen(_query(source[1:end], schema, {}, deep + 1)), _names(source[end + 1 :], 0)
            aliases.update(zip(names, names))
        else:
            names = _names(source[2:] if source[1:2] == ["."] else source, 1)  # main.people
            table = names[0]
            aliases.update(dict.fromkeys(names, table))
        tables.append((*kind, table) if kind else table)
        if condition:
            plain = condition[0] == "on" and not kind
            ons.append(condition[1:] if plain else [*kind, *condition])
    return tables, aliases, ons


def _names(tokens: Tokens, own: int) -> Tokens:
    """The `own` names of a table, and its alias, with AS or without."""
    names = [*tokens[:own], *(tokens[own + 1 :] if tokens[own : own + 1] == ["as"] else tokens[own:])]
    if (
        not own <= len(names) <= own + 1
        or tokens[-1:] == ["as"]
        or not all(re.match(r'[^\W\d]|"', one) and one not in _NO_NAMES for one in names)
    ):
        raise ValueError(f"expected a table, got {describe(' '.join(map(str, tokens)))}")
    return names


def _sources(tokens: Tokens) -> list[tuple[tuple[str, ...], Tokens]]:
    """(words before JOIN, what is joined) of each part of FROM: a LEFT JOIN b -> ((), [a]), ((left,), [b])."""
    found: list[tuple[tuple[str, ...], Tokens]] = []
    words: list[str] = [","]
    pairs = zip(tokens, depths_of(tokens))
    for joins, group in groupby(pairs, lambda pair: pair[1] == 0 and pair[0] in JOINS):
        part = [token for token, _ in group]
        if not joins:
            found.append((tuple(word for word in words if word not in (",", "join", "inner", "outer")), part))
        words = part if joins else []
        if joins and (
            not found or (part != [","] and (part.count("join") != 1 or part[-1] != "join" or "," in part))
        ):
            raise ValueError(f"expected a table, got {describe(' '.join(part))}")
    if tokens and words:
        raise ValueError("expected a table, got nothing")
    return found


def _all(conditions: list[Tokens], plain: Any, deep: int) -> Any:
    """Conditions that must all hold, in any order."""
    found = Counter()
    for one in conditions:
        value = _condition(one, plain, deep)
        found.update(value[1] if isinstance(value, tuple) and value[:1] == ("and",) else [value])
    return found


def _condition(tokens: Tokens, plain: Any, deep: int) -> Any:
    """OR over AND over comparisons, each joined in any order."""
    if deep > MOST_DEEP:
        raise ValueError(f"the query has more than {MOST_DEEP} brackets in each other")
    tokens = _bare(tokens)
    for word in ("or", "and"):
        parts = _joined(tokens, word)
        if len(parts) > 1:
            found: list[Any] = []
            for part in parts:
                value = _condition(part, plain, deep + 1)
                found.extend(value[1] if isinstance(value, tuple) and value[:1] == (word,) else [value])
            return word, tuple(sorted(found, key=repr))
    if tokens[:1] == ["not"]:
        return "not", _condition(tokens[1:], plain, deep + 1)
    if tokens[:1] and tokens[0] in ("=", "!=", "<", "<=", ">", ">="):
        raise ValueError(f"expected a condition, got {describe(' '.join(map(str, tokens[:5])))}")
    for sign in ("=", "!=", "<", "<=", ">", ">="):
        sides = split(tokens, [sign])
        if len(sides) == 2 and all(sides):
            left, right = map(plain, sides)
            if sign in _MIRRORED:
                return _MIRRORED[sign], right, left
            return (sign, *sorted((left, right), key=repr)) if sign in ("=", "!=") else (sign, left, right)
    return plain(tokens)


def _bare(tokens: Tokens) -> Tokens:
    """Without brackets around the whole."""
    while tokens[:1] == ["("] and tokens[1:2] != ["select"] and closes(tokens):
        tokens = tokens[1:-1]
    return tokens


def _joined(tokens: Tokens, word: str) -> list[Tokens]:
    """The parts around AND or OR; the AND of BETWEEN joins nothing."""
    parts: list[Tokens] = [[]]
    between = 0
    for token, depth in zip(tokens, depths_of(tokens)):
        between += depth == 0 and token == "between"
        if depth == 0 and token == word and not (word == "and" and between):
            parts.append([])
            continue
        if depth == 0 and token == "and" and between:
            between -= 1
        parts[-1].append(token)
    return parts


def _expression(tokens: Tokens, names: Any, schema: Any, tables: Sequence[Any], deep: int) -> Any:
    """Names resolved, queries within taken apart; a single token stays a str."""
    tokens, found, place = _bare(tokens), [], 0
    while place < len(tokens):
        token = tokens[place]
        if token == "(" and tokens[place + 1 : place + 2] == ["select"]:
            depths = depths_of(tokens[place:])
            end = place + next(i for i, d in enumerate(depths) if d == 1 and tokens[place + i] == ")")
            found.append(_frozen(_query(tokens[place + 1 : end], schema, names, deep + 1)))
            place = end + 1
        elif tokens[place + 1 : place + 2] == ["."] and place + 2 < len(tokens):
            found.append(f"{names.get(token, token)}.{tokens[place + 2]}")
            place += 3
        else:
            following = tokens[place + 1 : place + 2]
            found.append(token if following == ["("] else _column(token, schema, tables))
            place += 1
    return found[0] if len(found) == 1 else tuple(found)


def _column(token: str, schema: Any, tables: Sequence[Any]) -> str:
    """A column with its table: the only one of the query, or the one that has it."""
    if not (token[0].isalpha() or token[0] == "_") or token in WORDS:
        return token
    plain = [one for one in dict.fromkeys(tables) if isinstance(one, str)]
    homes = [one for one in plain if token in schema.get(one, ())]
    if homes:
        return f"{homes[0]}.{token}"
    return f"{plain[0]}.{token}" if len(plain) == len(set(tables)) == 1 and plain[0] not in schema else token


def _frozen(value: Any) -> Any:
    """A query within a query, as a value that a Counter can hold."""
    if isinstance(value, Mapping):
        return tuple(sorted(((key, _frozen(one)) for key, one in value.items()), key=repr))
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value
