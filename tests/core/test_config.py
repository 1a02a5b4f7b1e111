from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, model_validator

from uda.core.config import (
    AdversaryConfig,
    Config,
    Layers,
    MethodConfig,
    TranslatorConfig,
    digest,
    file_digest,
    read_yaml,
    settings_that_matter,
    validate,
)
from uda.core.errors import ConfigError
from uda.translators.identity import IdentityConfig
from uda.translators.munit import MunitConfig


class Inner(Config):
    width: int = Field(default=4, ge=1)
    height: int = 3


class Machine(Config):
    runtime_only = frozenset({"device"})
    device: str = "auto"
    precision: str = "float32"


class Outer(Config):
    runtime_only = frozenset({"workers"})
    inner: Inner = Inner()
    machine: Machine = Machine()
    rate: float = 0.1
    workers: int = 0
    weights: Path | None = None
    names: tuple[str, ...] = ()
    parts: Mapping[str, Inner] = {}


class WithMethods(Config):
    translator: TranslatorConfig
    adversary: AdversaryConfig | None = None


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def refused(model: type[Config], layers: Layers) -> str:
    with pytest.raises(ConfigError) as caught:
        validate(model, layers)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_an_unknown_key_is_named_with_its_file_and_the_nearest_key(tmp_path: Path) -> None:
    file = write(tmp_path / "a.yaml", "inner: {widht: 3}\n")
    assert refused(Outer, Layers().add_file(file)) == f"{file}: inner.widht: unknown key, did you mean 'width'?"


def test_where_nothing_is_near_all_known_keys_are_listed() -> None:
    assert "known: height, width" in refused(Inner, Layers().add("file", {"qqqqqq": 1}))


def test_every_mistake_is_told_at_once_with_its_origin(tmp_path: Path) -> None:
    file = write(tmp_path / "a.yaml", "inner: {width: 0}\nrato: 1\n")
    text = refused(Outer, Layers().add_file(file).add_assignments(["workers=many", "inner.height=1.5"]))
    told = text.split(" | ")
    assert len(told) == 4
    assert any(one.startswith(f"{file}: inner.width: ") and "greater than or equal to 1" in one for one in told)
    assert any(one.startswith(f"{file}: rato: unknown key, did you mean 'rate'?") for one in told)
    assert any(one.startswith("--set workers=many: workers: ") and "integer" in one for one in told)
    assert any(one.startswith("--set inner.height=1.5: inner.height: ") for one in told)


def test_the_origin_is_that_of_the_last_layer_that_gave_the_value(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.yaml", "inner: {width: 0}"), write(tmp_path / "b.yaml", "inner: {width: -1}")
    assert refused(Outer, Layers().add_files([first, second])).startswith(f"{second}: inner.width")
    # A mapping given where a value stood, and the other way round.
    assert refused(Outer, Layers().add("a", {"rate": 1}).add("b", {"rate": {"x": 1}})).startswith("b: rate")
    assert refused(Outer, Layers().add("a", {"inner": {"width": 1}}).add("b", {"inner": 3})).startswith("b: inner")


class Sides(Config):
    least: int = 1
    most: int = 2

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.least > self.most:
            raise ValueError("least is more than most")
        return self


class Box(Config):
    sides: Sides = Sides()


def test_settings_that_do_not_go_together_are_told_without_an_empty_key() -> None:
    assert refused(Sides, Layers().add("file", {"least": 3})) == "file: least is more than most"
    assert refused(Box, Layers().add("file", {"sides": {"least": 3}})) == "file: sides: least is more than most"


def test_infinity_is_no_number() -> None:
    assert "finite" in refused(Outer, Layers().add_assignments(["rate=.inf"]))


def test_braces_in_a_value_do_not_break_the_message() -> None:
    assert "unknown key" in refused(Outer, Layers().add("file", {"{x}": "{y}"}))


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Outer().rate = 1.0


@pytest.mark.parametrize("text", ["rate: 1\nrate: 2\n", "inner: {width: 1, width: 2}\n", "parts: {a: {}, a: {}}\n"])
def test_a_key_given_twice_is_refused(tmp_path: Path, text: str) -> None:
    file = write(tmp_path / "a.yaml", text)
    with pytest.raises(ConfigError, match="given twice") as caught:
        read_yaml(file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [("- 1\n", "mapping"), ("a: [1\n", "mend the YAML"), ("3\n", "mapping of settings; write lines of `key: value`")],
)
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_yaml(write(tmp_path / "a.yaml", text))


def test_an_empty_file_holds_no_settings_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    assert read_yaml(write(tmp_path / "a.yaml", "# only a header\n")) == {}
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read \(No such file or directory\); check the path"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\); see that it is a file and may be read"):
        read_yaml(tmp_path)


