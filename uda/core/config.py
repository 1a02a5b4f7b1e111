"""Typed, frozen settings out of YAML files and `--set`, with every mistake told at once.

A setting's way: the class's default, then the config file, then its `tiny` overlay where asked for, then `--set`.
Each layer is merged over the last and remembered by name, so that an error can say which file or flag it is in.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    SerializeAsAny,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from uda.core import registry
from uda.core.errors import ConfigError, nearest

try:  # libyaml, eight times as fast: a pipeline reads some hundred YAML files
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # PyYAML that was built without it
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]  # another class of that name


class Config(BaseModel):
    """Base of all settings: frozen, unknown keys refused with the nearest known one."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    runtime_only: ClassVar[frozenset[str]] = frozenset()
    """Fields that change how a stage runs but not what comes out; no part of the fingerprint."""

    @model_validator(mode="before")
    @classmethod
    def _keep_defaults(cls, data: Any) -> Any:
        """Lay a given mapping over its field's default, so that setting a rate keeps a method's own betas."""
        if not isinstance(data, Mapping):
            return data
        defaults = {key: field.get_default(call_default_factory=True) for key, field in cls.model_fields.items()}
        return {key: merged_over(defaults.get(key), value) for key, value in data.items()}

    @model_validator(mode="wrap")
    @classmethod
    def _name_nearest_key(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            details = [_with_hint(item, cls.model_fields) for item in error.errors(include_url=False)]
            raise ValidationError.from_exception_data(cls.__name__, details) from None


def _with_hint(item: Any, fields: Iterable[str]) -> InitErrorDetails:
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "extra_forbidden" and len(item["loc"]) == 1:
        message = f"unknown key, {nearest(str(item['loc'][0]), fields)}"
    escaped = message.replace("{", "{{").replace("}", "}}")
    kind = "explained" if item["type"] == "extra_forbidden" else item["type"]
    return InitErrorDetails(type=PydanticCustomError(kind, escaped), loc=item["loc"], input=item["input"])


EXPLAINED = "explained"
"""The type of the errors by which validators refuse settings by name."""


def refusal(told: Mapping[tuple[str, ...], str]) -> ValidationError:
    """What a validator raises to refuse settings by name, each with what is wrong with it."""
    return ValidationError.from_exception_data(
        "settings",
        [
            InitErrorDetails(type=PydanticCustomError(EXPLAINED, "{told}", {"told": line}), loc=path, input=None)
            for path, line in told.items()
        ],
    )


def away_from_default(config: Config, keys: Iterable[str]) -> dict[tuple[str, ...], Any]:
    """Which settings are away from their defaults, each with its default; a group's may be 0 as well, which is off.

    Args:
        config: whose they are.
        keys: of settings, `group.key` too, or of groups, which stand for all that is in them.
    """
    found: dict[tuple[str, ...], Any] = {}
    for key in keys:
        value: Any = config
        default: Any = None
        path = tuple(key.split("."))
        for part in path:
            if not isinstance(value, Config):
                break  # a part that is switched off
            default = getattr(default, part) if type(default) is type(value) else _default_of(value, part)
            value = getattr(value, part)
        else:
            found |= _away(path, value, default)
    return found


def _away(path: tuple[str, ...], value: Any, default: Any) -> dict[tuple[str, ...], Any]:
    if isinstance(value, Config):
        fields = type(value).model_fields
        other = default if type(default) is type(value) else None
        inner = {key: _default_of(value, key) if other is None else getattr(other, key) for key in fields}
        parts = (_away((*path, key), getattr(value, key), inner[key]) for key in fields)
        return {at: plain for part in parts for at, plain in part.items()}
    return {} if value == default or (len(path) > 1 and value == 0) else {path: default}


def _default_of(config: Config, key: str) -> Any:
    return type(config).model_fields[key].get_default(call_default_factory=True)


def merged_over(default: Any, given: Any) -> Any:
    """A given (partial) mapping laid over a default setting or mapping of settings; anything else as it is.

    Where `name` differs the default's other keys belong to something else and are dropped.
    """
    base = default.model_dump() if isinstance(default, Config) else default
    if not isinstance(given, Mapping) or not isinstance(base, Mapping):
        return given
    if "name" in base and given.get("name", base["name"]) != base["name"]:
        return given
    return {**base, **{key: merged_over(base.get(key), value) for key, value in given.items()}}


class MethodConfig(Config):
    """Base of a method's settings; `name` is the method's name in its family."""

    name: str


def _method(family: str, raw: Any) -> Any:
    if isinstance(raw, MethodConfig):
        return raw
    if isinstance(raw, str):
        raw = {"name": raw}
    if not isinstance(raw, Mapping) or not isinstance(raw.get("name"), str):
        raise ValueError(f"must name a method of {family}, as in `name: {registry.names(family)[0]}`")
    try:
        cls = registry.load(family, raw["name"])
    except ConfigError as error:
        raise ValueError(str(error)) from error
    return cls.Config.model_validate(dict(raw))


def _of(family: str) -> BeforeValidator:
    return BeforeValidator(lambda raw: _method(family, raw))


TranslatorConfig = Annotated[SerializeAsAny[MethodConfig], _of("translators")]
SegmenterConfig = Annotated[SerializeAsAny[MethodConfig], _of("segmenters")]
AdversaryConfig = Annotated[SerializeAsAny[MethodConfig], _of("adversaries")]
PseudoLabelConfig = Annotated[SerializeAsAny[MethodConfig], _of("pseudo_labels")]

_Side = Annotated[int, Field(ge=1)]
Size = tuple[_Side, _Side]
"""Height and width in pixels."""

C = TypeVar("C", bound=Config)


class _UniqueKeyLoader(_SafeLoader):
    """A YAML loader that refuses a key given twice in one mapping."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, f"{key} is no key", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key}' is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; duplicate keys are refused.

    Raises:
        ConfigError: unreadable, not YAML, or not a mapping.
    """
    try:
        data = yaml.load(path.read_text(), Loader=_UniqueKeyLoader)  # noqa: S506  # a SafeLoader at heart
    except OSError as error:
        mend = "check the path" if isinstance(error, FileNotFoundError) else "see that it is a file and may be read"
        raise ConfigError(f"cannot be read ({error.strerror})", path, mend) from error
    except UnicodeDecodeError as error:
        raise ConfigError("is no UTF-8 text", path, "save it as UTF-8") from error
    except yaml.YAMLError as error:
        raise ConfigError(" ".join(str(error).split()), path, "mend the YAML") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError("must hold a mapping of settings", path, "write lines of `key: value`")
    return data


class Layers:
    """Settings merged from several origins, with the origin of every leaf kept."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self._origins: dict[tuple[str, ...], str] = {}

    def add(self, origin: str, data: Mapping[str, Any]) -> Layers:
        """Merge `data` over what is there.

        A mapping whose `name` differs from the one below it replaces it: its keys belong to another method.
        """
        self._merge(self.data, data, (), origin)
        return self

    def add_files(self, paths: Sequence[Path], *, tiny: bool = False) -> Layers:
        """Merge YAML files in order and then, where asked for, their top-level `tiny` overlays in order.

        A tiny overlay makes parts smaller; it does not bring back a part that a later file has set to null, nor a
        method that a later file has replaced.
        """
        overlays = []
        for path in paths:
            data = read_yaml(path)
            if overlay := data.pop("tiny", None):
                if not isinstance(overlay, dict):
                    raise ConfigError("tiny: must hold a mapping of settings", path, "write `tiny: {key: value}`")
                overlays.append((f"{path} (tiny)", overlay))
            self.add(str(path), data)
        for origin, overlay in overlays if tiny else []:
            self.add(origin, _without_gone(overlay, self.data))
        return self

    def add_file(self, path: Path, *, tiny: bool = False) -> Layers:
        """Merge one YAML file, and its `tiny` overlay over it where asked for."""
        return self.add_files([path], tiny=tiny)

    def add_assignments(self, assignments: Sequence[str]) -> Layers:
        """Merge `a.b=value` assignments; values are read as YAML."""
        for text in assignments:
            key, sign, value = text.partition("=")
            if not sign or not key:
                raise ConfigError(f"'{text}' is no assignment", "--set", "write it as key.subkey=value")
            try:
                leaf: Any = yaml.safe_load(value)
            except yaml.YAMLError as error:
                what = " ".join(str(error).split())
                raise ConfigError(what, f"--set {text}", "mend the YAML of its value") from error
            for part in reversed(key.split(".")):
                leaf = {part: leaf}
            self.add(f"--set {text}", leaf)
        return self

    def origin(self, location: Sequence[Any]) -> str:
        """Where the setting at `location` (or the nearest one around or below it) was given."""
        path = tuple(str(part) for part in location)
        for length in range(len(path), -1, -1):
            if path[:length] in self._origins:
                return self._origins[path[:length]]
            below = [origin for key, origin in self._origins.items() if key[:length] == path[:length]]
            if below:
                return below[-1]
        return "settings"

    def _merge(self, base: dict[str, Any], over: Mapping[str, Any], at: tuple[str, ...], origin: str) -> None:
        for key, value in over.items():
            path, old = (*at, str(key)), base.get(key)
            if isinstance(value, Mapping) and isinstance(old, dict) and not _other_method(old, value):
                self._merge(old, value, path, origin)
                continue
            self._origins = {known: name for known, name in self._origins.items() if known[: len(path)] != path}
            base[key] = copy.deepcopy(dict(value) if isinstance(value, Mapping) else value)
            self._mark(base[key], path, origin)

    def _mark(self, value: Any, path: tuple[str, ...], origin: str) -> None:
        self._origins[path] = origin
        if isinstance(value, dict):
            for key, inner in value.items():
                self._mark(inner, (*path, str(key)), origin)


def _without_gone(overlay: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """The overlay without its mappings for what is null in `base`, or another method there."""
    kept = {}
    for key, value in overlay.items():
        if isinstance(value, Mapping) and key in base:
            there = base[key]
            if there is None or (isinstance(there, Mapping) and _other_method(there, value)):
                continue
            kept[key] = _without_gone(value, there) if isinstance(there, Mapping) else value
        else:
            kept[key] = value
    return kept


def _other_method(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return "name" in new and "name" in old and new["name"] != old["name"]


def validate(model: type[C], layers: Layers) -> C:
    """Build the settings, or tell all that is wrong with them at once.

    Raises:
        ConfigError: one line; several mistakes are parted by ` | `, each with its origin and key.
    """
    try:
        return model.model_validate(layers.data)
    except ValidationError as error:
        lines = []
        for item in error.errors(include_url=False):
            key = ".".join(str(part) for part in item["loc"])  # none where several settings do not go together
            told = (layers.origin(item["loc"]), key, item["msg"].removeprefix("Value error, "))
            lines.append(": ".join(part for part in told if part))
        raise ConfigError(" | ".join(lines), None, None) from None


def settings_that_matter(config: Config) -> dict[str, Any]:
    """What of the settings belongs to the fingerprint.

    Defaults and runtime-only fields are left out, so that a new setting at its default changes no fingerprint; a
    file given by path counts by the SHA-256 of its bytes, and so does the file of a method's code outside the package
    (not what that imports).
    """
    kept: dict[str, Any] = {}
    for field, info in type(config).model_fields.items():
        if field in config.runtime_only:
            continue
        value = _plain(getattr(config, field))
        # Compared as they count, so that a part that differs in runtime-only fields alone is at its default.
        if field == "name" or info.is_required() or value != _plain(info.get_default(call_default_factory=True)):
            kept[field] = value
    if isinstance(config, MethodConfig) and (code := registry.source_file(config.name)) is not None:
        kept["code"] = {code.name: file_digest(code)}
    return kept


def _plain(value: Any) -> Any:
    if isinstance(value, Config):
        return settings_that_matter(value)
    if isinstance(value, Path):
        return {"sha256": file_digest(value)} if value.is_file() else {"path": str(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: Any) -> str:
    """SHA-256 of what a YAML may hold, in canonical form, in hex."""
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    except TypeError:  # dates, or keys that are numbers beside keys that are words
        text = json.dumps(_as_text(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _as_text(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _as_text(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_as_text(inner) for inner in value]
    return value if isinstance(value, str | int | float | None) else str(value)


Precision = Literal["auto", "float32", "bfloat16"]
