"""The tasks of a recipe, each with its classes or outputs, its loss and their defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from manifests import vocabulary as voc
from trainer.settings import Part, Weight


class Task(Part):
    """What every task has."""

    weight: Weight = 1.0
    """Weight of this task's loss in the sum."""
    loss: str
    """Loss of the task; none: a coupling trains it."""
    options: dict[str, Any] = {}  # noqa: RUF012  # pydantic copies it
    """Options of the loss, e.g. {label_smoothing: 0.1}; see trainer/losses. class_weight and pos_weight: balanced."""


class ExpressionTask(Task):
    """Single-label classification over a class space."""

    space: Literal["expr7", "expr8-contempt", "expr8-other", "expr6", "expr7-contempt"] = "expr7"
    """Class space; a label outside it is unknown to this run. Without neutral: expr6, and expr7-contempt (CK+'s)."""
    loss: str = "ce"
    """ce: cross-entropy over the classes that the annotators were offered; with independent outputs: bce."""
    outputs: Literal["exclusive", "independent"] = "exclusive"
    """exclusive: one softmax; independent: a sigmoid per class, as SJMT has it. The highest is predicted either way."""
    soft: bool = False
    """Train on `expression_probs` where a source gives them, else on the class."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the head's outputs."""
        return voc.EXPRESSION_SPACES[self.space]


class CompoundTask(Task):
    """Single-label classification over compound expressions."""

    classes: tuple[str, ...] = voc.COMPOUNDS
    """The classes, or the name of a list: rafdb11, emotionet16, sjmt8, cexpr7; a label outside them is unknown to this
    run. Default: the 23 of Du et al. and EmotioNet, neutral."""
    loss: str = "ce"
    """ce: cross-entropy; with independent outputs: bce."""
    outputs: Literal["exclusive", "independent"] = "exclusive"
    """As for expression."""

    @field_validator("classes", mode="before")
    @classmethod
    def _named_classes(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value not in voc.COMPOUND_SPACES:
            raise ValueError(f"one of {', '.join(voc.COMPOUND_SPACES)}, or a list of classes")
        return voc.COMPOUND_SPACES[value]

    @field_validator("classes")
    @classmethod
    def _known_classes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _some_of(value, voc.COMPOUNDS)


class MentalStateTask(Task):
    """Single-label classification over mental states."""

    classes: tuple[str, ...] = voc.MENTAL_STATES
    """The classes; a label outside them is unknown to this run. Default: the 13 of LSEMSW."""
    loss: str = "ce"
    """ce: cross-entropy; with independent outputs: bce."""
    outputs: Literal["exclusive", "independent"] = "exclusive"
    """As for expression."""

    @field_validator("classes")
    @classmethod
    def _known_classes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _some_of(value, voc.MENTAL_STATES)


def _some_of(names: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    if len(names) < 2 or len(set(names)) < len(names) or not set(names) <= set(known):
        raise ValueError(f"two or more distinct of {', '.join(known)}")
    return names


class VaTask(Task):
    """Valence and arousal, both in -1..1."""

    loss: str = "ccc"
    """ccc: 1 - concordance correlation, mean of both axes; mse, l1: error per axis."""


class AuTask(Task):
    """Action units, each absent or present."""

    set: str = "fbn17"
    """Named AU set; see manifests.vocabulary.AU_SPACES."""
    loss: str = "bce"
    """bce: binary cross-entropy per labelled cell."""
    soft: bool = False
    """Train on the probability of an AU where a source gives one, else on absent or present."""
    cuts: dict[str, Annotated[float, Field(ge=0, le=5)]] = {}  # noqa: RUF012  # as above
    """Dataset -> intensity from which an AU counts as present, where it differs from the layer's own cut."""

    @field_validator("set")
    @classmethod
    def _known_set(cls, value: str) -> str:
        if value not in voc.AU_SPACES:
            raise ValueError(f"one of {', '.join(voc.AU_SPACES)}")
        return value

    @property
    def aus(self) -> tuple[int, ...]:
        """Numbers of the action units, in the order of the head's outputs."""
        return voc.AU_SPACES[self.set]


class AuIntensityTask(Task):
    """How strong action units are: 0 (absent) to 5 (FACS A-E as 1-5)."""

    set: str = "disfa12"
    """Named AU set; see manifests.vocabulary.AU_SPACES. Head positions have no intensity."""
    loss: str = "mse"
    """mse, l1: error per labelled cell; ccc: 1 - concordance correlation, mean over AUs."""

    @field_validator("set")
    @classmethod
    def _rated_set(cls, value: str) -> str:
        fitting = [name for name, aus in voc.AU_SPACES.items() if all(voc.AU_MIRROR[au] == au for au in aus)]
        if value not in fitting:
            raise ValueError(f"one of {', '.join(fitting)}")
        return value

    @property
    def aus(self) -> tuple[int, ...]:
        """Numbers of the action units, in the order of the head's outputs."""
        return voc.AU_SPACES[self.set]


class LandmarksTask(Task):
    """68 points in crop pixels."""

    loss: str = "l1"
    """l1, mse: error in pixels; wing: the wing loss of Feng et al. 2018."""
    whiten: bool = False
    """Compare coordinates less their training mean and over their training deviation (Hu et al. 2018), not in pixels;
    what is put out and scored are pixels all the same."""

    @model_validator(mode="after")
    def _wing_is_in_pixels(self) -> LandmarksTask:
        if self.whiten and self.loss == "wing":
            raise ValueError("the loss wing is made for errors in pixels: whiten: false, or loss: l1")
        return self


class Tasks(Part):
    """The tasks of the run, each with its head and its loss."""

    expression: ExpressionTask | None = None
    compound: CompoundTask | None = None
    mental_state: MentalStateTask | None = None
    va: VaTask | None = None
    au: AuTask | None = None
    au_intensity: AuIntensityTask | None = None
    landmarks: LandmarksTask | None = None

    @model_validator(mode="after")
    def _at_least_one(self) -> Tasks:
        if not self.names:
            raise ValueError(f"at least one of {', '.join(type(self).model_fields)}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tasks that are set, in fixed order."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) is not None)
