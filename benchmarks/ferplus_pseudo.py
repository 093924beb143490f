"""FER+ with the labels of most training pictures hidden: what a teacher's labels of them are worth.

    python benchmarks/ferplus_pseudo.py PATH --folder DIR [--seeds 1,12,123,1234,12345] [--epochs 6] [--workers 1]

PATH: FER+ as distributed. By the commands' own functions: ingest, align, hide the labels of 70 % of Train by groups of
identical pictures, train a teacher on the rest, pseudo-label, then students with and without its labels and on all
labels, each with the same number of steps. Epochs are chosen on a held-out part of Train by labels that are not hidden;
Valid is scored once, without pictures that are identical to one of Train. Runs are kept in DIR and not done again.
"""

from __future__ import annotations

from pathlib import Path

from hidden_labels import VISIBLE, Setting, parser, study

from affectdata.faces.align import AlignOptions, align
from affectdata.ingest import ingest
from manifests.lake import Lake
from trainer.recipe import Recipe, load


def recipe(epochs: int, width: int) -> Recipe:
    """The FER+ baseline cut to minutes: `width` channels in the first stage, the stem of ImageNet networks."""
    channels = [width * factor for factor in (1, 2, 4, 8)]
    return load("ferplus-baseline").replace(
        {
            "name": "ferplus-pseudo",
            "protocol.name": VISIBLE,
            "tasks.expression.soft": True,
            "backbone.stem": "imagenet",
            "backbone.kwargs": {"channels": channels},
            "train.epochs": epochs,
        }
    )


def main() -> None:
    """Run what is not done yet, and report."""
    options = parser(__doc__, epochs=6)
    options.add_argument("path", type=Path)
    asked = options.parse_args()
    truth = "derived-ferplus-majority"
    setting = Setting(asked.folder, "fer2013", truth, "ferplus", "duplicates", asked.hidden, ("expression",))
    lake = Lake(asked.folder / "lake", create=True)
    print(ingest(lake, "fer2013", asked.path).lines()[0], flush=True)
    print(align(lake, "fer2013", alignment="resize48", options=AlignOptions(gray=True)).lines()[0], flush=True)
    study(setting, recipe(asked.epochs, asked.width), "val", asked)


if __name__ == "__main__":
    main()
