"""The base of every piece of configuration, importable without torch."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from sparrow import radius

Norm = Literal["linf", "l2"]


class RebuiltOnResume:
    """Base of objects whose state never changes: a resume point leaves them out, and a resumed job builds them anew."""


class Settings(BaseModel):
    """Immutable, refuses unknown keys; a field's docstring is its description in the schema and in docs/options.md."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _numbers_are_no_truth_values(cls, values: Any) -> Any:
        """`values`, with true where a number is valid, and a number where true or false is, replaced so that the field refuses
        them: pydantic takes true for 1 and 1 for true."""
        if not isinstance(values, dict):
            return values
        kinds = {name: _leaves(field.annotation) for name, field in cls.model_fields.items()}
        return {name: _unlike(value, kinds[name]) if name in kinds else value for name, value in values.items()}


class _Word(str):
    """A text, shown without quotes, in place of a value that its field is to refuse."""

    __slots__ = ()
    __repr__ = str.__str__


def _unlike(value: Any, kinds: set[Any]) -> Any:
    """`value`; a _Word that names it if pydantic would convert it to one of `kinds` though it is of another kind."""
    if isinstance(value, list):
        return [_unlike(one, kinds) for one in value]
    if isinstance(value, bool):
        return _Word(f"the truth value {str(value).lower()}") if kinds & {int, float} and bool not in kinds else value
    number = isinstance(value, int | float) or (isinstance(value, str) and value.isdigit())
    return _Word(f"the number {value}") if number and bool in kinds else value


def _leaves(annotation: Any) -> set[Any]:
    """The types that a value, or an element of it, may have, however nested."""
    inner = [kind for kind in get_args(annotation) if isinstance(kind, type) or get_args(kind)]
    return {annotation} if not inner else set().union(*map(_leaves, inner))


_DECIMAL = {"type": "number", "exclusiveMinimum": 0}
_FRACTION = {"type": "string", "format": "fraction", "pattern": "^ *[0-9]+ */ *[0-9]+ *$"}
_RADIUS = {"anyOf": [_DECIMAL, _FRACTION]}
Radius = Annotated[float, BeforeValidator(radius.parse), Field(gt=0), WithJsonSchema(_RADIUS)]
"""A radius, a step size or another distance in pixel units: a number, or a fraction of integers such as 8/255."""


class Threat(Settings):
    """What the adversary may do: move an image by at most `eps` in `norm`, inside [0, 1]."""

    norm: Norm = "linf"
    """Norm of the perturbation."""
    eps: Radius
    """Radius of the perturbation in pixel units, images in [0, 1]: a number, or a fraction of integers such as 8/255."""

    def l2_radius(self, values: int) -> float:
        """The radius of the smallest l2 ball that holds all perturbations of an image of that many `values` (c x h x w)."""
        return self.eps * values**0.5 if self.norm == "linf" else self.eps


def unique(values: list | None) -> list | None:
    """`values` unchanged. Raises ValueError if one is there twice."""
    if values is None:
        return None
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{value} appears {values.count(value)} times; every entry must be there once")
    return values


Ratios = Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Field(min_length=1), AfterValidator(unique)]


def _as_list(value: Any) -> Any:
    """A list of `value` alone, so that `0.1` is read as `[0.1]`; a list, or None, as it is."""
    return value if value is None or isinstance(value, list) else [value]


def _all_different(radii: list[float] | None) -> list[float] | None:
    unique([radius.text(eps) for eps in radii or ()])
    return radii


Radii = Annotated[
    Annotated[list[Radius], Field(min_length=1)] | None,
    BeforeValidator(_as_list),
    AfterValidator(_all_different),
    WithJsonSchema({"anyOf": [_DECIMAL, _FRACTION, {"type": "array", "items": _RADIUS, "minItems": 1}, {"type": "null"}]}),
]


def _holds_radii(annotation: Any) -> bool:
    """Whether an annotation contains Radius, as `Radius | None` or a list does; of a field `x: Radius` pydantic keeps float."""
    return annotation == Radius or any(map(_holds_radii, get_args(annotation)))


def distances_in_pixels(settings: Settings) -> dict[str, list[float]]:
    """Values, by field name, of the settings that are in pixel units (radii, step sizes); fields that are null are left out."""
    found = {}
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if value is not None and _holds_radii(field.annotation):
            found[name] = value if isinstance(value, list) else [value]
    return found


class Evaluation(Settings):
    """What attacks and verifiers have in common."""

    eps: Radii = None
    """Radius in pixel units (a number, or such as 8/255), or a list of them: a sweep, without new training. The threat's, if
    null."""
    samples: int | None = Field(None, ge=1)
    """Evaluate on this many test images, a fixed seeded subset (smaller ones are part of larger ones); on all if null."""
    batch_size: int = Field(512, ge=1)
    """Images per batch."""
    objectives: Annotated[list[str], Field(min_length=1), AfterValidator(unique)] | None = None
    """Evaluate only networks trained on these objectives, by label; on all if null."""


Scope = Literal["dataset", "network", "pair", "family", "seeds", "tables"]
Need = Literal["threat", "outputs", "corrupted", "examples"]
Requirement = Literal["dense", "distances", "smoothed"]
Columns = dict[str, tuple[str, ...]]
"""The columns of several tables, by the table's name."""


class Analysis(Settings):
    """What all analyses have in common: each declares what it is about, what it reads and what its tables hold."""

    scope: ClassVar[Scope]
    """What one job is about: a data set, an evaluated network, a pruned network and its dense parent (`pair`), a dense network
    and all that were pruned from it (`family`), the networks of one cell over all seeds, or all outcome tables of the study."""
    tables: ClassVar[Columns]
    """Columns of each table, by the table's name; the first has the name of the file."""
    needs: ClassVar[tuple[Need, ...]] = ()
    """What it reads besides checkpoints and images, or tables: the networks' `threat`; their logits (`outputs`); `corrupted`
    test images; adversarial images that the study's attacks found against each (`examples`; of those that an option `attacks`
    names, or of all that search)."""
    reads: ClassVar[tuple[str, ...]] = ()
    """Kinds of other analyses whose tables one of scope `tables` is given, as far as the study has them."""
    requires: ClassVar[tuple[Requirement, ...]] = ()
    """What a study has to evaluate for it, or is refused: `dense` networks beside pruned ones (which `pair` and `family` always
    compare), an attack that seeks the nearest adversarial image and so `distances`, a verifier of a `smoothed` classifier."""
    seeds_needed: ClassVar[int] = 1
    """The fewest seeds of a study that it can say something about."""
    timed: ClassVar[bool] = False
    """Whether its numbers are timings, which no two runs have alike; those of a family alone can be compared."""
