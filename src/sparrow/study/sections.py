"""Sections of the config that hold no entries of a room. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from sparrow.exchange import keymap_files
from sparrow.files import published_figures
from sparrow.settings import Norm, Radii, Radius, Settings, unique
from sparrow.stages.specs.quantise import MixedPrecision
from sparrow.study.entry_types import optional
from sparrow.training.additions import Distillation, StabilityLoss
from sparrow.training.schedule import Schedule

TrainingStage = Literal["pretrain", "prune", "finetune"]
TRAINING_STAGES: tuple[TrainingStage, ...] = ("pretrain", "prune", "finetune")


class FineTuning(Schedule):
    """The schedule of fine-tuning, and what it may learn from."""

    distillation: Distillation | None = None
    """Learn from the dense network instead of from the labels: `{teacher: dense, alpha: 1.0, temperature: 30}`; off if null."""


if TYPE_CHECKING:
    # Their fields are known at run time alone.
    SchedulePatch = Settings
    FineTuningPatch = Settings
    MethodSchedulePatch = Settings
else:
    # What batches are like is a matter of the network and of the machine.
    MethodSchedulePatch = optional(Schedule, "MethodSchedulePatch", {"batch_size", "precision", "channels_last", "cycles"})
    SchedulePatch = optional(Schedule, "SchedulePatch")
    FineTuningPatch = optional(FineTuning, "FineTuningPatch")


class TrainingPatch(Settings):
    """Changes to the study's schedules for one objective; the same for every method."""

    pretrain: SchedulePatch = Field(default_factory=SchedulePatch)
    """Changes to `training.pretrain`."""
    prune: SchedulePatch = Field(default_factory=SchedulePatch)
    """Changes to `training.prune`."""
    finetune: FineTuningPatch = Field(default_factory=FineTuningPatch)
    """Changes to `training.finetune`."""


class MethodTrainingPatch(Settings):
    """Changes to the schedules of one method's networks, for studies that repeat what was published.

    Methods are then no longer compared at the same budget. The dense network stays the same.
    """

    pretrain: MethodSchedulePatch = Field(default_factory=MethodSchedulePatch)
    """Changes to `training.pretrain`, for a method that prunes before or during training."""
    prune: MethodSchedulePatch = Field(default_factory=MethodSchedulePatch)
    """Changes to `training.prune`."""
    finetune: MethodSchedulePatch = Field(default_factory=MethodSchedulePatch)
    """Changes to `training.finetune`."""


class MethodOptions(Settings):
    """What every method may change of the study."""

    training: MethodTrainingPatch = Field(default_factory=MethodTrainingPatch)
    """Changes to `training` for this method, behind those of the objective."""


class OwnThreat(Settings):
    """The threat of one objective's networks."""

    norm: Norm | None = None
    """Norm of the perturbation; the study's if null."""
    eps: Radius
    """Radius of the perturbation in pixel units, images in [0, 1]: a number, or a fraction of integers such as 2/255."""


class ObjectiveOptions(Settings):
    """What every objective may change of the study."""

    training: TrainingPatch = Field(default_factory=TrainingPatch)
    """Changes to `training` for this objective."""
    threat: OwnThreat | None = None
    """The threat against which this objective's networks are trained and evaluated, if it is not the study's."""
    models: Annotated[list[str], Field(min_length=1), AfterValidator(unique)] | None = None
    """Train only these models, by label; all if null."""
    nrs: StabilityLoss | None = None
    """Penalise ReLUs that the adversary may switch, wherever this objective trains: `{weight: 0.01, gamma_power: 2}`; off if
    null."""


class Training(Settings):
    """Schedules of the three training stages."""

    pretrain: Schedule
    """Dense pre-training."""
    prune: Schedule
    """Search for masks; methods that do not train skip it, and those that move weights take over `finetune`'s optimiser
    and learning rate."""
    finetune: FineTuning
    """Fine-tuning under fixed masks: the same budget for every method."""


class Grafting(Schedule):
    """Lines in the place of unstable neurons of fine-tuned networks, and the schedule under which these then train on.

    The schedule's defaults are those of Chen et al., "Linearity Grafting", ICML 2022; it is the same for every objective.
    """

    share: float = Field(0.5, gt=0, le=1)
    """Most neurons that become lines, as a share of all that the network has. Those that are stable on all images stay."""
    slope: float = 0.4
    """Slope with which each line begins to learn."""
    intercept: float = 0.0
    """Its intercept."""
    lr_lines: float = Field(0.01, gt=0)
    """Initial learning rate of slopes and intercepts, which have no weight decay."""
    images: int = Field(1000, ge=1)
    """Neurons are chosen by this many training images (all, if there are fewer)."""
    memory_mb: int | None = Field(3000, ge=64)
    """Memory that the bounds by which they are chosen may take, in MiB; no limit but the machine's if null."""
    epochs: int = Field(100, ge=1)
    """Passes over the training images."""
    lr: float = Field(0.001, gt=0)
    """Initial learning rate of weights, biases and norms."""
    weight_decay: float = Field(5e-4, ge=0)
    """L2 penalty of the same."""

    @property
    def schedule(self) -> Schedule:
        """How the grafted network trains."""
        return Schedule(**self.model_dump(include=set(Schedule.model_fields)))


