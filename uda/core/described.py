"""Settings as people read them: each by the name that `--set` takes, with its value and what it means."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from uda.core.config import Config
from uda.core.errors import ConfigError, nearest


@dataclass(frozen=True)
class Setting:
    """One setting: `key` as in `--set key=value`, its value as plain data, and its docstring ("" where it has none)."""

    key: str
    value: Any
    meaning: str

    def __str__(self) -> str:
        """`key=value`, the value in YAML on one line (JSON is YAML), and its meaning in lines below."""
        text = self.value if isinstance(self.value, str) else json.dumps(self.value)
        wrapped = textwrap.wrap(self.meaning, 96, break_on_hyphens=False)
        return "\n".join([f"{self.key}={text}", *(f"    {line}" for line in wrapped)])


def settings_called(part: str | None, config: Config, where: str, idle: Mapping[str, str]) -> list[Setting]:
    """The settings that are called `part` or are in a group of that name; all of them for None.

    Those that nothing reads are none of them, for a command would refuse them.

    Args:
        part: one name or several in a row, as in `lr` or `translator.weights`.
        config: validated settings.
        where: said in the error.
        idle: settings, or groups of them, that nothing reads, each with why.

    Raises:
        ConfigError: there are none; the nearest name is given, or why nothing reads it.
    """
    whole = list(settings(config))
    unread = {one.key: why for one in whole for key, why in idle.items() if f"{one.key}.".startswith(f"{key}.")}
    listed = [one for one in whole if one.key not in unread]
    if part is None:
        return listed
    if chosen := [one for one in listed if f".{part}." in f".{one.key}."]:
        return chosen
    if whys := {why for key, why in unread.items() if f".{part}." in f".{key}."}:
        raise ConfigError(f"nothing reads '{part}': {', '.join(sorted(whys))}", where, "leave it out")
    names = {name for one in listed for name in one.key.split(".")} | {one.key for one in listed}
    raise ConfigError(f"no setting is called '{part}'", where, nearest(part, names))


def settings(config: Config, below: str = "") -> Iterator[Setting]:
    """Every single setting in the order of the class, groups of settings and chosen methods opened up.

    Args:
        config: validated settings.
        below: what their names begin with, with its full stop.
    """
    plain = config.model_dump(mode="json")
    for name, field in type(config).model_fields.items():
        yield from _of(f"{below}{name}", getattr(config, name), plain[name], field.description or "")


def _of(key: str, value: Any, plain: Any, meaning: str) -> Iterator[Setting]:
    if isinstance(value, Config):
        yield from settings(value, f"{key}.")
    elif isinstance(value, Mapping) and value and all(isinstance(one, Config) for one in value.values()):
        for name, one in value.items():
            yield from settings(one, f"{key}.{name}.")
    else:
        yield Setting(key, plain, " ".join(meaning.split()))
