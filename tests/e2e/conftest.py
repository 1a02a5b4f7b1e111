"""One tiny mini-city on disk and the trail of every verb over it, made once for all tests of a worker."""

from __future__ import annotations

import contextlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from uda.cli import main

SEGMENT = ("--config", "segment/minicity", "--tiny")
"""The smallest segmenter that ships."""


@dataclass(frozen=True)
class Answer:
    """What a command left with: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


def call(*arguments: object) -> Answer:
    """Run `uda` with these arguments in this process."""
    out, err = io.StringIO(), io.StringIO()
    argv = ["uda", *(str(one) for one in arguments)]
    with (
        mock.patch.object(sys, "argv", argv),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as left,
    ):
        main()
    assert isinstance(left.value.code, int)
    return Answer(left.value.code, out.getvalue(), err.getvalue())


def must(*arguments: object) -> Answer:
    """Run `uda`, which has to end well."""
    answer = call(*arguments)
    assert answer.code == 0, answer.err
    return answer


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened)


@dataclass(frozen=True)
class Trail:
    """Where each verb of the trail left its results, below one folder."""

    root: Path

    def __getattr__(self, name: str) -> Path:
        return self.root / name

    def csv(self, name: str) -> Path:
        """A manifest that `uda prepare` wrote."""
        return self.root / f"{name}.csv"


@pytest.fixture(scope="session")
def city(tmp_path_factory: pytest.TempPathFactory) -> Trail:
    """A rendered mini-city in three layouts, and its manifests."""
    trail = Trail(tmp_path_factory.mktemp("city"))
    must("minicity", "--tiny", "--out", trail.data)
    must("prepare", "gta5", trail.data / "gta5", "--out", trail.csv("source"))
    must("prepare", "synthia", trail.data / "synthia", "--out", trail.csv("synthia"))
    for split in ("train", "val"):
        must("prepare", "cityscapes", trail.data / "cityscapes", "--split", split, "--out", trail.csv(split))
    return trail


@pytest.fixture(scope="session")
def trail(city: Trail) -> Trail:
    """Each stage of one round by its own command."""
    source, target = ("--source", city.csv("source")), ("--target", city.csv("train"))
    no_adversary = ("--set", "adversary=null", "--set", "target_statistics=0")
    must("segment", *SEGMENT, *no_adversary, *source, "--out", city.first)
    must(
        "translate", "--config", "translate/minicity", "--tiny", *source, *target, "--guide", city.first,
        "--set", "render_target=true", "--out", city.translated,
    )  # fmt: skip
    pseudo = ("pseudo-label", "--config", "pseudo_label/minicity", "--tiny", "--segmenter", city.first)
    must(*pseudo, *target, "--out", city.pseudo)
    translated = ("--source", city.translated / "samples.csv")
    must(
        "segment", *SEGMENT, *translated, *target, "--pseudo", city.pseudo / "samples.csv", "--init", city.first,
        "--out", city.second,
    )  # fmt: skip
    scored = ("evaluate", "--config", "evaluate/minicity", "--tiny", "--target", city.csv("val"))
    must(*scored, "--segmenter", city.second, "--out", city.score)
    return city
