"""Mini-city: street scenes drawn by code, written in the layouts of GTA5, SYNTHIA and Cityscapes.

Layout (what stands where) and look (how it is painted and photographed) are separate, so that one street can be seen
as a game and as a camera: labels are then the same to the pixel.
"""

from __future__ import annotations

from uda.data.minicity.domains import DOMAINS, Domain
from uda.data.minicity.layout import Layout, sample_layout
from uda.data.minicity.look import Look
from uda.data.minicity.render import Rendering, render
from uda.data.minicity.statistics import SceneStatistics
from uda.data.minicity.write import DEFAULT_COUNTS, write_looks, write_minicity

__all__ = [
    "DEFAULT_COUNTS",
    "DOMAINS",
    "Domain",
    "Layout",
    "Look",
    "Rendering",
    "SceneStatistics",
    "render",
    "sample_layout",
    "write_looks",
    "write_minicity",
]
