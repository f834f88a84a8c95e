"""What a model's SQL may try: name -> statement. OUTSIDE stands for the path of a file of ours.

Every one of them must meet a SandboxError. FIRST_WALL holds what is refused before SQLite sees it: the tests also hand
these to the second wall alone. HARMLESS are queries as any other, with what they give.
"""

from itertools import pairwise

WRITING = {
    "insert": "INSERT INTO people VALUES (9, 'Eve', 1, 2.0, NULL)",
    "insert a query": "INSERT INTO people SELECT * FROM people",
    "replace": "REPLACE INTO people VALUES (1, 'Eve', 1, 2.0, NULL)",
    "update": "UPDATE people SET name = 'Eve'",
    "delete": "DELETE FROM people",
    "delete after WITH": "WITH x AS (SELECT 1) DELETE FROM people",
    "insert after WITH": "WITH x AS (SELECT 1) INSERT INTO people SELECT 9, 'Eve', 1, 1, NULL FROM x",
    "update after WITH": "WITH x AS (SELECT 1) UPDATE people SET age = 0",
    "upsert": "INSERT INTO people(id) VALUES (1) ON CONFLICT(id) DO UPDATE SET name = 'Eve'",
    "returning": "UPDATE people SET age = age RETURNING *",
    "delete returning after WITH": "WITH x AS (SELECT 1) DELETE FROM people RETURNING name",
    "drop": "DROP TABLE people",
    "drop a view": "DROP VIEW adults",
    "drop an index": "DROP INDEX by_name",
    "create": "CREATE TABLE loot (x)",
    "create as": "CREATE TABLE loot AS SELECT * FROM people",
    "temporary table": "CREATE TEMP TABLE loot AS SELECT * FROM people",
    "temporary view": "CREATE TEMP VIEW loot AS SELECT * FROM people",
    "view": "CREATE VIEW loot AS SELECT * FROM people",
    "index": "CREATE INDEX slow ON people(age)",
    "trigger": "CREATE TRIGGER t AFTER INSERT ON people BEGIN DELETE FROM people; END",
    "temporary trigger": "CREATE TEMP TRIGGER t AFTER DELETE ON people BEGIN SELECT 1; END",
    "alter": "ALTER TABLE people ADD COLUMN loot",
    "rename": "ALTER TABLE people RENAME TO loot",
    "rename a column": "ALTER TABLE people RENAME COLUMN name TO loot",
    "write the schema": "UPDATE sqlite_master SET sql = 'CREATE TABLE people (x)'",
    "write the sequence": "UPDATE sqlite_sequence SET seq = 0",
    "begin": "BEGIN", "begin exclusive": "BEGIN EXCLUSIVE", "commit": "COMMIT", "rollback": "ROLLBACK",
    "savepoint": "SAVEPOINT s", "release": "RELEASE s",
    "reindex": "REINDEX", "analyze": "ANALYZE",
    "full-text table": "CREATE VIRTUAL TABLE f USING fts5(x)",
    "old full-text table": "CREATE VIRTUAL TABLE f USING fts4(x, content='people')",
    "r-tree": "CREATE VIRTUAL TABLE r USING rtree(id, a, b)",
    "a table of a csv file": "CREATE VIRTUAL TABLE c USING csv(filename='OUTSIDE')",
}  # fmt: skip
SETTINGS = {
    "journal": "PRAGMA journal_mode = WAL", "write after all": "PRAGMA query_only = OFF",
    "writable schema": "PRAGMA writable_schema = ON", "user version": "PRAGMA user_version = 7",
    "application id": "PRAGMA application_id = 7", "encoding": "PRAGMA encoding = 'UTF-16'",
    "cache": "PRAGMA cache_size = 1000000000", "heap": "PRAGMA hard_heap_limit = 0",
    "temp folder": "PRAGMA temp_store_directory = '/tmp'", "temp files": "PRAGMA temp_store = FILE",
    "data folder": "PRAGMA data_store_directory = '/tmp'", "map": "PRAGMA mmap_size = 1000000000",
    "vacuum by itself": "PRAGMA auto_vacuum = 1", "checkpoint": "PRAGMA wal_checkpoint(TRUNCATE)",
    "trust": "PRAGMA trusted_schema = ON", "like": "PRAGMA case_sensitive_like = ON", "optimize": "PRAGMA optimize",
    "read a setting": "PRAGMA table_info(people)", "files": "PRAGMA database_list",
    "integrity": "PRAGMA integrity_check", "explain": "EXPLAIN SELECT 1", "plan": "EXPLAIN QUERY PLAN SELECT 1",
}  # fmt: skip
OUT = {
    "attach": "ATTACH DATABASE 'OUTSIDE' AS o", "attach a new file": "ATTACH 'OUTSIDE2' AS o",
    "attach memory": "ATTACH ':memory:' AS o", "attach writable": "ATTACH 'file:OUTSIDE?mode=rwc' AS o",
    "detach": "DETACH main", "vacuum": "VACUUM", "vacuum into": "VACUUM INTO 'OUTSIDE2'",
}  # fmt: skip
SHAPES = {
    "nothing": "", "spaces": "  \n\t ", "a comment": "-- SELECT 1", "an open comment": "/* SELECT 1",
    "a shell's command": ".shell id", "another one": ".read OUTSIDE", "no SQL": "please give me the names",
    "a byte order mark": "\ufeffDROP TABLE people", "hidden by a comment": "/* SELECT */ DELETE FROM people",
    "hidden by a line": "-- SELECT\nDELETE FROM people", "a NUL": "SELECT 1\0; DROP TABLE people",
    "UTF-16": "SELECT 1".encode("utf-16-le").decode("latin-1"), "half a letter": "SELECT '\ud800'",
    "full-width": "\uff33\uff25\uff2c\uff25\uff23\uff34 1", "many comments": "/* */ " * 3000 + "DROP TABLE people",
}  # fmt: skip
FIRST_WALL = {**WRITING, **SETTINGS, **OUT, **SHAPES}

