"""The study as one tree of pydantic models, put together from what each room declares. Imports no torch."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Union

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, WithJsonSchema, create_model, model_validator

from sparrow import catalogue, entry_docs, published
from sparrow.catalogue import Room
from sparrow.cell_path import parse
from sparrow.config_errors import explain
from sparrow.errors import ConfigError, SparrowError
from sparrow.exchange import keymap, keymaps
from sparrow.settings import Ratios, Settings, Threat, unique
from sparrow.training.schedule import Schedule

STAGES = ("pretrain", "prune", "finetune")
# A model made at run time has its descriptions from others: pydantic would search every frame for a source that is nowhere.
DESCRIBED = {"use_attribute_docstrings": False}


def _optional(model: type[Settings], name: str) -> type[Settings]:
    """`model` with every field optional and unset by default: a patch."""
    fields = {
        key: (field.annotation | None, Field(None, description=field.description)) for key, field in model.model_fields.items()
    }
    patch = create_model(name, __base__=Settings, __cls_kwargs__=DESCRIBED, **fields)
    patch.__doc__ = f"What to change in {model.__name__} for one objective."
    return patch


SchedulePatch = _optional(Schedule, "SchedulePatch")


class TrainingPatch(Settings):
    """Changes to the study's schedules for one objective; the same for every method."""

    pretrain: SchedulePatch = Field(default_factory=SchedulePatch)
    """Changes to `training.pretrain`."""
    prune: SchedulePatch = Field(default_factory=SchedulePatch)
    """Changes to `training.prune`."""
    finetune: SchedulePatch = Field(default_factory=SchedulePatch)
    """Changes to `training.finetune`."""


class ObjectiveOptions(Settings):
    """What every objective may change of the study."""

    training: TrainingPatch = Field(default_factory=TrainingPatch)
    """Changes to `training` for this objective."""
    threat: Threat | None = None
    """The threat against which this objective's networks are trained and evaluated, if it is not the study's."""
    models: Annotated[list[str], Field(min_length=1), AfterValidator(unique)] | None = None
    """Train only these models, by label; all if null."""


class Training(Settings):
    """Schedules of the three training stages."""

    pretrain: Schedule
    """Dense pre-training."""
    prune: Schedule
    """Search for masks; methods that do not train skip it, and those that move weights take over `finetune`'s optimiser
    and learning rate."""
    finetune: Schedule
    """Fine-tuning under fixed masks: the same budget for every method."""


def _fill_kinds(entries: Any) -> Any:
    """`hydra:` alone means `hydra: {kind: hydra}`."""
    if not isinstance(entries, dict):
        return entries
    filled = {}
    for label, entry in entries.items():
        entry = {} if entry is None else entry
        filled[label] = {"kind": label, **entry} if isinstance(entry, dict) else entry
    return filled


def _entries(room: Room, options: type[Settings] | None = None) -> Any:
    """Type of a section: label to the parameters of one entry of `room` and `options`, told apart by `kind`."""
    variants = []
    for kind in catalogue.kinds(room):
        module = catalogue.load(room, kind)
        names = catalogue.CONTRACTS[room]
        missing = [name for name in names if not any(hasattr(module, one) for one in name.split("|"))]
        if missing:
            package = catalogue.PACKAGES[room]
            raise ConfigError(f"{module.__file__}: has no {', '.join(missing)}; {package} says what a file there defines")
        params = module.Params
        fields: dict[str, Any] = {"kind": (Literal[kind], Field(kind, description=f"The label, if it is not `{kind}`."))}
        if options is not None:
            fields |= {name: (field.annotation, field) for name, field in options.model_fields.items()}
        name = "".join(part.title() for part in kind.split("-")) + room.title().removesuffix("s")
        variant = create_model(name, __base__=params, __cls_kwargs__=DESCRIBED, **fields)
        variant.__doc__ = entry_docs.summary(room, kind)
        variants.append(variant)
    label = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    union = Annotated[Union[tuple(variants)], Field(discriminator="kind")]  # noqa: UP007 - made at run time
    return Annotated[dict[label, union], BeforeValidator(_fill_kinds)]


