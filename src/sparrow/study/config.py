"""The study as one tree of pydantic models, put together from what each room declares. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, WithJsonSchema

from sparrow.files.paths import base_of, variant_of
from sparrow.settings import Ratios, Settings, Threat, unique
from sparrow.study.entry_types import entries, own_entries, require_entries
from sparrow.study.mistakes import FOLDER, LABEL
from sparrow.study.pipelines import PIPELINES
from sparrow.study.sections import (
    Grafting,
    Import,
    MethodOptions,
    ObjectiveOptions,
    Outputs,
    Published,
    Training,
    TrainingStage,
    Variant,
)
from sparrow.training.additions import Addition, Distillation
from sparrow.training.schedule import Schedule


def _whole(value: Any) -> Any:
    """`value`; of a text of digits, the number: Snakemake's `--config seeds=[0,1]` hands on lists of texts."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value


Seed = Annotated[int, Field(ge=0, strict=True), BeforeValidator(_whole)]
if TYPE_CHECKING:
    # What entries there are is known at run time alone.
    DataSets: TypeAlias = dict[str, Any]
    Models: TypeAlias = dict[str, Any]
    Objectives: TypeAlias = dict[str, Any]
    Methods: TypeAlias = dict[str, Any]
    Attacks: TypeAlias = dict[str, Any]
    Verifiers: TypeAlias = dict[str, Any]
    Analyses: TypeAlias = dict[str, Any]
else:
    require_entries()
    DataSets, Models, Objectives = entries("datasets"), entries("models"), entries("objectives", ObjectiveOptions)
    Methods, Attacks, Verifiers = entries("methods", MethodOptions), entries("attacks"), entries("verifiers")
    Analyses = entries("analyses")
STAGES = ("dense", "pruned", "finetuned", "grafted")
"""What may be evaluated, and may have variants."""


def _stage(name: str) -> str:
    if base_of(name) in STAGES and (variant_of(name) or name in STAGES):
        return name
    *others, last = map(repr, STAGES)
    valid = f"{', '.join(others)} or {last}, or one of these with a variant behind it, such as 'finetuned+int8'"
    raise ValueError(f"{name!r} is not valid: must be {valid}")


_OF_VARIANTS = {"type": "string", "pattern": rf"^({'|'.join(STAGES)})\+{LABEL.removeprefix('^')}"}
EvaluatedStage = Annotated[str, AfterValidator(_stage), WithJsonSchema({"anyOf": [{"enum": list(STAGES)}, _OF_VARIANTS]})]


