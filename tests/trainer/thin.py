"""Every recipe with all its parts, thin enough to train in a second, and a lake that holds what they ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file

from affectdata.labels.coannotate import Settings, co_annotate
from affectdata.labels.coannotation import Rule
from affectdata.labels.relatedness import relatedness
from manifests.lake import Lake
from manifests.vocabulary import AU_SPACES, MENTAL_STATES, au_column
from trainer.recipe import Recipe, load

from .conftest import AUS, Toy

TEACHERS = ("va", "expr", "au")
DERIVED = ("co-du2014", *(f"teacher-f3r-teacher-{task}" for task in TEACHERS))
SMALL: dict[str, dict[str, Any]] = {
    "cifar_resnet": {"name": "cifar_resnet", "kwargs": {"depth": 8, "width": 2}},
    "vgg_face": {"name": "vgg_face", "kwargs": {"width": 2, "hidden": 8}},
    "feature_pyramid": {"name": "feature_pyramid", "kwargs": {"trunk": "test_resnet", "channels": 4}},
    "basedcnn": {
        "name": "basedcnn",
        "kwargs": {"channels": [2, 2, 3, 3, 4, 4], "hidden": {"expression": [6, 5], "landmarks": [6]}},
    },
}
"""What stands for a backbone here; for any other, timm's smallest ResNet."""
LAYERS = {6: 2, 14: 4, 26: 6, 32: 8}
"""Ends of ResNet-34's four layers -> those of the small one's."""
COMPOUND = (
    *("happily_surprised", "happily_disgusted", "sadly_angry", "sadly_disgusted"),
    *("angrily_disgusted", "angrily_surprised", "fearfully_angry"),
)
"""Compound expressions that are classes of every recipe with compounds."""
ROWS, STEPS = 48, 2
"""Training samples of each dataset of the lake, and about how many steps make an epoch."""
FACES = {"expression", "va", "mental_state", "landmarks"}
UNITS = {"au", "au_intensity", "compound", "landmarks"}
"""Tasks that people have labelled in the one dataset and in the other."""


def publish(lake: Lake) -> Lake:
    """Faces with classes, valence-arousal and points, others with AUs and points; rules and teachers fill the rest."""
    faces, units = Toy(count=72), Toy(count=72, seed=1)
    human = faces.labels["human"]
    human["mental_state"] = [MENTAL_STATES[int(code)] for code in faces.code]
    for dataset in (faces, units):
        for task, columns in zip(TEACHERS, (("valence", "arousal"), ("expression",), ("au",)), strict=True):
            said = {name: human[name] for name in human if name.startswith(columns) and name != "arousal"}
            dataset.labels[f"teacher-f3r-teacher-{task}"] = said | (
                {"arousal": human["arousal"]} if task == "va" else {}
            )
    units.labels["human"] = {name: human[name] for name in human if name.startswith("au")}
    units.labels["human"] |= {au_column(au, "intensity"): [float(c % 6) for c in units.code] for au in AUS}
    units.labels["human"] |= {"compound": [COMPOUND[int(code)] for code in units.code]}
    units.labels["human"] |= {"landmarks": human["landmarks"]}
    faces.labels["human"] = {name: human[name] for name in human if not name.startswith("au")}
    faces.labels["human"] |= {"arousal": human["arousal"]}
    faces.publish(lake, "faces")
    units.publish(lake, "units")
    settings = Settings(Rule(relatedness("du2014"), AU_SPACES["fbn17"]), sources=("human",))
    for name in ("faces", "units"):
        co_annotate(lake, name, settings)
    return lake


def trunk(folder: Path) -> str:
    """A file with pretrained weights of the trunk of a small pyramid."""
    torch.manual_seed(0)
    file = folder / "test_resnet.safetensors"
    save_file(timm.create_model("test_resnet", zero_init_last=False).state_dict(), file)
    return str(file)


def thin(name: str, pretrained: str = "", **changes: Any) -> Recipe:
    """The recipe on the lake of `publish`: two epochs of about two steps, a thin backbone.

    Args:
        name: Of a recipe of the package.
        pretrained: What the trunk of a pyramid starts from; empty: as it comes.
        changes: Further changes of its fields.
    """
    recipe = load(name)
    small = SMALL.get(recipe.backbone.name, {"name": "test_resnet", "stem": "half"})
    if pretrained and small["name"] == "feature_pyramid":
        small = small | {"kwargs": small["kwargs"] | {"pretrained": pretrained}}
    rows = ROWS * sum(bool(known.intersection(recipe.tasks.names)) for known in (FACES, UNITS))
    fields: dict[str, Any] = {
        "datasets": [{"name": "faces"}, {"name": "units"}],
        "alignment": "resize32",
        "sources": ["human", *(source for source in recipe.sources if source in DERIVED)],
        "protocol": {"name": "official"},
        "selection": {"metrics": recipe.selection.metrics},
        "backbone": small | {"in_chans": recipe.backbone.in_chans},
        "train.batch": int(rows * recipe.train.epoch_share / STEPS),
        "train.quota": dict.fromkeys(recipe.train.quota, 24),
        "train.steps": None,
        "train.epochs": 2,
        "train.max_minutes": None,
    }
    if recipe.sharing.scheme == "hps" and recipe.sharing.options.get("layers"):
        fields["sharing.options"] = {"layers": LAYERS[recipe.sharing.options["layers"]]}
    if "start" in Recipe.model_fields:
        fields["start"] = None  # what a run begins from is another promise
    return recipe.replace(fields | changes)