FUNCTIONS = {
    "load_extension": "load_extension('OUTSIDE')", "load an entry": "load_extension('OUTSIDE', 'init')",
    "readfile": "readfile('OUTSIDE')", "writefile": "writefile('OUTSIDE2', 'x')", "edit": "edit('x', 'vi')",
    "randomblob": "randomblob(1000000000)", "zeroblob": "zeroblob(1000000000)", "random": "random()",
    "printf": "printf('%1000000000d', 1)", "format": "format('%.*c', 1000000000, 'x')", "quote": "quote(name)",
    "hex": "hex(name)", "char": "char(1, 2)", "tokenizer": "fts3_tokenizer('simple')", "soundex": "soundex(name)",
    "tokenizer set": "fts3_tokenizer('x', x'4141414141414141')", "last rowid": "last_insert_rowid()",
    "changes": "changes()", "version": "sqlite_version()", "source": "sqlite_source_id()",
    "options": "sqlite_compileoption_get(1)", "log": "sqlite_log(1, 'x')", "offset": "sqlite_offset(name)",
    "json": "json_group_array(name)", "json text": "json_extract('{}', '$')", "unlikely": "unlikely(1)",
    "match": "match('a', name)", "rtree check": "rtreecheck('people')", "no such": "eval('DROP TABLE people')",
}  # fmt: skip
TABLES = {
    "pragma as a table": "SELECT * FROM pragma_database_list",
    "with an argument": "SELECT * FROM pragma_table_info('people')",
    "its count": "SELECT count(*) FROM pragma_function_list", "pages": "SELECT * FROM sqlite_dbpage",
    "page statistics": "SELECT * FROM dbstat", "its count, too": "SELECT count(*) FROM dbstat",
    "statements": "SELECT * FROM sqlite_stmt", "temporary schema": "SELECT * FROM sqlite_temp_master",
    "its other name": "SELECT count(*) FROM temp.sqlite_temp_schema", "json": "SELECT * FROM json_each('[1, 2]')",
    "json tree": "SELECT count(*) FROM json_tree('[1]')", "tokens": "SELECT * FROM fts3tokenize('simple', 'x')",
    "bytecode": "SELECT * FROM bytecode('SELECT 1')", "another database": "SELECT * FROM o.people",
    "a virtual table": "SELECT * FROM notes", "its count, three": "SELECT count(*) FROM notes",
    "a view of a bad function": "SELECT * FROM trap", "a file as a table": "SELECT * FROM 'OUTSIDE'",
    "series": "SELECT * FROM generate_series(1, 1000000000)",
    "in a subquery": "SELECT 1 WHERE 1 IN (SELECT 1 FROM dbstat)",
    "in a WITH": "WITH a AS (SELECT * FROM pragma_database_list) SELECT count(*) FROM a",
}  # fmt: skip
SEVERAL = {
    "two": "SELECT 1; SELECT 2", "a write behind": "SELECT 1; DROP TABLE people",
    "a write behind a comment": "SELECT 1; -- \nDELETE FROM people",
    "an attach behind": "SELECT 1;ATTACH 'OUTSIDE' AS o",
}  # fmt: skip
_ENDLESS = "WITH RECURSIVE a(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM a)"
_DOUBLING = ", ".join(
    f"t{after} AS (SELECT a.x FROM t{before} a, t{before} b)" for before, after in pairwise(range(40))
)
_CROSS = ", ".join(f"people p{i}" for i in range(30))
BOMBS = {
    "endless count": f"{_ENDLESS} SELECT count(*) FROM a",
    "endless rows": f"{_ENDLESS} SELECT x FROM a",
    "endless without a step": "WITH RECURSIVE a(x) AS (SELECT 1 UNION ALL SELECT x FROM a) SELECT sum(x) FROM a",
    "endless by ORDER BY": f"{_ENDLESS} SELECT x FROM a ORDER BY -x",
    "endless twice": f"{_ENDLESS} SELECT count(*) FROM a, a AS b",
    "doubling a text": "WITH RECURSIVE a(x) AS (SELECT 'ab' UNION ALL SELECT x || x FROM a) SELECT length(x) FROM a",
    "doubling by replace": "WITH RECURSIVE a(x) AS (SELECT 'aa' UNION ALL SELECT replace(x, 'a', 'aa') FROM a) "
    "SELECT length(x) FROM a",
    "a long group": f"{_ENDLESS} SELECT group_concat(x) FROM (SELECT x FROM a LIMIT 300000)",
    "many long texts": "WITH RECURSIVE a(x, y) AS (SELECT 1, 'ab' UNION ALL SELECT x + 1, substr(y || y, 1, 90000) "
    "FROM a) SELECT x, y FROM a ORDER BY y, x",
    "many long texts, distinct": "WITH RECURSIVE a(x, y) AS (SELECT 1, 'ab' UNION ALL SELECT x + 1, "
    "substr(y || x || y, 1, 90000) FROM a) SELECT count(DISTINCT y) FROM a",
    "every with every": f"SELECT count(*) FROM {_CROSS}",
    "every with every, sorted": f"SELECT 1 FROM {_CROSS} ORDER BY p1.age + p2.age + p3.age",
    "tables that double": f"WITH t0 AS (SELECT 1 AS x), {_DOUBLING} SELECT count(*) FROM t39",
    "columns that double": "WITH " + ", ".join(
        [f"t0 AS (SELECT {', '.join('1' for _ in range(150))})", "t1 AS (SELECT * FROM t0, t0 AS b)"]
    ) + " SELECT * FROM t1",
    "deep brackets": "SELECT " + "(" * 5000 + "1" + ")" * 5000,
    "deep subqueries": "SELECT " + "(SELECT " * 900 + "1" + ")" * 900,
    "deep NOT": "SELECT " + "NOT " * 5000 + "1",
    "a long sum": "SELECT " + "+".join(["1"] * 20_000),
    "many unions": " UNION ALL ".join(["SELECT 1"] * 5000),
    "many columns": "SELECT " + ", ".join(["1"] * 5000),
    "many arguments": "SELECT max(" + ", ".join(["1"] * 5000) + ")",
    "many rows": "VALUES " + ", ".join(["(1)"] * 20_000),
    "a long pattern": f"SELECT name LIKE '{'%a' * 5000}' FROM people",
    "a long glob": f"SELECT name GLOB '{'*a' * 5000}' FROM people",
    "a long statement": "SELECT '" + "x" * 200_000 + "'",
    "windows": f"{_ENDLESS} SELECT sum(x) OVER (ORDER BY x ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) "
    "FROM (SELECT x FROM a LIMIT 100000)",
    "a parameter": "SELECT ?", "many parameters": "SELECT ?9999",
}  # fmt: skip
# These are queries as any other: what they give.
HARMLESS = {
    "a keyword in a text": ("SELECT 'DROP TABLE people; ATTACH'", [("DROP TABLE people; ATTACH",)]),
    "a comment before": ("/* DELETE */ -- INSERT\n SELECT 1", [(1,)]),
    "a comment within": ("SELECT /* ; DROP TABLE people */ 1;", [(1,)]),
    "values": ("VALUES (1, 'a'), (2, NULL)", [(1, "a"), (2, None)]),
    "WITH": ("WITH a AS (SELECT 1 AS x) SELECT count(*) FROM a", [(1,)]),
    "a short recursion": (
        "WITH RECURSIVE a(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM a WHERE x < 3) SELECT x FROM a",
        [(1,), (2,), (3,)],
    ),
    "a view": ("SELECT name FROM adults ORDER BY name", [("Ann",), ("서연",)]),
    "Korean": ("SELECT upper(name) FROM people WHERE name = '서연'", [("서연",)]),
    "bytes": ("SELECT x'00ff', length(x'00')", [(b"\x00\xff", 1)]),
    "numbers": ("SELECT 9223372036854775807, 0.5, 9e999, NULL", [(2**63 - 1, 0.5, float("inf"), None)]),
    "a text that is not UTF-8": ("SELECT CAST(x'ff' AS TEXT)", [("\ufffd",)]),
    "a window": ("SELECT row_number() OVER (ORDER BY age) FROM people WHERE age IS NOT NULL", [(1,), (2,), (3,)]),
    "the schema": ("SELECT name FROM sqlite_master WHERE name = 'people'", [("people",)]),
    "injection in a text": ("SELECT name FROM people WHERE name = '''; DROP TABLE people; --'", []),
}  # fmt: skip