def test_a_python_tag_in_yaml_is_not_run(tmp_path: Path) -> None:
    file = write(tmp_path / "a.yaml", "rate: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(ConfigError, match="could not determine a constructor"):
        read_yaml(file)


def test_the_tiny_overlay_counts_only_where_asked_for(tmp_path: Path) -> None:
    file = write(tmp_path / "a.yaml", "rate: 1\ninner: {width: 9, height: 9}\ntiny: {inner: {width: 2}}\n")
    full, tiny = (validate(Outer, Layers().add_file(file, tiny=asked)) for asked in (False, True))
    assert (full.inner, tiny.inner) == (Inner(width=9, height=9), Inner(width=2, height=9))


def test_tiny_overlays_come_after_all_files_and_say_so(tmp_path: Path) -> None:
    first = write(tmp_path / "a.yaml", "inner: {width: 9}\ntiny: {inner: {width: 0}}\n")
    second = write(tmp_path / "b.yaml", "inner: {width: 5}\n")
    assert refused(Outer, Layers().add_files([first, second], tiny=True)).startswith(f"{first} (tiny): inner.width")


def test_a_tiny_overlay_does_not_bring_back_what_a_later_file_switched_off(tmp_path: Path) -> None:
    full = write(
        tmp_path / "full.yaml",
        "translator: {name: munit}\nadversary: {name: x}\ntiny: {translator: {width: 2}, adversary: {width: 4}}\n",
    )
    without = write(tmp_path / "without.yaml", "adversary: null\n")
    config = validate(WithMethods, Layers().add_files([full, without], tiny=True))
    assert config.adversary is None
    assert config.translator == MunitConfig(width=2)
    # What nobody spoke of yet, and what is no mapping, can be set.
    only = write(tmp_path / "only.yaml", "weights: null\ntiny: {weights: w.pth, inner: {width: 2}}\n")
    outer = validate(Outer, Layers().add_file(only, tiny=True))
    assert (outer.weights, outer.inner.width) == (Path("w.pth"), 2)


def test_a_tiny_overlay_does_not_bring_back_the_method_that_a_later_file_replaced(tmp_path: Path) -> None:
    tiny = "tiny: {translator: {name: sait, width: 4}, rate: 2}"
    first = write(tmp_path / "first.yaml", "translator: {name: sait}\n" + tiny)
    second = write(tmp_path / "second.yaml", "translator: {name: munit, width: 8}\n")
    layers = Layers().add_files([first, second], tiny=True)
    assert layers.data == {"translator": {"name": "munit", "width": 8}, "rate": 2}
    assert Layers().add_files([second, first], tiny=True).data["translator"] == {"name": "sait", "width": 4}


def test_a_tiny_overlay_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tiny: must hold a mapping of settings; write `tiny: {key: value}`"):
        Layers().add_file(write(tmp_path / "a.yaml", "tiny: 3\n"), tiny=True)


def test_assignments_are_read_as_yaml_and_come_last() -> None:
    layers = Layers().add("file", {"rate": 5, "names": ["x"]})
    config = validate(Outer, layers.add_assignments(["rate=1e-3", "names=[a, b]", "weights=null", "inner.width=7"]))
    assert (config.rate, config.names, config.weights, config.inner.width) == (0.001, ("a", "b"), None, 7)


@pytest.mark.parametrize("text", ["rate", "=3", "rate=[1"])
def test_what_is_no_assignment_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        Layers().add_assignments([text])


def test_a_value_that_is_no_yaml_says_how_to_mend_it() -> None:
    with pytest.raises(ConfigError, match=r"^--set a=\[1: .*; mend the YAML of its value$"):
        Layers().add_assignments(["a=[1"])


def test_layers_do_not_change_what_was_given() -> None:
    given_data = {"inner": {"width": 1}}
    Layers().add("a", given_data).add_assignments(["inner.width=2"])
    assert given_data == {"inner": {"width": 1}}


def test_a_layer_with_another_name_replaces_the_method_and_one_without_changes_it() -> None:
    layers = Layers().add("a", {"translator": {"name": "munit", "style_length": 4}})
    same = validate(WithMethods, layers.add("b", {"translator": {"width": 32}}))
    assert isinstance(same.translator, MunitConfig)
    assert (same.translator.style_length, same.translator.width) == (4, 32)
    other = validate(WithMethods, layers.add_assignments(["translator.name=identity"]))
    assert other.translator == IdentityConfig()


def test_a_method_is_named_by_a_string_or_a_mapping() -> None:
    by_string, by_mapping = (
        WithMethods.model_validate({"translator": raw}) for raw in ("identity", {"name": "identity"})
    )
    assert by_string == by_mapping
    assert isinstance(by_string.translator, IdentityConfig)
    assert WithMethods(translator=IdentityConfig()) == by_string


def test_an_unknown_method_is_told_with_the_nearest_name_and_the_origin() -> None:
    text = refused(WithMethods, Layers().add_assignments(["translator.name=munti"]))
    assert text.startswith("--set translator.name=munti: translator: unknown method 'munti' in translators")
    assert text.endswith("did you mean 'munit'?")


@pytest.mark.parametrize("raw", [3, {"width": 1}, {"name": 3}, None])
def test_what_names_no_method_is_refused(raw: Any) -> None:
    assert "must name a method of translators" in refused(WithMethods, Layers().add("file", {"translator": raw}))


def test_a_mistake_inside_a_method_is_told_with_its_full_key() -> None:
    text = refused(WithMethods, Layers().add("file", {"translator": {"name": "munit", "style_lenght": 3}}))
    assert text == "file: translator.style_lenght: unknown key, did you mean 'style_length'?"


def test_a_method_outside_the_package_is_named_by_module_and_class(plugin: str) -> None:
    config = WithMethods.model_validate({"translator": {"name": plugin, "width": 7}, "adversary": plugin})
    assert config.translator.model_dump() == {"name": plugin, "width": 7, "depth": 2}
    assert isinstance(config.adversary, MethodConfig)
    assert WithMethods.model_validate(config.model_dump()) == config
    bad = Layers().add("file", {"translator": {"name": plugin, "widht": 7}})
    assert refused(WithMethods, bad) == "file: translator.widht: unknown key, did you mean 'width'?"


@pytest.mark.parametrize(
    ("name", "said"),
    [("no_such_module_:X", "cannot load"), ("uda_plugin:Nope", "cannot load"), ("uda_plugin:Bare", "Config")],
)
def test_a_plugin_that_cannot_be_loaded_says_why(plugin: str, name: str, said: str) -> None:
    assert said in refused(WithMethods, Layers().add("file", {"translator": name}))


def test_defaults_and_runtime_fields_do_not_count() -> None:
    assert settings_that_matter(Outer()) == {}
    assert settings_that_matter(Outer(workers=8)) == {}
    assert settings_that_matter(Outer(rate=0.1, inner=Inner(width=4))) == {}
    assert settings_that_matter(Outer(machine=Machine(device="cuda"))) == {}
    assert settings_that_matter(Outer(machine=Machine(device="cuda", precision="bfloat16"))) == {
        "machine": {"precision": "bfloat16"}
    }
    assert settings_that_matter(Outer(inner=Inner(width=5), names=("a",), parts={"p": Inner(height=9)})) == {
        "inner": {"width": 5},
        "names": ["a"],
        "parts": {"p": {"height": 9}},
    }


def test_a_method_counts_by_name_and_what_differs_from_its_defaults() -> None:
    default = WithMethods(translator=MunitConfig())
    assert settings_that_matter(default) == {"translator": {"name": "munit"}}
    assert settings_that_matter(WithMethods(translator=MunitConfig(style_length=3))) == {
        "translator": {"name": "munit", "style_length": 3}
    }


def test_a_file_counts_by_its_content(tmp_path: Path) -> None:
    one, other = tmp_path / "one.bin", tmp_path / "other.bin"
    one.write_bytes(b"weights")
    other.write_bytes(b"weights")
    assert settings_that_matter(Outer(weights=one)) == settings_that_matter(Outer(weights=other))
    before = settings_that_matter(Outer(weights=one))
    one.write_bytes(b"other weights")
    assert settings_that_matter(Outer(weights=one)) != before == {"weights": {"sha256": file_digest(other)}}
    missing = tmp_path / "none"
    assert settings_that_matter(Outer(weights=missing)) == {"weights": {"path": str(missing)}}


def test_digests_do_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [2, 3]}) == digest({"b": [2, 3], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert digest([1, 2]) != digest([2, 1])


OUTER = st.fixed_dictionaries(
    {},
    optional={
        "inner": st.fixed_dictionaries({}, optional={"width": st.integers(1, 99), "height": st.integers(-9, 9)}),
        "rate": st.floats(allow_nan=False, allow_infinity=False),
        "workers": st.integers(0, 9),
        "names": st.lists(st.text("ab: #-1", max_size=4), max_size=3),
    },
)


def merged(layers: list[dict[str, Any]]) -> dict[str, Any]:
    """What the merge has to give, said another way: leaf by leaf."""
    found: dict[str, Any] = {}
    for layer in layers:
        found |= {key: value for key, value in layer.items() if key != "inner"}
        found["inner"] = {**found.get("inner", {}), **layer.get("inner", {})}
    return found


@given(st.lists(OUTER, max_size=4))
def test_merging_layers_keeps_the_last_value_of_every_leaf_and_survives_yaml(layers: list[dict[str, Any]]) -> None:
    stack = Layers()
    for number, layer in enumerate(layers):
        stack.add(f"layer {number}", layer)
    config = validate(Outer, stack)
    assert config == Outer.model_validate(merged(layers))
    dumped = yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))
    again = validate(Outer, Layers().add("dump", dumped))
    assert again == config
    assert settings_that_matter(again) == settings_that_matter(config)
    # What matters is enough to build the same results again.
    rebuilt = Outer.model_validate(settings_that_matter(config))
    assert rebuilt == config.model_copy(update={"workers": 0})