class Outputs(Settings):
    """The logits of every evaluated network on test images, as they are and under noise: a file beside each network's tables.

    Noise is uniform in a box around the image, cut off at black and white. It is the same for all networks: drawn anew for
    each image, from the data set's digest, the radius, the number of the draw and the image's index.
    """

    noise: Radii = None
    """Radius of the noise in pixel units (a number, or such as 8/255), or a list of them; images as they are alone if null."""
    draws: int = Field(4, ge=1)
    """How often noise is drawn for each image and radius."""
    samples: int | None = Field(None, ge=1)
    """Logits of this many test images, the same as of attacks with as many `samples`; of all if null."""
    batch_size: int = Field(512, ge=1)
    """Images per batch."""


class Variant(Settings):
    """A network with rounded weights, made from a checkpoint that is there, and maybe trained on under rounding.

    Each output channel of a convolution or linear layer has a grid of its own, with 0 on it, so that what is pruned stays
    pruned. Biases and norms stay as they are, and so do activations.
    """

    kind: Literal["quantise"] = "quantise"
    """What is made of the network: its weights are rounded."""
    bits: int = Field(8, ge=2, le=16)
    """Bits of a weight: it has 2^bits - 1 values, from -(2^(bits-1) - 1) to 2^(bits-1) - 1 times the channel's step."""
    mixed_precision: MixedPrecision | None = None
    """Choose the bits of each layer instead: `{average_bits: 4, candidates: [2, 4, 8]}`; the same for all if null."""
    epochs: int = Field(0, ge=0)
    """Passes over the training images under rounding, with masks held and `training.finetune`'s schedule for all else, but
    for its ramp, its cycles and its teacher; none if 0."""
    lr: float | None = Field(None, gt=0)
    """Initial learning rate of these passes; that of `training.finetune` if null."""

    @model_validator(mode="after")
    def _bits_said_once(self) -> Variant:
        if self.mixed_precision and "bits" in self.model_fields_set:
            raise ValueError(f"bits is {self.bits} beside mixed_precision, which chooses them; valid: one of both")
        return self

    @model_validator(mode="after")
    def _something_reads_lr(self) -> Variant:
        if self.lr is not None and not self.epochs:
            raise ValueError(f"lr is {self.lr:g}, but without epochs nothing trains; valid: epochs of 1 or more, or no lr")
        return self

    def schedule(self, finetuning: Schedule) -> Schedule | None:
        """How the network trains under rounding, where others fine-tune under `finetuning`; None if it does not."""
        if not self.epochs:
            return None
        own: dict[str, Any] = {"epochs": self.epochs, "warmup_epochs": 0.0, "ramp_epochs": 0.0, "cycles": 1}
        own |= {} if self.lr is None else {"lr": self.lr}
        return Schedule(**finetuning.model_dump(include=set(Schedule.model_fields)) | own)


def _figure_source(text: str) -> str:
    published_figures.sources_matching(text, published_figures.figures())
    return text


def _headline_source(text: str) -> str:
    published_figures.sources_matching(text, published_figures.headlines())
    return text


def _figure_dataset(kind: str) -> str:
    known = sorted({row["dataset_kind"] for row in published_figures.figures()})
    if kind not in known:
        raise ValueError(f"nothing is published here on {kind!r}; valid: {', '.join(known)}")
    return kind


def _arxiv_number(value: Any) -> Any:
    """YAML takes 1906.06110 for a number, and drops its last digit."""
    return f"{value:.5f}" if isinstance(value, float) else value


HeadlineSource = Annotated[
    str,
    BeforeValidator(_arxiv_number),
    AfterValidator(_headline_source),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "number"}]}),
]


class Published(Settings):
    """What others have published, set beside what this study measures."""

    sources: list[Annotated[str, AfterValidator(_figure_source)]] | None = Field(None, min_length=1)
    """Sources in reports/published.csv, each by any part of its name; all of them if null."""
    headline: HeadlineSource | None = None
    """A source in reports/published-headlines.csv, by any part of its name, whose averages this study's are set beside."""
    datasets: dict[str, Annotated[str, AfterValidator(_figure_dataset)]] = Field({})
    """Data sets of this study, by label, that stand in for a published one, by kind; the table says so."""

    @model_validator(mode="after")
    def _can_be_read(self) -> Published:
        published_figures.figures()
        return self


class Import(Settings):
    """A third party's network in the place of one that the study would make."""

    file: str = Field(min_length=1)
    """Its state dict: safetensors, or a file of torch.save's (.pth, .pt, .tar), of which nothing but tensors and plain values
    is read. Relative to the working directory."""
    map: str = keymap_files.OURS
    """Whose names its tensors have: `ours`, another key map that comes with Sparrow, or a YAML file with one."""
    key: str | None = None
    """Under which key of the file the state dict lies, if that is none of the usual ones."""
    granularity: Literal["weight", "filter"] = "weight"
    """What it lost: single weights, or whole filters with their bias and norm."""
    allow_ratio: bool = False
    """Take it even if its share of zeros is not the cell's pruning ratio."""
