"""The three data sets: statistics of their streets and look of their pictures."""

from __future__ import annotations

from dataclasses import dataclass

from uda.data.minicity.look import Look
from uda.data.minicity.looks import CITYSCAPES_LOOK, GTA5_LOOK, SYNTHIA_LOOK
from uda.data.minicity.statistics import CITYSCAPES_STATISTICS, GTA5_STATISTICS, SYNTHIA_STATISTICS, SceneStatistics


@dataclass(frozen=True)
class Domain:
    """Where pictures come from: what is in the street, and how it looks."""

    statistics: SceneStatistics
    look: Look


DOMAINS: dict[str, Domain] = {
    "gta5": Domain(GTA5_STATISTICS, GTA5_LOOK),
    "synthia": Domain(SYNTHIA_STATISTICS, SYNTHIA_LOOK),
    "cityscapes": Domain(CITYSCAPES_STATISTICS, CITYSCAPES_LOOK),
}
"""Domains by the name of the data set whose layout on disk they take."""