@given(st.lists(OUTER, min_size=1, max_size=3))
def test_every_leaf_knows_the_layer_that_gave_it(layers: list[dict[str, Any]]) -> None:
    stack = Layers()
    for number, layer in enumerate(layers):
        stack.add(f"layer {number}", layer)
    for key in ("rate", "workers", "names"):
        giving = [number for number, layer in enumerate(layers) if key in layer]
        if giving:
            assert stack.origin((key,)) == f"layer {giving[-1]}"
    for key in ("width", "height"):
        giving = [number for number, layer in enumerate(layers) if key in layer.get("inner", {})]
        if giving:
            assert stack.origin(("inner", key)) == f"layer {giving[-1]}"


@pytest.mark.parametrize(
    ("data", "said"),
    [("name: ü\n".encode("latin-1"), "is no UTF-8 text; save it"), (b"[1, 2]: 3\n", "[1, 2] is no key")],
)
def test_files_that_are_no_settings_are_told(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "a.yaml").write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        read_yaml(tmp_path / "a.yaml")
    assert f"a.yaml: {said}" in str(caught.value)


def test_what_a_yaml_may_hold_has_a_digest() -> None:
    text = "subsets: {2: [road, car], moving: [car]}\nname: 2024-05-01\non: true\n"
    assert digest(yaml.safe_load(text)) == digest(yaml.safe_load(text))
    assert digest(yaml.safe_load(text)) != digest(yaml.safe_load(text.replace("05-01", "05-02")))
    assert digest(yaml.safe_load(text)) != digest(yaml.safe_load(text.replace("2: [road", "3: [road")))
