"""The parts of a recipe. Every field, its unit and its default are written here and nowhere else."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(gt=0, le=1e6)]


class Part(BaseModel):
    """Base of every part of a recipe: frozen, and a field it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Augment(Part):
    """Random changes of training pictures, drawn from (seed, epoch, sample_id) alone. All off by default."""

    flip: bool = False
    """Mirror half of the pictures; landmarks and directional AUs follow."""
    pad: int = Field(default=0, ge=0)
    """Pixels of black around the picture, out of which its own size is cut at random (SJMT: 4)."""
    moved: Fraction = 1.0
    """Share of pictures that shift, rotate and scale."""
    shift: float = Field(default=0.0, ge=0, le=0.5)
    """Largest shift, as a share of the side; new border is black."""
    rotate: float = Field(default=0.0, ge=0, le=180)
    """Largest rotation, degrees, either way."""
    scale: float = Field(default=0.0, ge=0, lt=1)
    """Largest change of size: 0.1 draws from 0.9 to 1.1."""
    brightness: float = Field(default=0.0, ge=0, le=1)
    """Largest change of brightness, as a share of the range."""
    contrast: float = Field(default=0.0, ge=0, lt=1)
    """Largest change of contrast about the picture's mean: 0.2 draws factors from 0.8 to 1.2."""
    noise: float = Field(default=0.0, ge=0, le=1)
    """Deviation of Gaussian noise per pixel and channel, as a share of the range."""
    erase: Fraction = 0.0
    """Share of pictures in which one rectangle (2-20 % of the area) is replaced by the mean."""


class DatasetChoice(Part):
    """One dataset of the lake that takes part."""

    name: str
    """Name of the dataset in the lake."""
    where: str | None = None
    """SQL condition over manifest columns; only training rows that meet it are used. Scored rows are never thinned."""
    every: int = Field(default=1, ge=1)
    """Train on every n-th row in sample_id order (1: all). For video frames."""
    sources: tuple[str, ...] | None = None
    """Label sources of its training, first wins, where they differ from the recipe's."""
    only: str | None = None
    """Selection layer: only its samples train."""
    exclude: str | None = None
    """Selection layer: its samples do not train."""
    protocol: str | None = None
    """Protocol of this dataset where it differs from the recipe's."""
    alignment: str | None = None
    """Crops of this dataset where they differ from the recipe's; of the same size."""
    augment: Augment | None = None
    """Augmentation of this dataset where it differs from the recipe's."""


class ProtocolChoice(Part):
    """Who trains, who selects, who is scored."""

    name: str = "official"
    """Protocol layer of every dataset."""
    fold: int | None = Field(default=None, ge=0)
    """Fold of a folded protocol; null: the protocol has none."""
    report: Literal["val", "test"] = "test"
    """The role that this experiment reports. It selects nothing."""


