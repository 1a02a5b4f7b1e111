"""Translators side by side: quality, seconds, memory, and what a segmenter learns from each one's images.

python tools/compare_translators.py --out runs/translators
python tools/compare_translators.py --data camvid --camvid ROOT --set segment.segmenter.pretrained=WEIGHTS --out DIR

The whole comparison is one graph of ordinary stages (`uda/compare.py`): what is complete is skipped, with the reason
said, and an interrupted comparison goes on where it stopped. docs/translators.md says what is compared.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from uda import pipeline, runner
from uda.cli_options import (
    PATH,
    as_config_error,
    as_uda_error,
    console,
    jobs_option,
    parse_seeds,
    run_guarded,
    some,
)
from uda.compare import DATA, Wanted, plan
from uda.compare_recipes import find_recipe, recipe_names
from uda.core.console import Console, size
from uda.core.errors import ConfigError, DataError, RunError, UdaError
from uda.core.manifest import write_atomically
from uda.core.rundir import to_itself
from uda.cost.estimate import estimate
from uda.pipeline import Planned
from uda.stages._report.reading import read_runs
from uda.stages._report.translations import markdown

_RECORD, _TABLE = "comparison.json", "translators.md"


def announce(planned: Sequence[Planned], speaker: Console, *, dry_run: bool) -> None:
    """Say for every step whether it runs and why, once it is known that all can, and how much disk that takes."""
    decisions = pipeline.plan(planned, force=False)
    tell = speaker.result if dry_run else speaker.say
    for one, decision in decisions:
        tell(f"{one.name}: {decision.action} ({decision.reason})")
    todo = [one for one, decision in decisions if decision.action != "skip"]
    disk = size(estimate(planned, todo, speaker, measure=False).bytes)
    speaker.say(f"{len(todo)} of {len(planned)} steps are to be run; they need about {disk} of disk")


def write_table(out: Path, names: Sequence[str], seeds: Sequence[int], speaker: Console) -> None:
    """Print the table of what is there, and write it.

    Raises:
        DataError: nothing is there.
    """
    (run,) = read_runs([out])
    record = out / _RECORD
    command = json.loads(record.read_text())["command"] if record.is_file() else None
    text = markdown(run, command=command, names=names, seeds=seeds)
    write_atomically(out / _TABLE, text.encode())
    speaker.result(text.rstrip())


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--data", type=click.Choice(tuple(DATA)), default="minicity", show_default=True, help="Compared on what.")
@click.option("--camvid", type=PATH, help="Folder of CamVid, which holds train, trainannot, val and valannot.")
@click.option(
    "--translators",
    metavar="NAME,...",
    help="Small recipes or YAML files; all small recipes if left out. NAME@0.1: on a tenth of the true labels.",
)
@click.option("--seeds", default="0,1,2", show_default=True, callback=parse_seeds, help="Seeds of fits and segmenters.")
@click.option("--fit-images", type=click.IntRange(min=1), help="Images of every fit; the recipes' own if left out.")
@click.option("--segment-images", type=click.IntRange(min=1), help="Images that each segmenter is trained on.")
@jobs_option
@click.option("--table-only", is_flag=True, help="Run nothing; make the table of what is there.")
@some("assignments", "tiny", "out", "dry_run", "device")
@click.pass_obj
def compare(
    command: str,
    data: str,
    camvid: Path | None,
    translators: str | None,
    seeds: tuple[int, ...],
    fit_images: int | None,
    segment_images: int | None,
    jobs: int,
    table_only: bool,
    assignments: tuple[str, ...],
    tiny: bool,
    out: Path,
    dry_run: bool,
    device: str | None,
) -> None:
    """Fit translators, train the same segmenter on the images of each, measure both, and write OUT/translators.md.

    --set NAME.key=value changes a translator's fits, STEP.key=value one step, STAGE.key=value all steps of a stage.
    Give the same command again to go on after an interruption, or with --table-only to see what is there so far.
    """
    speaker, chosen = console(), DATA[data]
    if table_only and dry_run:
        raise click.UsageError("--table-only runs nothing: leave --dry-run out")
    names = recipe_names(chosen.kind) if translators is None else [one.strip() for one in translators.split(",")]
    recipes = [find_recipe(name, chosen.kind, tiny=tiny) for name in names]
    if len({recipe.name for recipe in recipes}) < len(recipes):
        raise ConfigError("names a translator twice", "--translators", "name each once")
    failed: Mapping[str, Exception | None] = {}
    if not table_only:
        if (camvid is not None) != (data == "camvid"):
            raise ConfigError("--data camvid and --camvid ROOT go together", None, "give both or neither")
        wanted = Wanted(chosen, recipes, seeds, fit_images, segment_images, tiny)
        planned = plan(wanted, assignments, out, root=camvid, device=device)
        announce(planned, speaker, dry_run=dry_run)
        if dry_run:
            return
        with to_itself(out):
            write_atomically(out / _RECORD, (json.dumps({"command": command}) + "\n").encode())
            failed = runner.run(planned, speaker, jobs=jobs, go_on=True).failed
    reasons = [
        str(error) if isinstance(error, UdaError) else f"step {name}: {as_uda_error(error)}"
        for name, error in failed.items()
        if error is not None
    ]
    with contextlib.suppress(*([DataError] if reasons else [])):  # nothing is there for a table: the reasons say why
        write_table(out, [recipe.name for recipe in recipes], seeds, speaker)
    if reasons:
        mend = "run the same command again, or leave the translator out"
        raise RunError(f"{len(reasons)} steps failed: {' | '.join(reasons)}", out, mend)


def main(arguments: Sequence[str]) -> int:
    """Run the command line; its exit code."""

    def invoke() -> None:
        own = [one for one in arguments if one != "--debug"]
        command = shlex.join(["python", "tools/compare_translators.py", *own])
        try:
            with compare.make_context("compare_translators.py", own, obj=command) as context:
                compare.invoke(context)
        except click.UsageError as error:
            raise as_config_error(error, "compare_translators.py") from error

    return run_guarded(invoke)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
