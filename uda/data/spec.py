"""Dataset specs: where a data set's images and labels lie, how label pixels are coded, which name each value has.

A spec knows its data set and no task; a label space knows the task and no data set. They meet by class name in one
table of 256 entries (`mapping_table`).
"""

from __future__ import annotations

import difflib
import posixpath
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import (
    BeforeValidator,
    PrivateAttr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)

from uda.core.config import Config, Layers, validate
from uda.core.errors import DataError, nearest
from uda.core.resources import find_yaml, folder
from uda.data.label_space import IGNORE, UNDECLARED, Byte, Color, LabelSpace

Coding = Literal["id", "palette", "multichannel16", "color"]
MAX_COLORS = 255
"""A colour map's colours are numbered 0 to 254; 255 stands for a colour that is not declared."""

_PLACEHOLDERS = re.compile(r"\{(.*?)\}")


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str | int) else value


def _in_plain_words(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """Tell once what a value that is neither of two kinds is not."""
    try:
        return handler(value)
    except ValidationError as error:
        raise ValueError(f"{value!r} is no number from 0 to 255, nor a colour [r, g, b] of three of them") from error


_Patterns = Annotated[tuple[str, ...], BeforeValidator(_listed)]
_Value = Annotated[Byte | Color, WrapValidator(_in_plain_words)]
_Values = Annotated[tuple[_Value, ...], BeforeValidator(_listed)]


class DatasetSpec(Config):
    """One data set's layout and label coding."""

    name: str
    """Name of the data set."""
    images: _Patterns
    """Patterns of image paths below the data set's root. `{id}` stands for what tells images apart and may span
    folders; `{split}` for a split's name. With several patterns the first that has an id wins. Upper and lower case
    of endings are alike."""
    labels: str | None = None
    """Pattern of label paths, with the same `{id}` and `{split}`; null where the data set has no labels. Without
    `{split}` all splits have theirs in one place."""
    ignored: _Patterns = ()
    """Patterns of further files that fit those of images or labels and are neither."""
    coding: Coding = "id"
    """`id`: single-channel PNG. `palette`: the indices of a palette PNG. `multichannel16`: one channel of a
    multi-channel PNG of 16 bits, or 8. `color`: RGB colour map."""
    channel: Literal["red", "green", "blue"] = "red"
    """Channel that holds the class in `multichannel16`."""
    values: Mapping[str, _Values] = {}
    """Class name -> its label values (0 to 255), or its colours [r, g, b] where coding is `color`."""
    void: _Values = ()
    """Values (or colours) that are ignored on purpose."""
    splits: tuple[str, ...] = ()
    """Splits that have folders of their own; empty where the data set comes in one piece."""
    group: str | None = None
    """Regular expression searched in an id; its first group is the image's group (a city, a drive)."""
    known_sizes: tuple[tuple[int, int], ...] = ()
    """Image sizes [height, width] that the data set is known to have."""

    _file: Path | None = PrivateAttr(default=None)

    @field_validator("group")
    @classmethod
    def _group_is_an_expression(cls, group: str | None) -> str | None:
        try:
            if group is not None and re.compile(group).groups < 1:
                raise ValueError("must have a group in brackets, as in ^([^/]+)/")
        except re.error as error:
            raise ValueError(f"is no regular expression ({error})") from error
        return group

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        for pattern in (*self.images, *(() if self.labels is None else (self.labels,)), *self.ignored):
            _check_pattern(pattern, self.splits)
        for pattern in self.images:
            if self.splits and "{split}" not in pattern:
                raise ValueError(f"pattern '{pattern}' has no {{split}}: every split would have all images")
        if self.labels in self.images:
            raise ValueError("labels must lie elsewhere than images")
        if self.labels is not None and not self.values:
            raise ValueError("values must name the classes of the labels")
        if len(self.values) > UNDECLARED:
            raise ValueError(f"{len(self.values)} classes, at most {UNDECLARED} can be told apart")
        for key, values in self.values.items():
            _check_coding(f"values.{key}", values, self.coding)
        _check_coding("void", self.void, self.coding)
        seen: set[int | Color] = set()
        for value in self.declared():
            if value in seen:
                raise ValueError(f"{value} is declared twice in values and void")
            seen.add(value)
        if self.coding == "color" and len(seen) > MAX_COLORS:
            raise ValueError(f"{len(seen)} colours, at most {MAX_COLORS} can be told apart")
        return self

    @property
    def file(self) -> Path | None:
        """The YAML it was read from."""
        return self._file

    @property
    def is_shipped(self) -> bool:
        """Whether it came with the package, so that what is known of its data set holds."""
        return self._file is not None and self._file.parent == folder("configs") / "datasets"

    def declared(self) -> list[int | Color]:
        """All declared values or colours, in the order of the spec."""
        return [*(value for values in self.values.values() for value in values), *self.void]

    def colors(self) -> NDArray[np.uint32]:
        """The declared colours packed to 24 bits and sorted; a colour's position is its ordinal."""
        packed = [pack_color(value) for value in self.declared() if isinstance(value, tuple)]
        return np.sort(np.asarray(packed, np.uint32))


class Unmapped(NamedTuple):
    """What does not meet between a spec and a label space.

    Attributes:
        ignored: classes of the data set that no class of the space takes in; their pixels become 255.
        empty: classes of the space that no value of the data set maps to.
    """

    ignored: tuple[str, ...]
    empty: tuple[str, ...]


def _check_coding(where: str, values: Sequence[int | Color], coding: Coding) -> None:
    """Refuse numbers where colours are wanted, and the other way round."""
    wrong = next((value for value in values if isinstance(value, tuple) != (coding == "color")), None)
    if wrong is None:
        return
    if coding != "color":
        told, mend = list(wrong) if isinstance(wrong, tuple) else wrong, "write its label values, or `coding: color`"
        raise ValueError(f"{where}: coding {coding} takes numbers from 0 to 255, not {told}; {mend}")
    # A single colour is easily written without the list around it.
    one_color = len(values) == 3 and not any(isinstance(value, tuple) for value in values)
    color = ", ".join(map(str, values)) if one_color else "r, g, b"
    mend = f"write `{where.removeprefix('values.')}: [[{color}]]`"
    raise ValueError(f"{where}: coding color takes colours [r, g, b], not {wrong}; {mend}")


def _check_pattern(pattern: str, splits: tuple[str, ...]) -> None:
    names = _PLACEHOLDERS.findall(pattern)
    if names.count("id") != 1 or set(names) - {"id", "split"}:
        raise ValueError(f"pattern '{pattern}' must have one {{id}}, and beside it {{split}} at most")
    if "split" in names and not splits:
        raise ValueError(f"pattern '{pattern}' has {{split}}: list the splits in `splits`")
    if pattern.startswith("/") or ".." in pattern.split("/"):
        raise ValueError(f"pattern '{pattern}' must lie below the data set's root")
    if (plain := posixpath.normpath(pattern)) != pattern:
        raise ValueError(f"pattern '{pattern}' must be written as '{plain}'")


def pack_color(color: Color) -> int:
    """(r, g, b) as one 24-bit number."""
    return color[0] << 16 | color[1] << 8 | color[2]


def spec_path(reference: str, base: Path | None) -> str:
    """`reference` as it is found from the working directory: a YAML's path starts from the folder `base`."""
    return str(base / reference) if base is not None and reference.endswith((".yaml", ".yml")) else reference


def load_spec(reference: str, base: Path | None = None) -> DatasetSpec:
    """The spec that `reference` means: a shipped name, or the path of a YAML.

    Args:
        reference: as it stands in a manifest's `dataset` column.
        base: folder that a relative path starts from (that of the manifest); the working directory where None.

    Raises:
        ConfigError: no such spec, or the file is wrong; all its mistakes are told.
    """
    file = find_yaml("configs/datasets", spec_path(reference, base), "dataset")
    spec = validate(DatasetSpec, Layers().add_file(file))
    spec._file = file
    return spec


def own_table(spec: DatasetSpec) -> NDArray[np.uint8]:
    """As `mapping_table`, onto the data set's own classes in the order of `spec.values`."""
    return _table(spec, {name: i for i, name in enumerate(spec.values)})


def mapping_table(spec: DatasetSpec, space: LabelSpace) -> NDArray[np.uint8]:
    """Class index by label value, (256,) uint8; 255 = ignore, 254 = value that the spec does not declare.

    For coding `color` the index into the table is the colour's ordinal in `spec.colors()`, and 255 for a colour that
    is not declared.
    """
    return _table(spec, space.owners())


def _table(spec: DatasetSpec, owners: Mapping[str, int]) -> NDArray[np.uint8]:
    colors = spec.colors()
    table = np.full(256, UNDECLARED, np.uint8)
    named = [(value, owners.get(name, IGNORE)) for name, values in spec.values.items() for value in values]
    for value, index in (*named, *((value, IGNORE) for value in spec.void)):
        row = int(np.searchsorted(colors, pack_color(value))) if isinstance(value, tuple) else value
        table[row] = index
    return table


def unmapped(spec: DatasetSpec, space: LabelSpace) -> Unmapped:
    """Which classes of the data set are ignored, and which classes of the space it has not."""
    owners = space.owners()
    taken = {owners[name] for name in spec.values if name in owners}
    return Unmapped(
        tuple(name for name in spec.values if name not in owners),
        tuple(name for i, name in enumerate(space.names) if i not in taken),
    )


def require_common_class(spec: DatasetSpec, space: LabelSpace) -> None:
    """See that the data set and the label space meet: labels without a class of the space teach nothing.

    Raises:
        DataError: they have no class in common, and the nearest name is told; or the data set has none at all.
    """
    if not spec.values:
        what, mend = (
            "names no classes, so its labels cannot be read",
            "write labels: and values: as `uda show gta5` does",
        )
        raise DataError(what, spec.file or f"dataset {spec.name}", mend)
    ignored, _ = unmapped(spec, space)
    if len(ignored) == len(spec.values):
        some = ", ".join([*ignored[:3], "..."] if len(ignored) > 3 else ignored)
        what = f"none of its classes ({some}) is one of {space.name}"
        mend = f"{nearest(ignored[0].lower(), space.owners())} write the label space's names, or set label_space"
        raise DataError(what, spec.file or f"dataset {spec.name}", mend)


def say_ignored(spec: DatasetSpec, space: LabelSpace, shares: Mapping[str, float]) -> str | None:
    """Which classes of one's own data set a label space ignores: a misspelt one would go unnoticed.

    Args:
        spec: of a shipped one nothing is said, since it names more classes than a task has on purpose, unless more
            than a third of them are ignored: its classes are those of another task.
        space: the task's classes.
        shares: part of the label pixels of each class of the data set, where it is known; what does not occur is left
            out.
    """
    ignored, empty = unmapped(spec, space)
    ignored = tuple(name for name in ignored if shares.get(name, 1.0) > 0)
    if not ignored or (spec.is_shipped and 3 * len(ignored) <= len(spec.values)):
        return None
    verb = "is no class of {} and is ignored" if len(ignored) == 1 else "are no classes of {} and are ignored"
    what = f"{', '.join(ignored[:5])}{', ...' if len(ignored) > 5 else ''} {verb.format(space.name)}"
    if set(ignored) <= set(shares):
        share = 100 * sum(shares[name] for name in ignored)
        what += f" ({share:.0f} % of the pixels)" if share >= 1 else " (under 1 % of the pixels)"
    near = [match for name in ignored for match in difflib.get_close_matches(name.lower(), empty, n=1)]
    called = spec.name if spec.is_shipped or spec.file is None else spec.file.name
    return f"{called}: {what}" + (f"; did you mean '{near[0]}'?" if near else "")


def index_spec(space: LabelSpace) -> DatasetSpec:
    """The spec of label PNGs whose values are class indices of `space`, 255 = ignore (what stages write)."""
    return DatasetSpec(
        name=f"{space.name}_indices",
        images=("images/{id}.png",),
        labels="labels/{id}.png",
        values={name: (i,) for i, name in enumerate(space.names)},
        void=(IGNORE,),
    )


def write_index_spec(space: LabelSpace, path: Path) -> None:
    """Write `index_spec(space)` as a YAML that `load_spec` reads."""
    spec = index_spec(space)
    data = {
        "name": spec.name,
        "images": list(spec.images),
        "labels": spec.labels,
        "coding": spec.coding,
        "values": {name: list(values) for name, values in spec.values.items()},
        "void": list(spec.void),
    }
    header = f"# Label PNGs whose values are the class indices of label space {space.name}; 255 = ignore.\n"
    path.write_text(header + yaml.safe_dump(data, sort_keys=False))