Seed = Annotated[int, Field(ge=0, strict=True)]
EvaluatedStage = Literal["dense", "pruned", "finetuned"]


class Stability(Settings):
    """Counting ReLUs whose sign no perturbation changes."""

    samples: int | None = Field(None, ge=1)
    """Count on this many test images; on all if null."""
    batch_size: int = Field(128, ge=1)
    """Images per batch."""


def _figure_source(text: str) -> str:
    published.named(text, published.figures())
    return text


def _headline_source(text: str) -> str:
    published.named(text, published.headlines())
    return text


def _figure_dataset(kind: str) -> str:
    known = sorted({row["dataset_kind"] for row in published.figures()})
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
        published.figures()
        return self


class Import(Settings):
    """A third party's network in the place of one that the study would make."""

    file: str = Field(min_length=1)
    """Its state dict: safetensors, or a file of torch.save's (.pth, .pt, .tar), of which nothing but tensors and plain values
    is read. Relative to the working directory."""
    map: str = keymaps.OURS
    """Whose names its tensors have: `ours`, another key map that comes with Sparrow, or a YAML file with one."""
    key: str | None = None
    """Under which key of the file the state dict lies, if that is none of the usual ones."""
    granularity: Literal["weight", "filter"] = "weight"
    """What it lost: single weights, or whole filters with their bias and norm."""
    allow_ratio: bool = False
    """Take it even if its share of zeros is not the cell's pruning ratio."""


