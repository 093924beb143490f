"""The page of a comparison."""

from __future__ import annotations

from trainer.reproduction import page
from trainer.reproduction.comparison import Comparison
from trainer.reproduction.study import load_study


def test_rows_that_differ_from_the_paper_alike_share_a_line_and_others_do_not() -> None:
    long = "x" * 100
    own = {
        "laf": {"train.lr": (0.01, 0.1), "input.mean": ("a", long + "1")},
        "tucker": {"input.mean": ("a", long + "1"), "train.lr": (0.01, 0.1)},
        "tt": {"train.lr": (0.01, 0.1), "input.mean": ("a", long + "2")},  # differs in what is cut off
    }
    study = load_study("tracenorm", "synthetic")
    labels = {row.name: row.label for row in study.rows}
    text = list(page.lines(Comparison(study, (), (1,), {}, {}, own, ())))
    told = [
        line.strip().partition(": train.lr")[0].partition(": input.mean")[0] for line in text if "0.01 -> 0.1" in line
    ]
    assert told == [f"{labels['laf']}; {labels['tucker']}", labels["tt"]]
