"""What a user may ask: exactly one SELECT over the views of a lake, or one expression over its columns.

The text is never searched with patterns. DuckDB's own parser gives the syntax tree, and only trees made of known
parts pass: since DuckDB 2.0 a SELECT may write, through `WITH x AS (COPY ... TO ...)`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

import duckdb

from manifests.errors import QueryError

_TABLE_FUNCTIONS = frozenset({"range", "generate_series", "unnest", "repeat"})
"""Functions in FROM that read no file, run no text and touch no memory but their own."""

_HARMLESS = frozenset({"random", "setseed", "uuid", "uuidv4", "uuidv7", "gen_random_uuid", "error"})
"""Functions that DuckDB marks as having side effects, none of which outlives the question."""

_QUERY_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE", "VALUES_NODE"})

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

ONE_SELECT = "exactly one SELECT over the views of the lake"


@dataclass(frozen=True)
class Select:
    """One SELECT that may run.

    `tables` are the views it names; `words` every name and text in it, lower case, or None where it also means
    columns that it does not name (`*`, `describe`, a row as a whole).
    """

    sql: str
    tables: frozenset[str]
    words: frozenset[str] | None


@dataclass(frozen=True)
class Where:
    """One expression that may filter rows. `columns` are the ones it names."""

    sql: str
    columns: frozenset[str]


def parse_select(text: str, views: Collection[str]) -> Select:
    """Check that a text is one SELECT that only reads the given views.

    Raises:
        QueryError: It is anything else; the message says what was found.
    """
    tree = _tree(text)
    aliases = _with_names(tree)
    tables = set()
    for part in _parts(tree):
        _check_part(part)
        if part.get("type") == "BASE_TABLE":
            tables.add(_table(part, {*views, *aliases}))
        if part.get("type") == "SHOW_REF" and "query" not in part:
            raise QueryError("this does not name a view", expected=f"describe <view>, one of {', '.join(views)}")
    return Select(text, frozenset(tables & set(views)), _words(tree))


def _with_names(tree: Any) -> set[str]:
    """Names that any WITH of the tree gives, lower case.

    They are gathered without their scopes, so that a name may also stand where its WITH does not reach. There it must
    mean nothing to DuckDB: no file (a path has a dot or a slash) and no table of its own catalogue.
    """
    names = {entry["key"] for part in _parts(tree) for entry in part.get("cte_map", {}).get("map", [])}
    for name in names:
        if not _PLAIN_NAME.fullmatch(name) or name.lower() in _catalogue():
            raise QueryError(
                f"WITH {name!r}",
                expected="a name of letters, digits and '_' that DuckDB does not use itself",
                then="choose another name",
            )
    return {name.lower() for name in names}


def _words(tree: Any) -> frozenset[str] | None:
    named, rows = set(), set()
    for part in _parts(tree):
        kind = part.get("type")
        if part.get("class") == "STAR" or kind == "SHOW_REF" or part.get("ref_type") == "NATURAL":
            return None
        if kind == "BASE_TABLE":
            rows |= {part["table_name"].lower(), part.get("alias", "").lower()}
        if part.get("class") == "COLUMN_REF" and len(part["column_names"]) == 1:
            named.add(part["column_names"][0].lower())
    return None if named & rows else frozenset(_texts(tree))


def _texts(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree.lower()
    for child in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from _texts(child)


def parse_where(text: str, columns: Collection[str]) -> Where:
    """Check that a text is one expression over the given columns, without subqueries or functions of many rows.

    Args:
        text: Such as `mask_va and subject_id <> 'S01'`.

    Raises:
        QueryError: It does not parse, is more than an expression, or names a column that there is not.
    """
    expected = "one expression over the columns, such as mask_va and split = 'train'"
    try:
        duckdb.SQLExpression(text)
    except duckdb.Error as error:
        raise QueryError(f"where: {text}", found=brief(error), expected=expected) from None
    # The line break ends a comment that would swallow the bracket.
    tree, frame = _tree(f"select 1 where ({text}\n)"), _tree("select 1 where (true\n)")
    condition = tree.pop("where_clause", None)
    frame.pop("where_clause")
    if condition is None or tree != frame:
        raise QueryError(f"where: {text}", expected=expected)
    named = set()
    for part in _parts(condition):
        _check_part(part)
        if part.get("class") in ("SUBQUERY", "STAR", "WINDOW", "PARAMETER", "LAMBDA"):
            raise QueryError(f"where: {text}", found=part["class"].lower(), expected=expected)
        if part.get("class") == "COLUMN_REF":
            named.add(known_column(".".join(part["column_names"]), columns))
    return Where(text, frozenset(named))


def known_column(name: str, columns: Collection[str]) -> str:
    """The column of that name, whatever its case.

    Raises:
        QueryError: There is none; the message names the nearest ones, as there are hundreds.
    """
    if name.lower() not in columns:
        raise QueryError(f"unknown column {name!r}{_hint(name, columns)}", then="affect sql 'describe manifest'")
    return name.lower()


def _hint(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name.lower(), sorted(known), n=3)
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def _tree(text: str) -> Any:
    """Syntax tree of the one SELECT in a text, without the positions of its parts."""
    try:
        statements = duckdb.extract_statements(text)
    except duckdb.Error as error:
        raise QueryError("SQL that does not parse", found=brief(error), expected=ONE_SELECT) from None
    kinds = [str(statement.type).rpartition(".")[2] for statement in statements]
    if kinds != ["SELECT"]:
        found = " and ".join(kinds) if len(kinds) < 4 else f"{len(kinds)} statements"
        raise QueryError("SQL that is not one SELECT", found=found or "nothing", expected=ONE_SELECT)
    with duckdb.connect(":memory:") as parser:
        row = parser.execute(
            "select json_serialize_sql(?::varchar, skip_null := true, skip_empty := true, skip_default := true)", [text]
        ).fetchall()[0]
    answer = json.loads(row[0])
    if answer["error"]:
        raise QueryError("SQL that is not one SELECT", found=answer["error_message"], expected=ONE_SELECT)
    return _without_positions(answer["statements"][0]["node"])


def _without_positions(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {k: _without_positions(v) for k, v in tree.items() if not k.startswith("query_location")}
    return [_without_positions(part) for part in tree] if isinstance(tree, list) else tree


def _parts(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object of a syntax tree, outermost first."""
    if isinstance(tree, dict):
        yield tree
    for child in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from _parts(child)


