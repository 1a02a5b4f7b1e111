from __future__ import annotations

from pathlib import Path

import pytest

from uda.core import listing, registry, resources
from uda.core.errors import ConfigError


@pytest.mark.parametrize("kind", listing.KINDS)
def test_everything_listed_has_a_sentence(kind: str) -> None:
    found = listing.entries(kind)
    assert list(found) == sorted(found)
    empty = [name for name, sentence in found.items() if len(sentence.split()) < 3]
    assert found
    assert not empty


def test_kinds_are_counted() -> None:
    found = listing.counts()
    assert set(found) == {*listing.KINDS} - {"strategies"}
    assert found["translators"] == f"{len(registry.names('translators'))}, by `uda list translators`"


def test_kinds_are_told_apart() -> None:
    assert set(listing.entries("strategies")) == set(registry.names("pseudo_labels"))
    assert "cityscapes19" in listing.entries("label_spaces")
    assert {"gta5", "cityscapes", "synthia"} <= set(listing.entries("datasets"))
    configs = listing.entries("configs")
    assert "translate/sait" in configs
    assert not [name for name in configs if name.startswith(("datasets/", "label_spaces/"))]
    with pytest.raises(ConfigError, match="did you mean 'translators'"):
        listing.entries("translator")


def test_a_headline_is_the_first_comment_line(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("# What it is.\n# More.\na: 1\n")
    (tmp_path / "b.yaml").write_text("a: 1\n# late\n")
    assert (listing.headline(tmp_path / "a.yaml"), listing.headline(tmp_path / "b.yaml")) == ("What it is.", "")


def test_a_headline_is_a_whole_sentence(tmp_path: Path) -> None:
    texts = {
        "# Of many\n# lines (et al. 2009) in a.yaml. More.\n": "Of many lines (et al. 2009) in a.yaml.",
        "# A title\n# Run: it\nkey: 1. No comment.\n": "A title",
    }
    for text, headline in texts.items():
        (tmp_path / "a.yaml").write_text(text)
        assert listing.headline(tmp_path / "a.yaml") == headline
    kinds = ("configs", "pipelines", "datasets", "label_spaces")
    cut = [one for kind in kinds for one in listing.entries(kind).values() if not one.endswith(".")]
    assert not cut


def test_shown_yamls_are_found_by_every_name_that_is_listed() -> None:
    for kind in ("configs", "pipelines", "datasets", "label_spaces"):
        for name in listing.entries(kind):
            assert listing.shipped_yaml(name).is_file()
    assert listing.shipped_yaml("gta5.yaml") == resources.folder("configs") / "datasets/gta5.yaml"
    with pytest.raises(ConfigError, match="did you mean 'cityscapes19'"):
        listing.shipped_yaml("cityscapes1")
