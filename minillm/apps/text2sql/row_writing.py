"""Training rows that a chat model writes: it reads a DDL, and replies with questions and their queries.

    chat.chat(request_of(ddl, 2))         Q: 도시가 서울인 직원은 몇 명인가요?
                                          SQL: SELECT COUNT(*) FROM staff WHERE town = '서울'
                                          Q: What is the average wage for each town?
                                          SQL: SELECT town, AVG(wage) FROM staff GRO

A reply that ends at max_tokens breaks off in its last row, and what is left of that may still run. Only the reply's
finish_reason tells, so `written_rows` leaves that row out. Whether the other rows are good, row_filters.py finds out as
far as it can.
Book: 6.1.3 합성 데이터 활용. Paper: Wang et al. 2023 (Self-Instruct). Left out: replies in JSON.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from minillm._checks import check_int, check_text
from minillm.data.sql_prompts import sql_in, sql_prompt
from minillm.inference.chat import ChatModel

REQUEST = (
    "Write {n} questions that people would ask this database, half of them in Korean, with one SQLite query each. Use "
    "the tables and columns of the DDL only, spelled as they stand there. Ask different things: conditions, counts, "
    "averages, groups, the first few by some order. Two lines for each, and nothing else:\n"
    "Q: the question\nSQL: its query, in one line\n\nDDL:\n{ddl}"
)
MOST_ROWS = 100
_LINE = re.compile(r"[\s\d.)*#-]{0,10}(Q|SQL)\**:\**(.*)")


class WrittenRow(NamedTuple):
    """A question, and the query that the model says answers it."""

    question: str
    sql: str


def request_of(ddl: str, n: int) -> list[dict[str, str]]:
    """The messages that ask for n rows to the tables of a DDL."""
    check_text("ddl", ddl), check_int("n", n, 1, MOST_ROWS)
    return [{"role": "user", "content": REQUEST.format(n=n, ddl=ddl)}]


def rows_in(reply: str) -> list[WrittenRow]:
    """The rows in the text of a reply, complete or not; a question without a line SQL: behind it is none."""
    check_text("reply", reply)
    rows: list[WrittenRow] = []
    question, query = "", None
    for line in [*reply.splitlines(), "Q:"]:  # the last one ends the last row
        found = _LINE.match(line)
        kind, rest = found.groups() if found else ("", line)
        if kind == "Q":
            if question and query is not None:
                rows.append(WrittenRow(question, sql_in("\n".join(query))))
            question, query = rest.strip(), None
        elif kind == "SQL":
            query = [rest]
        elif query is not None:  # a query of several lines
            query.append(rest)
    return rows


def written_rows(chat: ChatModel, ddl: str, n: int, params: Any = None) -> list[WrittenRow]:
    """Rows to the tables of a DDL, about n of them; not the last one of a reply that was cut off."""
    reply = chat.chat(request_of(ddl, n), params)
    rows = rows_in(reply.text)
    return rows[:-1] if reply.finish_reason == "length" else rows


def second_query(chat: ChatModel, ddl: str, question: str, params: Any = None) -> str:
    """What a model writes that is given the question alone: held against the query of the row."""
    messages = [{"role": "user", "content": sql_prompt(ddl, question)}]
    return sql_in(chat.chat(messages, params).text)