class Study(Settings):
    """A whole study: every data set x model x objective x method x ratio x seed is one cell."""

    results: str = Field("results", pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$")
    """Folder for all results, relative to the working directory. Give each study its own."""
    seeds: Annotated[list[Seed], AfterValidator(unique)] = Field(min_length=1)
    """Each seed repeats the whole study."""
    threat: Threat
    """The adversary of all attacks and verifiers, and of every objective that names no other."""
    datasets: _entries("datasets") = Field(min_length=1)
    """Data sets by label."""
    models: _entries("models") = Field(min_length=1)
    """Networks by label."""
    objectives: _entries("objectives", ObjectiveOptions) = Field(min_length=1)
    """Training objectives by label: the same one pre-trains, prunes and fine-tunes."""
    methods: _entries("methods") = Field(min_length=1)
    """Pruning methods by label."""
    ratios: Ratios
    """Pruning ratios: shares of the prunable weights that are removed."""
    training: Training
    """Schedules shared by all objectives; an objective's own `training` changes what it needs to."""
    attacks: _entries("attacks") = Field(min_length=1)
    """Attacks by label."""
    verifiers: _entries("verifiers") = Field(min_length=1)
    """Verifiers by label."""
    stability: Stability | None = None
    """Count stable ReLUs in every evaluated network, if given (`{}` for the defaults): does pruning ease verification?"""
    published: Published | None = None
    """Set this study's results beside published ones, if given (`{}` for all sources)."""
    evaluate: Annotated[list[EvaluatedStage], AfterValidator(unique)] = Field(["dense", "finetuned"], min_length=1)
    """Checkpoints that are attacked and verified. `dense` is what preservation is measured against."""
    imports: dict[str, Import] = Field({})
    """Networks of third parties, by the checkpoint whose place they take, such as
    `digits/cnn-small/benign/seed0/dense` or `.../seed0/METHOD-RATIO/finetuned`. Methods and ratios may be new ones: that is how
    a network that others pruned comes in beside the study's own. `sparrow import` checks a file and prints the lines."""

    @model_validator(mode="after")
    def _fits_together(self) -> Study:
        if "dense" in self.methods:
            raise ValueError("methods.dense: 'dense' names the network before pruning; choose another label")
        if not {"pruned", "finetuned"} & set(self.evaluate):
            raise ValueError(f"evaluate: {self.evaluate} leaves out every pruned network; add 'finetuned' or 'pruned'")
        for model_label, model in self.models.items():
            for data_label, dataset in self.datasets.items():
                shape = catalogue.load("datasets", dataset.kind).describe(dataset).shape
                try:
                    catalogue.load("models", model.kind).check(model, shape)
                except ValueError as error:
                    raise ValueError(f"models.{model_label}: does not fit datasets.{data_label}: {error}") from None
        self._labels_are_known()
        for section, room in (("attacks", self.attacks), ("verifiers", self.verifiers)):
            for label, entry in room.items():
                norms = catalogue.load(section, entry.kind).NORMS
                for objective in entry.objectives or self.objectives:
                    norm = self.threat_of(objective).norm
                    if norm not in norms:
                        whose = f"objectives.{objective}.threat" if self.objectives[objective].threat else "threat"
                        known = ", ".join(norms)
                        raise ValueError(f"{section}.{label}: {whose}.norm is {norm!r}, {entry.kind} knows only {known}")
                needed = getattr(catalogue.load(section, entry.kind), "CLASSES_NEEDED", 2)
                for data_label, dataset in self.datasets.items():
                    if needed > catalogue.load("datasets", dataset.kind).describe(dataset).classes:
                        raise ValueError(
                            f"{section}.{label}: {entry.kind} needs {needed} classes; datasets.{data_label} has fewer"
                        )
        for label in self.published.datasets if self.published else ():
            if label not in self.datasets:
                raise ValueError(f"published.datasets.{label}: no data set of this study; valid: {', '.join(self.datasets)}")
        self._imports_fit()
        for objective in self.objectives:
            self._radii_fit(objective)
            for stage in STAGES:
                self.schedule(objective, stage)
        return self

    def threat_of(self, objective: str) -> Threat:
        """The threat against which an objective's networks are evaluated."""
        return self.objectives[objective].threat or self.threat

    def evaluations(self, room: Literal["attacks", "verifiers"], objective: str) -> dict[str, Any]:
        """The attacks or verifiers of an objective's networks, by label."""
        entries = getattr(self, room).items()
        return {label: entry for label, entry in entries if entry.objectives is None or objective in entry.objectives}

    def _labels_are_known(self) -> None:
        """What an entry says of others is there, and every model is trained."""
        for section, room in (("attacks", self.attacks), ("verifiers", self.verifiers)):
            for label, entry in room.items():
                _refuse_unknown(f"{section}.{label}.objectives", "objective", entry.objectives, self.objectives)
        for label, entry in self.objectives.items():
            _refuse_unknown(f"objectives.{label}.models", "model", entry.models, self.models)
        for model in self.models:
            if not any(entry.models is None or model in entry.models for entry in self.objectives.values()):
                raise ValueError(f"models.{model}: no objective trains it; add it to one's `models`")

    def _radii_fit(self, objective: str) -> None:
        """Every metric of an objective's networks has something to rest on, and a cascade its attacks."""
        attacks, threat = self.evaluations("attacks", objective), self.threat_of(objective)
        free = [label for label, entry in attacks.items() if hasattr(catalogue.load("attacks", entry.kind), "MINIMUM_NORM")]
        for label in free:
            if len(attacks[label].eps or ()) > 1:
                raise ValueError(f"attacks.{label}.eps: {attacks[label].kind} finds distances by itself; give one radius")
        own_threat = self.objectives[objective].threat is not None
        for section in ("attacks", "verifiers"):
            entries = self.evaluations(section, objective)
            own = {label: e for label, e in entries.items() if not hasattr(catalogue.load(section, e.kind), "SMOOTHED")}
            radii = {eps for entry in own.values() for eps in entry.eps or [threat.eps]}
            if own and threat.eps not in radii and not (section == "attacks" and free):
                found = ", ".join(f"{eps:g}" for eps in sorted(radii))
                where = f"objectives.{objective}.threat.eps" if own_threat else "threat.eps"
                raise ValueError(f"{section}: eps {found}, but none at {where}, {threat.eps:g}; valid: one that has it")
        for label, entry in self.evaluations("verifiers", objective).items():
            for attack in getattr(entry, "attacks", ()):
                if attack not in attacks:
                    whom = "" if attack not in self.attacks else f" for networks trained on {objective}"
                    raise ValueError(f"verifiers.{label}.attacks: unknown attack {attack!r}{whom}; valid: {', '.join(attacks)}")
                missing = set(entry.eps or [threat.eps]) - set(attacks[attack].eps or [threat.eps])
                if missing and attack not in free:
                    radii = ", ".join(f"{eps:g}" for eps in sorted(missing))
                    raise ValueError(
                        f"verifiers.{label}.attacks: {attack} does not attack at eps {radii}, which {label} verifies"
                    )

    def _imports_fit(self) -> None:
        """Every import takes the place of a checkpoint that somebody asks for."""
        for path, entry in self.imports.items():
            try:
                found = parse(path)
            except ValueError as error:
                raise ValueError(f"imports: {error}") from None
            for room in ("datasets", "models", "objectives"):
                label, valid = getattr(found.parent, room.removesuffix("s")), getattr(self, room)
                if label not in valid:
                    raise ValueError(f"imports.{path}: {room} has no {label!r}; valid: {', '.join(valid)}")
            only = self.objectives[found.parent.objective].models
            if only is not None and found.parent.model not in only:
                raise ValueError(f"imports.{path}: objectives.{found.parent.objective}.models has no {found.parent.model!r}")
            if found.parent.seed not in self.seeds:
                raise ValueError(f"imports.{path}: seeds has no {found.parent.seed}; valid: {', '.join(map(str, self.seeds))}")
            if found.cell and not 0 < found.cell.ratio < 1:
                raise ValueError(f"imports.{path}: the ratio is {found.cell.ratio:g}, must lie between 0 and 1")
            if found.cell and found.cell.method == "dense":
                raise ValueError(f"imports.{path}: 'dense' names the network before pruning; choose another label")
            if found.stage == "finetuned" and "finetuned" not in self.evaluate:
                raise ValueError(f"imports.{path}: nothing evaluates it; add 'finetuned' to evaluate")
            try:
                covers = None if keymaps.is_file(entry.map) else keymap.load(entry.map)
                if covers:
                    keymap.require_model(covers, entry.map, self.models[found.parent.model].kind)
            except SparrowError as error:
                raise ValueError(f"imports.{path}.map: {error}") from None

    def schedule(self, objective: str, stage: Literal["pretrain", "prune", "finetune"]) -> Schedule:
        """The study's schedule of `stage` with the changes that an objective makes to it."""
        patch = getattr(self.objectives[objective].training, stage).model_dump(exclude_unset=True)
        try:
            return Schedule(**getattr(self.training, stage).model_dump() | patch)
        except ValidationError as error:
            mistake = error.errors()[0]
            key = ".".join(map(str, ("objectives", objective, "training", stage, *mistake["loc"])))
            message = mistake["msg"].removeprefix("Value error, ").replace("Input should be", f"{mistake['input']!r} must be")
            raise ValueError(f"{key}: {message}") from None

    def pruning_schedule(self, objective: str, method: str) -> Schedule:
        """The schedule under which a method trains: a method that moves weights does so as fine-tuning does."""
        schedule = self.schedule(objective, "prune")
        if self.methods[method].trains != "weights":
            return schedule
        keys = {"optimizer", "lr", "momentum", "weight_decay", "max_grad_norm"}
        return Schedule(**schedule.model_dump() | self.schedule(objective, "finetune").model_dump(include=keys))


def _refuse_unknown(key: str, what: str, labels: list[str] | None, known: dict[str, Any]) -> None:
    for label in labels or ():
        if label not in known:
            raise ValueError(f"{key}: unknown {what} {label!r}; valid: {', '.join(known)}")


def load_study(raw: dict, source: str = "config.yaml") -> Study:
    """Validate a configuration. Raises ConfigError: one line per mistake, each naming key, value and what is valid."""
    try:
        return Study.model_validate(json.loads(json.dumps(raw)))
    except ValidationError as error:
        raise ConfigError("\n".join(f"{source}: {line}" for line in explain(error, Study))) from None
    except TypeError as error:
        raise ConfigError(f"{source}: {error}") from None
