"""What published emotion-AU tables are worth on human codes: measured properties of the method, not of our code.

    python benchmarks/coannotation.py FILE.csv

FILE.csv: one row per face with the columns `subject`, `emotion` and `AU1` ... `AU27` (0/1), coded by people. First
the reader `table` takes it in, as labels without pictures, and `affect relate` prints what it finds beside du2014.
Then each side is derived from the other by the same functions that `affect co-annotate` runs, with the other side
hidden: AUs from the emotion (precision, recall), the emotion from AUs (accuracy, coverage), soft targets over
temperatures.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from affectdata.labels.coannotation import (
    BASIC,
    SOFT_CLASSES,
    Cells,
    Rule,
    entropy,
    implied_emotions,
    listed_aus,
    soft_emotions,
)
from affectdata.labels.relatedness import TABLES, relatedness
from cli.errors import run as affect
from manifests.vocabulary import AU_SPACES, AUS, EXPRESSION

TEMPERATURES = (1.0, 0.5, 0.2, 0.1, 0.05)

MAP = """
file = "{file}"
[samples]
subject = "subject"
[labels.human]
unit = "sequence"
expression = "emotion"
au = "AU*"
"""
"""How the reader `table` reads the file: no picture, so every row is a label alone."""

LEAST = 20
"""Rows of an emotion from which `affect relate` prints it: the file has 25 of fear."""


def relate(file: Path) -> None:
    """Print P(AU | emotion) beside du2014, by the commands that a user would give."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        shutil.copy(file, folder / "data" / file.name)
        (folder / "map.toml").write_text(MAP.format(file=file.name), encoding="utf-8")
        lake = ["--lake", str(folder / "lake")]
        ingest = ["ingest", "table", str(folder / "data"), "--map", str(folder / "map.toml"), "--name", "facs"]
        for command in (ingest, ["relate", "--from", "facs", "--beside", "du2014", "--min-count", str(LEAST)]):
            print(f"$ affect {' '.join(command).replace(str(folder), 'DIR')}", flush=True)
            if affect([*lake, *command]):
                sys.exit(1)


def read(file: Path) -> tuple[np.ndarray, Cells]:
    """Positions in `BASIC` (-1: another class) and AU cells of every row."""
    table = pd.read_csv(file)
    names = [EXPRESSION.canonical(name) for name in table["emotion"]]
    cells = np.full((len(table), len(AUS)), -1, np.int8)
    for au in AUS:
        if f"AU{au}" in table:
            cells[:, au - 1] = table[f"AU{au}"].fillna(-1)  # not coded is not absent
    return np.array([BASIC.index(name) if name in BASIC else -1 for name in names]), cells


def aus_from_emotions(rule: Rule, emotion: np.ndarray, cells: Cells) -> Iterator[str]:
    """Precision of every AU that the table makes positive, and recall among faces of the six emotions."""
    hidden = np.full_like(cells, -1)
    if rule.jaw == "26":
        hidden[:, 26] = cells[:, 26]  # AU27 is what the rule asks for
    weights = listed_aus(rule, emotion, BASIC, hidden)
    coded = (cells >= 0) & (emotion >= 0)[:, None]
    present = cells == 1
    if rule.jaw == "26or27":
        present[:, 25] |= cells[:, 26] == 1
    yield from precisions(weights, present, coded)
    # As training sees it: a weight scales the loss of a positive, a fraction is the probability to learn.
    listed = (weights > 0) & coded
    error = np.abs(np.where(listed, weights, 0) - present)[listed].mean()
    ones = 1 - present[listed].mean()
    yield f"  mean |target - code| of listed cells: weight (y = 1) {ones:.3f}, fraction {error:.3f}"
    for au in AUS:
        mine = slice(au - 1, au)
        if listed[:, mine].any():
            positives = int((present & coded)[:, mine].sum())
            recall = f"{(listed & present)[:, mine].sum() / positives:.2f}" if positives else "-"
            each = [" ".join(line.split()) for line in precisions(weights[:, mine], present[:, mine], coded[:, mine])]
            yield f"    AU{au:<2} recall {recall}  {'; '.join(each)}"


def precisions(weights: np.ndarray, present: np.ndarray, coded: np.ndarray) -> Iterator[str]:
    """Share of prototypical, and of observational, positives that people coded too; a line each, if any is said."""
    for kind, said in (("prototypical", weights == 1), ("observational", (weights > 0) & (weights < 1))):
        right, all_said = int((said & present & coded).sum()), int((said & coded).sum())
        if all_said:
            yield f"  {kind:13} precision {right / all_said:.3f} ({right:,} of {all_said:,})"


def without_au27(rule: Rule, emotion: np.ndarray, cells: Cells) -> Iterator[str]:
    """The same where AU27 is not coded, so that AU26 is said of every face of its emotions."""
    yield "  where AU27 were not coded:"
    weights = listed_aus(rule, emotion, BASIC, np.full_like(cells, -1))
    yield from precisions(weights, cells == 1, (cells >= 0) & (emotion >= 0)[:, None])


def emotions_from_aus(rule: Rule, emotion: np.ndarray, cells: Cells) -> str:
    """Accuracy and coverage of the emotion that complete AU lists imply."""
    found = implied_emotions(rule, cells)
    said = found >= 0
    right = int((found[said] == emotion[said]).sum())
    accuracy = f"{right / said.sum():.3f}" if said.any() else "-"
    return f"accuracy {accuracy}, coverage {said.mean():.3f} ({right} right of {said.sum()} said of {len(said)})"


def soft_sweep(table: str, emotion: np.ndarray, cells: Cells) -> Iterator[str]:
    """Arg-max accuracy over the six emotions, entropy and mean largest target at each temperature."""
    for temperature in TEMPERATURES:
        rule = Rule(relatedness(table), AU_SPACES["fbn17"], temperature=temperature)
        probs = soft_emotions(rule, cells)
        six = emotion >= 0
        right = np.array(SOFT_CLASSES)[probs.argmax(1)] == np.array([*BASIC, "contempt"])[emotion]
        yield (
            f"  T {temperature:<5g} arg-max accuracy {right[six].mean():.3f}  entropy {entropy(probs):.3f} of "
            f"{np.log(len(SOFT_CLASSES)):.3f}  mean largest target {probs.max(1).mean():.3f}"
        )


def main() -> None:
    """Measure every table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    file = parser.parse_args().file
    relate(file)
    emotion, cells = read(file)
    print(f"{len(cells)} faces, {(emotion >= 0).sum()} of the six basic emotions")
    for name in TABLES:
        for jaw in ("26", "26or27"):
            rule = Rule(relatedness(name), AU_SPACES["fbn17"], jaw=jaw)
            print(f"\n{name}, jaw {jaw}: AUs from the emotion")
            print("\n".join(aus_from_emotions(rule, emotion, cells)))
            if jaw == "26":
                print("\n".join(without_au27(rule, emotion, cells)))
            for require in ("all", "prototypical"):
                strict = Rule(rule.table, rule.space, rule.jaw, require)
                print(f"  emotion from AUs, {require}: {emotions_from_aus(strict, emotion, cells)}")
        print(f"{name}: soft targets\n" + "\n".join(soft_sweep(name, emotion, cells)))


if __name__ == "__main__":
    main()
