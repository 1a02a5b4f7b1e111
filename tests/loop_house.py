"""A pipeline of small steps with configs of one's own, as tests of the planning ask for it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from uda.core.console import Console
from uda.core.errors import ConfigError
from uda.pipeline import Planned, Request, expand

SEGMENT = {"stage": "segment", "config": "segment.yaml"}
LOOP: dict[str, Any] = {
    "label_space": "cityscapes19",
    "rounds": 2,
    "start": {"segment": "source_only"},
    "before": {
        "city": {"stage": "minicity"},
        "source": {"stage": "prepare", "config": "source.yaml", "inputs": {"root": "city/gta5"}},
        "target": {"stage": "prepare", "config": "target.yaml", "inputs": {"root": "city/cityscapes"}},
        "val": {"stage": "prepare", "config": "target.yaml", "inputs": {"root": "city/cityscapes"}},
        "source_only": {**SEGMENT, "inputs": {"source": "source/samples.csv"}},
        "source_only_score": {
            "stage": "evaluate",
            "inputs": {"segmenter": "source_only", "target": "val/samples.csv"},
            "row": "source only",
        },
        "oracle": {**SEGMENT, "inputs": {"source": "target/samples.csv"}, "reads_target_labels": True},
        "oracle_score": {
            "stage": "evaluate",
            "inputs": {"segmenter": "oracle", "target": "val/samples.csv"},
            "row": "oracle",
        },
    },
    "each_round": {
        "translate": {
            "stage": "translate",
            "config": "translate.yaml",
            "inputs": {"source": "source/samples.csv", "target": "target/samples.csv", "guide": "previous.segment"},
        },
        "labels": {
            "stage": "pseudo-label",
            "config": "labels.yaml",
            "inputs": {"segmenter": "previous.segment", "target": "target/samples.csv"},
        },
        "segment": {**SEGMENT, "inputs": {"source": "translate/samples.csv", "pseudo": "labels/samples.csv"}},
        "evaluate": {
            "stage": "evaluate",
            "inputs": {"segmenter": "segment", "target": "val/samples.csv"},
            "row": "round {round}",
        },
    },
    "tiny": {"rounds": 1},
}
BEFORE = list(LOOP["before"])
ROUND = list(LOOP["each_round"])


class House:
    """A folder with configs and a pipeline, and what is asked of it."""

    def __init__(self, folder: Path, method: str) -> None:
        self.folder, self.out, self.method = folder, folder / "runs", method
        self.graph: dict[str, Any] = copy.deepcopy(LOOP)
        self.config("source", {"dataset": "gta5"})
        self.config("target", {"dataset": "cityscapes", "split": "train"})
        self.config("segment", {"segmenter": method, "size": [64, 128], "tiny": {"fit": {"images": 7}}})
        self.config("labels", {"strategy": method, "size": [64, 128]})
        self.config("translate", {"translator": "identity", "size": [64, 128]})

    def config(self, name: str, settings: dict[str, Any]) -> None:
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(settings))

    def step(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = {**self.graph["before"], **self.graph["each_round"]}[name]
        return found

    def request(self, *assignments: str, **fields: Any) -> Request:
        (self.folder / "loop.yaml").write_text(yaml.safe_dump(self.graph, sort_keys=False))
        return Request(pipeline="loop.yaml", out=self.out, assignments=assignments, **fields)

    def expand(self, *assignments: str, **fields: Any) -> dict[str, Planned]:
        return {one.name: one for one in expand(self.request(*assignments, **fields), Console())}

    def refused(self, *assignments: str, **fields: Any) -> str:
        with pytest.raises(ConfigError) as caught:
            self.expand(*assignments, **fields)
        return str(caught.value)

    def manifest(self, name: str, *, labels: Sequence[str] = ("",)) -> Path:
        file = self.folder / f"own_{name}.csv"
        rows = [f"{name}_{number}.png,{label},gta5" for number, label in enumerate(labels)]
        file.write_text("\n".join(["image,label,dataset", *rows]) + "\n")
        return file
