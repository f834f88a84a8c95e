"""Questions to a database: rows to learn from, is a written query right, and what does it find?"""

from minillm.apps.text2sql.clauses import read_sql
from minillm.apps.text2sql.exact import differing_clauses, exact_match_sql
from minillm.apps.text2sql.execution import Execution, compare_execution, execution_match, same_rows
from minillm.apps.text2sql.nearest import nearest_query, slotted
from minillm.apps.text2sql.prompt_values import ddl_with_values, few_values
from minillm.apps.text2sql.row_filters import fault_of
from minillm.apps.text2sql.shapes import query_parts, sql_template
from minillm.apps.text2sql.words import orders, tokens_of
from minillm.sandbox import SQLProcess, SQLSandbox, run_python

__all__ = [
    "Execution",
    "SQLProcess",
    "SQLSandbox",
    "compare_execution",
    "ddl_with_values",
    "differing_clauses",
    "exact_match_sql",
    "execution_match",
    "fault_of",
    "few_values",
    "nearest_query",
    "orders",
    "query_parts",
    "read_sql",
    "run_python",
    "same_rows",
    "slotted",
    "sql_template",
    "tokens_of",
]