class Study(Settings):
    """A whole study: every data set x model x objective x method x ratio x seed is one cell."""

    results: str = Field("results", pattern=FOLDER)
    """Folder for all results, relative to the working directory. Give each study its own."""
    seeds: Annotated[list[Seed], AfterValidator(unique)] = Field(min_length=1)
    """Each seed repeats the whole study."""
    threat: Threat
    """The adversary of all attacks and verifiers, and of every objective that names no other."""
    entries: list[Annotated[str, AfterValidator(own_entries)]] = Field([])
    """Folders of entries of your own, relative to the working directory: each holds folders named as the sections are
    (`methods`, `models`, ...), with a file for each entry."""
    datasets: DataSets = Field(min_length=1)
    """Data sets by label."""
    models: Models = Field(min_length=1)
    """Networks by label."""
    objectives: Objectives = Field(min_length=1)
    """Training objectives by label: the same one pre-trains, prunes and fine-tunes."""
    methods: Methods = Field({})
    """Pruning methods by label; none are needed where dense networks alone are evaluated."""
    ratios: Ratios = Field([])
    """Pruning ratios: shares of the prunable weights that are removed; needed for every method that has none of its own."""
    training: Training
    """Schedules shared by all objectives; an objective's own `training` changes what it needs to."""
    grafting: Grafting | None = None
    """Graft fine-tuned networks, if given (`{}` for the defaults): a further stage, whose networks `evaluate` calls `grafted`.
    Filters that were pruned are not cut out of these."""
    variants: dict[Annotated[str, Field(pattern=LABEL)], Variant] = Field({})
    """Variants of checkpoints by label, made from one where `evaluate` has its name and, behind a `+`, the label:
    `{int8: {kind: quantise, bits: 8}}` and `finetuned+int8` round the weights of fine-tuned networks to eight bits."""
    attacks: Attacks = Field(min_length=1)
    """Attacks by label."""
    verifiers: Verifiers = Field(min_length=1)
    """Verifiers by label."""
    analyses: Analyses = Field({})
    """Analyses by label: further tables, of what attacks and verifiers do not say."""
    outputs: Outputs | None = None
    """Write down the logits of every evaluated network, if given (`{}` for the defaults), for analyses and for whoever wants
    them. If null, they are with the defaults, where an analysis reads them."""
    published: Published | None = None
    """Set this study's results beside published ones, if given (`{}` for all sources)."""
    evaluate: Annotated[list[EvaluatedStage], AfterValidator(unique)] = Field(["dense", "finetuned"], min_length=1)
    """Checkpoints that are attacked and verified. `dense` is what preservation is measured against; with it alone, nothing is
    pruned. `finetuned+int8` is the variant `int8` of fine-tuned networks, `dense+int8` of dense ones; what they are variants of
    is evaluated, too. What `pruned` networks lose may be a matter of batch norm's statistics alone: see a method's
    `norm_statistics`."""
    imports: dict[str, Import] = Field({})
    """Networks of third parties, by the checkpoint whose place they take, such as
    `digits/cnn-small/benign/seed0/dense` or `.../seed0/METHOD-RATIO/finetuned`. Methods and ratios may be new ones: that is how
    a network that others pruned comes in beside the study's own. `sparrow import` checks a file and prints the lines."""

    @property
    def recorded_outputs(self) -> Outputs | None:
        """How the logits of evaluated networks are written down; None where nobody asks for them."""
        asked = any("outputs" in entry.needs for entry in self.analyses.values())
        return self.outputs or (Outputs() if asked else None)

    def threat_of(self, objective: str) -> Threat:
        """The threat against which an objective's networks are evaluated."""
        own = self.objectives[objective].threat
        return self.threat if own is None else Threat(norm=own.norm or self.threat.norm, eps=own.eps)

    def evaluations(self, room: Literal["attacks", "verifiers"], objective: str) -> dict[str, Any]:
        """The attacks or verifiers of an objective's networks, by label."""
        entries = getattr(self, room).items()
        return {label: entry for label, entry in entries if entry.objectives is None or objective in entry.objectives}

    def schedule(self, objective: str, stage: TrainingStage, method: str | None = None) -> Schedule:
        """The study's schedule of `stage` with the changes that an objective makes to it and, behind it, a method."""
        values = getattr(self.training, stage).model_dump(exclude={"distillation"})
        owner = ("objectives", objective)
        for room, label in (owner, ("methods", method or "")):
            if label in getattr(self, room):
                patch = getattr(getattr(self, room)[label].training, stage)
                changes = patch.model_dump(exclude_unset=True, exclude={"distillation"})
                values, owner = values | changes, (room, label) if changes else owner
        try:
            return Schedule(**values)
        except ValidationError as error:
            mistake = error.errors()[0]
            key = ".".join(map(str, (*owner, "training", stage, *mistake["loc"])))
            message = mistake["msg"].removeprefix("Value error, ").replace("Input should be", f"{mistake['input']!r} must be")
            raise ValueError(f"{key}: {message}") from None

    def distillation(self, objective: str) -> Distillation | None:
        """How an objective's pruned networks learn from a teacher when they are fine-tuned; None if they do not."""
        shared, own = self.training.finetune.distillation, self.objectives[objective].training.finetune
        if "distillation" not in own.model_fields_set:
            return shared
        if own.distillation is None:
            return None
        return Distillation(**(shared.model_dump() if shared else {}) | own.distillation.model_dump(exclude_unset=True))

    def additions(self, objective: str) -> dict[str, Addition]:
        """What an objective's networks minimise besides, by the key of the study that says so, or could."""
        found: dict[str, Addition | None] = {"nrs": self.objectives[objective].nrs}
        if {"finetuned", "grafted"} & set(self.evaluate):
            found["training.finetune.distillation"] = self.distillation(objective)
        return {f"objectives.{objective}.{key}": addition for key, addition in found.items() if addition is not None}

    def pruning_schedule(self, objective: str, method: str, ratio: float) -> Schedule:
        """The schedule under which a method trains at a ratio: `given_schedule`, with what the method makes of it."""
        return self.methods[method].schedule(
            ratio, self.given_schedule(objective, method), self.schedule(objective, "pretrain", method)
        )

    def given_schedule(self, objective: str, method: str) -> Schedule:
        """The schedule that a method is given to train under: that of its pipeline.

        A method that moves weights does so as the stage that moves them next, but for how long.
        """
        entry = self.methods[method]
        pipeline = PIPELINES[entry.pipeline]
        own = self.schedule(objective, pipeline.search, method)
        if entry.trains == "weights" and pipeline.search == "prune":
            keys = {"optimizer", "lr", "momentum", "weight_decay", "max_grad_norm"}
            moved = self.schedule(objective, pipeline.afterwards, method).model_dump(include=keys)
            # What the method says of this stage itself stands.
            own = Schedule(**own.model_dump() | moved | entry.training.prune.model_dump(exclude_unset=True))
        return own
