"""Options that verbs share, and how errors become one line and an exit code."""

from __future__ import annotations

import errno
import functools
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from uda.core.console import Console
from uda.core.errors import ConfigError, RunError, UdaError
from uda.core.launch import is_first_process, processes

F = TypeVar("F", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)
"""A path; whether it exists is asked where its meaning is known, so that the error can say how to mend it."""


@dataclass(frozen=True)
class Common:
    """Values of the common options; a verb that takes only some of them has the others at their defaults."""

    out: Path
    configs: tuple[str, ...] = ()
    assignments: tuple[str, ...] = ()
    tiny: bool = False
    force: bool = False
    dry_run: bool = False
    as_json: bool = False
    seed: int | None = None
    device: str | None = None


_COMMON = {
    "configs": click.option(
        "--config",
        "configs",
        multiple=True,
        metavar="NAME|FILE",
        help="A shipped config (`uda list configs`) or a YAML file; repeatable, each laid over the ones before.",
    ),
    "assignments": click.option(
        "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Change one setting; repeatable."
    ),
    "tiny": click.option("--tiny", is_flag=True, help="Apply the config's tiny overlay: minutes on a CPU."),
    "out": click.option("--out", type=PATH, required=True, help="Where results go."),
    "force": click.option("--force", is_flag=True, help="Run again even where results are complete."),
    "dry_run": click.option("--dry-run", is_flag=True, help="Say what would run and why; run nothing."),
    "as_json": click.option("--json", "as_json", is_flag=True, help="Print results as JSON."),
    "seed": click.option("--seed", type=click.IntRange(min=0), help="Seed of everything random."),
    "device": click.option("--device", help="auto, cpu, cuda or cuda:N."),
}


def parse_seeds(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, ...]:
    """Seeds out of `0,1,2`, each once; none where nothing was given.

    Raises:
        click.BadParameter: that is no list of whole numbers.
    """
    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise click.BadParameter("write whole numbers with commas between them, as in 0,1,2")
    return tuple(dict.fromkeys(int(part) for part in parts))


jobs_option = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Steps to run at a time, each in a process of its own with its share of the cores: for several GPUs, one that "
    "a step does not fill, or a CPU.",
)
"""The option of verbs that run graphs."""


_LOOP = {
    "pipeline": click.option(
        "--pipeline", default="minicity", show_default=True, help="A shipped pipeline or a YAML file."
    ),
    "source": click.option("--source", type=PATH, help="Your own manifest of labelled images."),
    "target": click.option("--target", type=PATH, help="Your own manifest of unlabelled images."),
    "val": click.option("--val", type=PATH, help="Your own manifest to score on."),
    "data": click.option("--data", type=PATH, help="Folder that holds the data sets of the pipeline."),
    "rounds": click.option(
        "--rounds", type=click.IntRange(min=0), help="Rounds; the pipeline's own number where left out."
    ),
    **_COMMON,
    "configs": click.option("--config", "configs", multiple=True, hidden=True, help="Refused, saying what to write."),
    "seeds": click.option(
        "--seeds",
        metavar="N,...",
        callback=parse_seeds,
        help="The same with several seeds, each in OUT/seed_N, and a table over all of them.",
    ),
    "out": click.option("--out", type=PATH, help="Where results go; runs/PIPELINE where left out."),
}


def _gathered(function: Callable[..., Any]) -> Callable[..., Any]:
    """The verb, its common options put into one `options: Common`."""

    @functools.wraps(function)
    def with_common(**values: Any) -> Any:
        fields = {name: values.pop(name) for name in Common.__dataclass_fields__}
        return function(options=Common(**fields), **values)

    return with_common


def _with(options: Iterable[Callable[[Any], Any]], function: Any) -> Any:
    for option in reversed(list(options)):
        function = option(function)
    return function


