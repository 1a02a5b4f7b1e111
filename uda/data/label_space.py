"""A task's classes: names, colours, evaluation subsets, and which classes of data sets count as each of them.

Read from a YAML in `configs/label_spaces/` or of one's own. The order of the classes is the class index that label
maps, logits and confusion matrices use throughout the library.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator

from uda.core.config import Config, Layers, validate
from uda.core.errors import ConfigError, nearest
from uda.core.resources import find_yaml

IGNORE = 255
"""Label value of pixels that count nowhere."""
UNDECLARED = 254
"""Mark of a label value that the dataset spec does not declare; never left in a label map that is handed on."""

Byte = Annotated[int, Field(ge=0, le=255)]
Color = tuple[Byte, Byte, Byte]
_Key = Annotated[str, BeforeValidator(lambda key: str(key) if isinstance(key, int) else key)]


class ClassEntry(Config):
    """One class of a label space."""

    name: str
    """Name; a dataset class of the same name maps to it."""
    color: Color
    """RGB in pictures."""
    members: tuple[str, ...] = ()
    """Names of further dataset classes that map to it."""


class LabelSpace(Config):
    """The classes of a task; their position is their index."""

    name: str
    """Name of the space."""
    classes: tuple[ClassEntry, ...] = Field(min_length=1, max_length=UNDECLARED)
    """The classes in index order (254 and 255 are kept for marks)."""
    subsets: Mapping[_Key, tuple[str, ...]] = {}
    """Evaluation subsets: name (such as "16") -> names of the classes that count in its mean."""

    @model_validator(mode="after")
    def _names_fit_together(self) -> Self:
        seen: set[str] = set()
        for name in (name for entry in self.classes for name in (entry.name, *entry.members)):
            if name in seen:
                raise ValueError(f"'{name}' is named twice among the classes and their members")
            seen.add(name)
        for subset, kept in self.subsets.items():
            for name in kept:
                if name not in self.names:
                    raise ValueError(f"subset {subset}: no class '{name}', {nearest(name, self.names)}")
            if not kept or len(set(kept)) != len(kept):
                raise ValueError(f"subset {subset}: must list classes, each once")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in index order."""
        return tuple(entry.name for entry in self.classes)

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes)

    def owners(self) -> dict[str, int]:
        """Class index by the name of a class or of one of its members."""
        return {name: i for i, entry in enumerate(self.classes) for name in (entry.name, *entry.members)}

    def subset_indices(self, subset: str) -> tuple[int, ...]:
        """Class indices of an evaluation subset, in index order.

        Raises:
            ConfigError: no such subset.
        """
        if subset not in self.subsets:
            raise ConfigError(f"no subset '{subset}'", f"label space {self.name}", nearest(subset, self.subsets))
        return tuple(sorted(self.names.index(name) for name in self.subsets[subset]))

    def palette(self) -> NDArray[np.uint8]:
        """RGB by label value, (256, 3) uint8; values that are no class are black."""
        table = np.zeros((256, 3), np.uint8)
        table[: self.num_classes] = [entry.color for entry in self.classes]
        return table


def load_space(reference: str) -> LabelSpace:
    """The label space that `reference` means: a shipped name or the path of a YAML.

    Raises:
        ConfigError: no such space, or the file is wrong; all its mistakes are told.
    """
    return validate(LabelSpace, Layers().add_file(find_yaml("configs/label_spaces", reference, "label_space")))
