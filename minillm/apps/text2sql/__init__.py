"""Questions to a database: is a written query right, and what does it find?"""

from minillm.apps.text2sql.clauses import read_sql
from minillm.apps.text2sql.exact import differing_clauses, exact_match_sql
from minillm.apps.text2sql.execution import Execution, compare_execution, execution_match, same_rows
from minillm.apps.text2sql.words import orders, tokens_of
from minillm.sandbox import SQLProcess, SQLSandbox, run_python

__all__ = [
    "Execution",
    "SQLProcess",
    "SQLSandbox",
    "compare_execution",
    "differing_clauses",
    "exact_match_sql",
    "execution_match",
    "orders",
    "read_sql",
    "run_python",
    "same_rows",
    "tokens_of",
]
