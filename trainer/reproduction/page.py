"""A comparison as text for a terminal, as Markdown and as JSON."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

from trainer.metrics.result import Interval
from trainer.reproduction.comparison import Block, Cell, Changes, Comparison
from trainer.reproduction.order import Pair, Verdict
from trainer.reproduction.study import Study
from trainer.scores import finite

Lines = Iterator[str]


def lines(comparison: Comparison) -> Lines:
    """For people at a terminal: a block per metric, methods as rows, and under it where the order differs."""
    study = comparison.study
    yield f"{study.paper} on {study.data}: {study.title}"
    yield f"  {study.citation}"
    yield f"  data: {study.about}"
    for block in comparison.blocks:
        yield ""
        yield _heading(block)
        cells = _cells(comparison, block)
        widths = [max(len(row[n]) for row in cells) for n in range(len(cells[0]))]
        for row in cells:
            yield ("  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))).rstrip()
        for text in _orders(comparison, block):
            yield f"  {text}"
    yield ""
    yield from _reading(comparison)


def markdown(comparison: Comparison) -> str:
    """The same as a Markdown page."""
    study = comparison.study
    text = [f"# {study.paper} on {study.data}", "", f"{study.title}. {study.citation}", "", f"Data: {study.about}"]
    for block in comparison.blocks:
        header, *rows = _cells(comparison, block)
        text += ["", f"## {_heading(block)}", "", _pipes(header), _pipes(["---"] * len(header))]
        text += [_pipes(row) for row in rows]
        text += [""] + [f"- {line.strip()}" for line in _orders(comparison, block)]
    return "\n".join([*text, "", *(f"- {line.strip()}" for line in _reading(comparison))]) + "\n"


def to_json(comparison: Comparison) -> str:
    """Everything, NaN as null."""
    study = comparison.study
    tree = {
        "paper": study.paper,
        "data": study.data,
        "title": study.title,
        "citation": study.citation,
        "about": study.about,
        "seeds": list(comparison.seeds),
        "missing": {row: list(seeds) for row, seeds in comparison.missing.items()},
        "changed": _plain(comparison.changed),
        "changed_in": {row: _plain(changes) for row, changes in comparison.changed_in.items()},
        "notes": list(comparison.notes),
        "columns": [_block(comparison, block) for block in comparison.blocks],
    }
    return json.dumps(finite(tree), indent=1, ensure_ascii=False) + "\n"


def _plain(changes: Changes) -> dict[str, dict[str, object]]:
    return {name: {"paper": old, "here": new} for name, (old, new) in changes.items()}


def _block(comparison: Comparison, block: Block) -> dict[str, Any]:
    study = comparison.study
    rows = [
        {
            "row": row.name,
            "label": row.label,
            "table": row.table,
            "ours": None if (cell := block.cells.get(row.name)) is None else _cell(cell),
            "printed": {key: row.printed.get(key) for key in block.column.beside},
        }
        for row in study.rows
    ]
    orders = {
        key: [asdict(pair) | {"verdict": pair.verdict.value} for pair in found] for key, found in block.orders.items()
    }
    about = block.column.model_dump(mode="json") | {"lower_is_better": block.lower_is_better}
    return about | {"samples": block.samples, "unit_drawn": block.unit, "rows": rows, "orders": orders}


def _cell(cell: Cell) -> dict[str, object]:
    by_seed = {str(seed): value for seed, value in cell.values.items()}
    return {"mean": cell.mean.value, "low": cell.mean.low, "high": cell.mean.high, "seeds": by_seed}


def _heading(block: Block) -> str:
    direction = "lower is better" if block.lower_is_better else "higher is better"
    scored = f", {block.samples:,} samples of {block.column.dataset}" if block.samples else ""
    return f"{block.column.title} ({block.column.metric}{scored}; {direction})"


def _cells(comparison: Comparison, block: Block) -> list[list[str]]:
    """Header and rows: method, ours, seeds, each printed column, and where it is printed."""
    study = comparison.study
    keys = block.column.beside
    heads = [f"printed {study.printed[key].title}{_unit(study.printed[key].unit)}" for key in keys]
    table = [["method", "ours [95 %]", "seeds", *heads, *(["in"] if keys else [])]]
    for row in study.rows:
        cell = block.cells.get(row.name)
        shown = [_printed(study, key, row.printed.get(key)) for key in keys]
        if cell is None and not any(shown):
            continue
        mine = ["-", ""] if cell is None else [_interval(cell.mean, block), str(len(cell.values))]
        where = [row.table if any(shown) else ""] if keys else []
        table.append([row.label, *mine, *(text or "-" for text in shown), *where])
    return table


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""


def _printed(study: Study, key: str, value: float | None) -> str:
    """A printed number with as many decimals as its column has."""
    if value is None:
        return ""
    decimals = max(len(repr(row.printed[key]).partition(".")[2]) for row in study.rows if key in row.printed)
    return f"{value:.{decimals}f}"


def _interval(found: Interval, block: Block, sign: str = "") -> str:
    digits = 2 if block.column.scale == 100 else 3
    if math.isnan(found.value):
        return "undefined"
    drawn = "" if math.isnan(found.low) else f" [{found.low:{sign}.{digits}f}, {found.high:{sign}.{digits}f}]"
    return f"{found.value:{sign}.{digits}f}{drawn}"


def _orders(comparison: Comparison, block: Block) -> Lines:
    """Per printed column: its order, how many pairs ours have the same way round, and those that are not."""
    study = comparison.study
    labels = {row.name: row.label for row in study.rows}
    defined = {row: cell.mean.value for row, cell in block.cells.items() if not math.isnan(cell.mean.value)}
    if len(defined) > 1:
        yield f"ours, best first: {_ranked(defined, labels, block)}"
    for key, found in block.orders.items():
        title = study.printed[key].title
        if not found:
            yield f"{title}: nothing to compare, fewer than two rows have both a run and a printed number"
            continue
        printed = {row.name: row.printed[key] for row in study.rows if key in row.printed and row.name in defined}
        counts = Counter(pair.verdict for pair in found)
        same = counts[Verdict.HOLDS] + counts[Verdict.LEANS]
        yield f"printed {title}: {_ranked(printed, labels, block)}"
        yield (
            f"  {same} of {len(found)} pairs are in the printed order, {counts[Verdict.HOLDS]} of them beyond their "
            f"interval; {counts[Verdict.REVERSED]} reversed beyond theirs"
        )
        for pair in found:
            if pair.verdict is Verdict.REVERSED:
                yield f"  ORDER DIFFERS: {_reversal(study, key, block, pair)}"
        away = [pair for pair in found if pair.verdict is Verdict.LEANS_AWAY]
        if away:
            words = {False: "over", True: "="}
            names = "; ".join(f"{labels[p.worse]} {words[p.gain.value == 0]} {labels[p.better]}" for p in away)
            yield f"  order differs, within the interval: {names}"


def _ranked(values: Mapping[str, float], labels: Mapping[str, str], block: Block) -> str:
    best = sorted(values, key=lambda row: values[row], reverse=not block.lower_is_better)
    text = labels[best[0]]
    for before, row in pairwise(best):
        text += f" {'=' if values[row] == values[before] else '>'} {labels[row]}"
    return text


def _reversal(study: Study, key: str, block: Block, pair: Pair) -> str:
    """Which of two methods ours have as better, by how much, and how the paper has them."""
    better, worse = study.row(pair.better), study.row(pair.worse)
    gain = replace(pair.gain, value=-pair.gain.value, low=-pair.gain.high, high=-pair.gain.low)
    said = f"{_printed(study, key, pair.printed[1])} and {_printed(study, key, pair.printed[0])}"
    return f"{worse.label} is better than {better.label} by {_interval(gain, block)}; printed {said}"


def _reading(comparison: Comparison) -> Lines:
    """How to read the numbers: seeds, intervals, what differs from the paper, what is missing."""
    study = comparison.study
    labels = {row.name: row.label for row in study.rows}
    seeds = ", ".join(map(str, comparison.seeds))
    drawn = next((b for b in comparison.blocks if b.cells), None)
    unit = "samples" if drawn is None else drawn.unit
    most = max((len(cell.values) for block in comparison.blocks for cell in block.cells.values()), default=0)
    several = "seeds and " if most > 1 else ""
    yield f"ours: mean over the seeds that are there, of {seeds}; in brackets 95 % over draws of {several}whole {unit}"
    yield "printed numbers are of the paper's own data and sizes: compare orders and signs, not values"
    if comparison.changed:
        yield f"differs from the paper's recipe in every run: {_words(comparison.changed)}"
    alike: dict[str, list[str]] = {}
    for row, changes in comparison.changed_in.items():
        alike.setdefault(repr(sorted(changes.items())), []).append(row)
    for rows in alike.values():
        yield f"  {'; '.join(labels[row] for row in rows)}: {_words(comparison.changed_in[rows[0]])}"
    if comparison.missing:
        yield "missing, no finished run: " + "; ".join(
            f"{labels[row]} (seed {', '.join(map(str, gone))})" for row, gone in comparison.missing.items()
        )
    yield from comparison.notes


def _words(changes: Changes) -> str:
    return "; ".join(f"{name} {_short(old)} -> {_short(new)}" for name, (old, new) in changes.items())


def _short(value: object) -> str:
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _pipes(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
