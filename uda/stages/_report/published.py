"""Published scores to compare with: the rows of `data_manifests/published.yaml`, checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from uda.core.config import Config, Layers, read_yaml, validate
from uda.core.errors import ConfigError, nearest
from uda.core.resources import folder
from uda.stages._report.reading import Run

Percent = Annotated[float, Field(ge=0, le=100)]
MARKS = {"paper": "paper", "r": "repository", "L": "leaderboard", "m": "recalled"}
"""What a row's `mark` means."""


class PublishedRow(Config):
    """One published result."""

    method: str = Field(min_length=1)
    """Name of the method, or of the bound."""
    classes: int = Field(ge=1)
    """How many classes count in the mean."""
    miou: Percent
    """Mean IoU in percent."""
    bound: Literal["source only", "oracle"] | None = None
    """Says that the row is no adaptation but a bound."""
    network: str | None = None
    """The network, where it is not the group's."""
    mark: Literal["paper", "r", "L", "m"]
    """Where the number was seen (`MARKS`)."""
    confirmed: bool
    """Whether it was read there; false: recalled, not checked."""
    origin: str = Field(min_length=1)
    """The place: paper and table, repository, leaderboard."""
    iou: tuple[Percent | None, ...] | None = None
    """IoU of each of the group's columns in percent; None for a class that does not count."""


class PublishedGroup(Config):
    """Results that are comparable with each other."""

    source: str
    """Dataset spec of the labelled images."""
    target: str
    """Dataset spec of the images that are scored."""
    network: str
    """The segmenter."""
    columns: tuple[str, ...]
    """Names of the classes, in the order of `iou`."""
    rows: tuple[PublishedRow, ...] = Field(min_length=1)
    """The results."""

    @model_validator(mode="after")
    def _rows_fit(self) -> Self:
        for row in self.rows:
            if row.iou is None:
                continue
            if len(row.iou) != len(self.columns):
                raise ValueError(f"{row.method}: {len(row.iou)} IoUs for {len(self.columns)} columns")
            if (counted := sum(value is not None for value in row.iou)) != row.classes:
                raise ValueError(f"{row.method}: {counted} IoUs for a mean over {row.classes} classes")
        return self


def load_published(file: Path | None = None) -> dict[str, PublishedGroup]:
    """All groups by key.

    Args:
        file: another file than the shipped one.

    Raises:
        ConfigError: the file is wrong; the mistakes are told by row.
    """
    file = file or folder("data_manifests") / "published.yaml"
    return {
        key: validate(PublishedGroup, Layers().add(f"{file}: {key}", group)) for key, group in read_yaml(file).items()
    }


def published_group(key: str) -> PublishedGroup:
    """The group that a pipeline's `published` names.

    Raises:
        ConfigError: no such group; the nearest key is given.
    """
    groups = load_published()
    if key not in groups:
        raise ConfigError(f"no published rows '{key}'", "published", nearest(key, groups))
    return groups[key]


def obstacle(run: Run, group: PublishedGroup) -> str | None:
    """Why a run's scores and the published ones cannot be compared; None where its data sets are the published ones."""
    if run.of("minicity"):
        return "this run's images are mini-city, the built-in street scenes"
    prepared = [str(entry.manifest.config.get("dataset")) for entry in run.of("prepare")]
    missing = [name for name in (group.source, group.target) if not any(one.startswith(name) for one in prepared)]
    if missing:
        return f"this run has data of its own in the place of {' and '.join(missing)}"
    scored = {Path(entry.manifest.inputs["target"]["path"]).parent.name for entry in run.of("evaluate")}
    chosen = [
        entry.name
        for entry in run.of("prepare")
        if entry.directory.name in scored and any((entry.manifest.config.get("select") or {}).values())
    ]
    return f"this run is scored on chosen images alone ({', '.join(chosen)})" if chosen else None