def _check_part(part: dict[str, Any]) -> None:
    kind = part.get("type", "")
    if isinstance(kind, str) and kind.endswith("_NODE") and kind not in _QUERY_NODES:
        raise QueryError("SQL that writes", found=kind.removesuffix("_QUERY_NODE"), expected=ONE_SELECT)
    if kind == "TABLE_FUNCTION":
        name = part["function"]["function_name"]
        if name.lower() not in _TABLE_FUNCTIONS:
            raise QueryError(f"{name}() may not be read from", expected="the views of the lake, which hold its files")
    if part.get("class") == "FUNCTION" and part["function_name"].lower() in _side_effects():
        raise QueryError(f"function {part['function_name']}() is not allowed here", expected="a function of values")


def _table(part: dict[str, Any], known: Collection[str]) -> str:
    path = part.get("qualified_name", {}).get("path") or [part["table_name"]]
    name = ".".join(path)
    if name.lower() not in known:
        raise QueryError(f"there is no view {name!r}{_hint(name, known)}", expected=", ".join(sorted(known)))
    return name.lower()


@cache
def _side_effects() -> frozenset[str]:
    """Scalar functions that do more than compute a value."""
    found = _ask("select function_name from duckdb_functions() where has_side_effects and function_type = 'scalar'")
    return found - _HARMLESS


@cache
def _catalogue() -> frozenset[str]:
    """Names that DuckDB itself gives a meaning in FROM, without schema or brackets, such as `sqlite_master`."""
    return _ask("select view_name from duckdb_views() where internal and schema_name <> 'information_schema'")


def _ask(question: str) -> frozenset[str]:
    """The names that an empty DuckDB answers, lower case."""
    with duckdb.connect(":memory:") as connection:
        return frozenset(name.lower() for (name,) in connection.execute(question).fetchall())


def brief(error: Exception) -> str:
    """What DuckDB says, in one or two lines: the message and its suggestion, without the quoted SQL."""
    lines = [line.strip() for line in str(error).splitlines()]
    for end in ("", "Traceback (most recent call last):"):
        lines = lines[: lines.index(end)] if end in lines else lines
    text = "; ".join(line for line in lines if line and not line.startswith("^"))
    return text if len(text) <= 400 else text[:400] + " ..."