def common(function: F) -> F:
    """Add the common options; the verb gets them as `options: Common`."""
    return cast(F, _with(_COMMON.values(), _gathered(function)))


def common_but(**changed: Callable[[Any], Any]) -> Callable[[F], F]:
    """Add the common options, some of them in another form."""

    def add(function: F) -> F:
        return cast(F, _with({**_COMMON, **changed}.values(), _gathered(function)))

    return add


def loop(function: F) -> F:
    """Add the options of a whole loop and the common ones; without `--out` results go to `runs/PIPELINE` (`_tiny`)."""
    gathered = _gathered(function)

    @functools.wraps(function)
    def with_out(**values: Any) -> Any:
        if values["out"] is None:
            values["out"] = Path("runs", Path(values["pipeline"]).stem + ("_tiny" if values["tiny"] else ""))
            console().say(f"no --out: results go to {values['out']}")
        return gathered(**values)

    return cast(F, _with(_LOOP.values(), with_out))


def some(*names: str) -> Callable[[F], F]:
    """Add some of the common options, by their fields in `Common`; the verb gets each by that name."""

    def add(function: F) -> F:
        return cast(F, _with((_COMMON[name] for name in names), function))

    return add


def console() -> Console:
    """The console of this process; processes other than the first of a launch are quiet."""
    return Console(quiet=not is_first_process())


def given(inputs: Mapping[str, Path | None]) -> dict[str, Path]:
    """The inputs that were given, as absolute paths."""
    return {name: path.absolute() for name, path in inputs.items() if path is not None}


def run_guarded(call: Callable[[], Any]) -> int:
    """Run a command; errors become one line on stderr and an exit code: 2 settings, 3 data, 4 run, 130 interrupted."""
    debug = "--debug" in sys.argv
    try:
        processes()  # a wrong launch is told before anything is done
        with _terminated_like_interrupted():
            call()
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort) as error:
        if debug:
            traceback.print_exc()
        text = str(error)
        anew = ", with --force steps that were finished start anew" if "--force" in sys.argv else ""
        print(f"interrupted{': ' + text if text else ''}; run the same command again to go on{anew}", file=sys.stderr)
        return 130
    except Exception as error:
        if debug:
            traceback.print_exc()
        shown = as_uda_error(error)
        print("error: " + " ".join(str(shown).split()), file=sys.stderr)
        return shown.exit_code
    return 0


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Let SIGTERM (a scheduler's or the system's) end a command as Ctrl-C does; fits have a handler of their own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


def as_config_error(error: click.UsageError, command: str) -> Exception:
    """Wrong usage in one line, of `command` where the error does not know; a bare `uda` keeps its text, the help."""
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):  # click 8.1 has none
        return error
    command = error.ctx.command_path if error.ctx is not None else command
    return ConfigError(error.format_message().rstrip().rstrip("."), command, f"see {command} --help")


def as_uda_error(error: Exception) -> UdaError:
    """What went wrong in the library's terms; unforeseen errors are named by their type."""
    if isinstance(error, UdaError):
        return error
    kind = type(error).__name__
    if kind == "OutOfMemoryError" or isinstance(error, MemoryError) or "allocate memory" in str(error):
        mend = "make the batch (fit.batch, batch or render_batch), size or augment.crop smaller and run again"
        return RunError("out of memory", None, mend)
    if getattr(error, "errno", None) == errno.ENOSPC or "os error 28" in str(error):  # safetensors': no OSError
        file = getattr(error, "filename", None)
        return RunError("no space left on the disk", file, "free some and run the same command again")
    if isinstance(error, FileExistsError | NotADirectoryError):
        return ConfigError("is a file, not a folder", error.filename, "choose another --out")
    if isinstance(error, PermissionError) or (isinstance(error, OSError) and error.errno == errno.EROFS):
        return ConfigError("permission denied", error.filename, "choose another --out")
    return RunError(f"{kind}: {error}", None, "run again with --debug for the traceback")