class Selection(Part):
    """Which epoch is kept."""

    role: Literal["train", "val", "test"] = "val"
    """Role whose samples choose the epoch, never the reported one; train: a share of the training samples."""
    share: float | None = Field(default=None, gt=0, lt=1)
    """With role train: the share held out, in whole clusters of samples that share a person, clip or picture."""
    metrics: tuple[str, ...] = Field(min_length=1)
    """Metrics that are added up (those where lower is better are subtracted), e.g. [uar, p_va, au_f1]; any by its name
    that the tasks give, also abaw2_expr or au_f1[disfa8]."""

    @field_validator("metrics", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _share_of_train(self) -> Selection:
        if (self.role == "train") != (self.share is not None):
            raise ValueError("`share` goes with role train, and role train needs a `share` such as 0.1")
        return self


class Sharing(Part):
    """How the tasks share a network."""

    scheme: str = "hard"
    """hard: one backbone, one linear head per task; separate: a backbone per task; further ones in trainer/networks."""
    options: dict[str, Any] = {}
    """Options of the scheme; see its file."""


class Coupling(Part):
    """A further loss, over all tasks of a batch or over the network itself."""

    name: str
    """Name of the coupling; see trainer/losses."""
    weight: Weight = 1.0
    """Weight of its loss in the sum."""
    from_epoch: int = Field(default=0, ge=0)
    """First epoch, from 0, in which it acts."""
    options: dict[str, Any] = {}
    """Options of the coupling; see its file."""


class Backbone(Part):
    """What turns a picture into features: any timm model, or a network of trainer/networks, by name."""

    name: str = "resnet18"
    """timm model name, or the name of a network of trainer/networks."""
    pretrained: bool | str = False
    """false: random start; true: timm's weights; text: a timm name with its tag, a local weights file, or
    hf:OWNER/NAME[@REVISION][:FILE] on the Hugging Face hub."""
    in_chans: Literal[1, 3] = 3
    """Channels of the input. Gray crops are repeated to 3; colour crops become luma for 1."""
    stem: Literal["imagenet", "half", "small"] = "imagenet"
    """How much the stem shrinks the picture: as published (a ResNet's by 4), half of that, or not at all."""
    kwargs: dict[str, Any] = {}
    """Further arguments of `timm.create_model`, or the options of a network of trainer/networks."""


class Start(Part):
    """The run whose weights training begins from: fine-tuning. Whatever it has seen counts as seen by this run."""

    run: str
    """Its name beside the new run, or its folder."""
    tasks: dict[str, str] = {}
    """Task of this recipe -> task of that run whose part of the network it takes over, where the names differ."""


class Input(Part):
    """Pixels (0-255) to network input: (pixel - mean) / std, the same for every channel unless lists are given."""

    per_image: bool = False
    """Each picture by its own mean and deviation over all pixels and channels instead of those below."""

    mean: tuple[float, ...] = (127.5,)
    """Per channel, or one for all; in pixel units 0-255."""
    std: tuple[Annotated[float, Field(gt=0)], ...] = (127.5,)
    """Per channel, or one for all; in pixel units 0-255."""

    @field_validator("mean", "std", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return (value,) if isinstance(value, int | float) else value


class Decay(Part):
    """How the schedules step, exponential and plateau lower the learning rate."""

    factor: float = Field(default=0.1, gt=0, lt=1)
    """What the learning rate is multiplied with at each decay."""
    every_steps: int | None = Field(default=None, ge=1)
    """Steps between decays."""
    every_epochs: float | None = Field(default=None, gt=0)
    """Epochs between decays."""
    at: tuple[Fraction, ...] = ()
    """Shares of the training at which it decays, e.g. [0.6, 0.85]; step only."""
    patience: int = Field(default=10, ge=1)
    """plateau: epochs without a better selection score until a decay."""


class Group(Part):
    """Parameters that are trained apart."""

    match: str
    """Pattern of parameter names: backbone.*, heads.au.*, couplings.<name>.*; the first group that matches takes it."""
    lr_scale: float = Field(default=1.0, gt=0)
    """Their share of the learning rate."""
    weight_decay: float | None = Field(default=None, ge=0)
    """Their weight decay; null: train.weight_decay."""


class Train(Part):
    """The optimisation."""

    epochs: int = Field(default=30, ge=1)
    """Passes over the training samples; each ends with a score of the selection samples."""
    steps: int | None = Field(default=None, ge=1)
    """Length in steps instead, rounded up to no epoch: the last one ends early."""
    epoch_share: float = Field(default=1.0, gt=0, le=1)
    """Share of its batches that an epoch uses, each time others (F3R's limited epochs: 0.25)."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after so many epochs without a better selection score; null: never."""
    max_minutes: float | None = Field(default=None, gt=0)
    """Stop cleanly after this time; the schedule then follows the clock wherever that is ahead of the steps."""
    batch: int = Field(default=64, ge=1)
    """Pictures per step, over all devices together."""
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    """adamw; adam, whose weight decay is added to the gradient; sgd with momentum."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Of sgd."""
    nesterov: bool = True
    """Nesterov's form of sgd's momentum."""
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    """Of adam and adamw."""
    eps: float = Field(default=1e-8, gt=0)
    """Of adam and adamw."""
    lr: float = Field(default=1e-3, gt=0)
    """Highest learning rate."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Weight decay; norms and biases are left out."""
    groups: tuple[Group, ...] = ()
    """Parameters with a learning rate or weight decay of their own."""
    schedule: Literal["cosine", "onecycle", "constant", "step", "exponential", "plateau"] = "cosine"
    """After the warm-up. cosine: to 0 along a half cosine; onecycle: linear; constant; the others follow decay."""
    decay: Decay = Decay()
    warmup: Fraction = 0.05
    """Share of the training during which the learning rate rises from 0 (onecycle: 0.3 is usual)."""
    clip: float | None = Field(default=None, gt=0)
    """Largest gradient norm."""
    ema: float = Field(default=0.0, ge=0, lt=1)
    """Decay of an exponential moving average of the weights that is scored and kept; 0: none. E.g. 0.999."""
    sampler: Literal["pooled", "class_balanced", "dataset_balanced", "quota", "aligned", "alternating"] = "pooled"
    """How batches are made up; see docs/recipes.md."""
    quota: dict[str, Annotated[int, Field(ge=1)]] = {}
    """quota: task or dataset -> its samples per batch. An epoch is one pass of the first; the others start over."""
    sets: tuple[str, ...] = ()
    """Tasks or datasets whose samples are the sets of aligned (default: every task) and alternating (every dataset)."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Arithmetic of the forward pass."""
    seed: int = Field(default=1, ge=0, lt=1 << 31)
    """Seed of the first weights, the order of samples and the augmentation."""
    augment: Augment = Augment()

    @model_validator(mode="after")
    def _quota_of_its_sampler(self) -> Train:
        if (self.sampler == "quota") != bool(self.quota):
            raise ValueError("sampler quota and the field `quota` go together, e.g. quota: {expression: 32, au: 32}")
        if self.sets and self.sampler not in ("aligned", "alternating"):
            raise ValueError("`sets` goes with sampler aligned or alternating")
        return self

    @model_validator(mode="after")
    def _one_decay(self) -> Train:
        d = self.decay
        given = [name for name in ("every_steps", "every_epochs", "at") if getattr(d, name)]
        allowed = {"step": 1, "exponential": 1}.get(self.schedule, 0)
        if len(given) != allowed or (self.schedule == "exponential" and d.at):
            wanted = {"step": "every_steps, every_epochs or at", "exponential": "every_steps or every_epochs"}
            raise ValueError(
                f"schedule {self.schedule} takes {wanted.get(self.schedule, 'no period')} under decay, "
                f"but found {', '.join(given) or 'none'}"
            )
        return self
