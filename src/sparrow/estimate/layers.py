"""The number of layers of a study's networks, for what is tried on each of them; importable without torch."""

from __future__ import annotations

from sparrow import catalogue
from sparrow.errors import SparrowError
from sparrow.study import job_specs
from sparrow.study.config import Study


def prunable_layers(study: Study, model: str, dataset: str) -> int:
    """How many layers with weights the network of that label has, on the images of a data set; it is built for that.

    Raises SparrowError, naming it, if it cannot be built.
    """
    from sparrow.networks.prunable import prunable_weights

    entry, params = catalogue.from_spec("models", job_specs.entry_spec(study, "models", model))
    images = study.datasets[dataset]
    shape, classes = catalogue.load("datasets", images.kind).describe(images)
    try:
        return len(prunable_weights(entry.build(params, shape, classes)))
    except Exception as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise SparrowError(f"models.{model} cannot be built: {said}") from None
