"""Translators side by side: what the stages of a comparison measured, as one Markdown table.

Steps are named by `step`: `translate_NAME_SEED` made images, `evaluate_NAME_SEED` scored a segmenter trained on them,
`quality_SEED` measured all images of a seed, `diversity_SEED` how unlike several images of one input are. Two sets are
no translator's: `source`, the untranslated images, and `ideal`, the same scenes in the target's look, where the data
have such a thing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from uda.core.errors import DataError
from uda.core.manifest import Manifest
from uda.stages._quality_table import MEASURES
from uda.stages._report.comparison import over_seeds
from uda.stages._report.reading import Run, StageEntry
from uda.stages._report.scores import number
from uda.stages._report.tables import NOTHING
from uda.stages._report.trail import machine

SOURCE, IDEAL = "source", "ideal"
"""Names of the two sets to compare with."""
_DISTANCES = ("lab_emd", "lbp_chi_square")
"""Measures whose excess over the ideal is shown."""
_FEATURES = ("fid", "kid", "inception_score")
"""Measures that need Inception's weights."""
_DIVERSITY = ("ms_ssim", "lpips")
"""Measures of several images of one input, which a comparison makes apart (`samples_NAME_SEED`, `diversity_SEED`)."""


@dataclass(frozen=True)
class Column:
    """One column: its title, and whether it shows fractions in percent."""

    title: str
    percent: bool = False


COLUMNS: Mapping[str, Column] = {
    "score": Column("mIoU [%]", percent=True),
    "pixels": Column("pixel acc. [%]", percent=True),
    "lab_emd": Column(MEASURES["lab_emd"].title),
    "lab_emd_left": Column("LAB excess left [%]", percent=True),
    "lbp_chi_square": Column(MEASURES["lbp_chi_square"].title),
    "lbp_chi_square_left": Column("LBP excess left [%]", percent=True),
    "miou": Column(f"{MEASURES['miou'].title} [%]", percent=True),
    "kept": Column("kept of source's [%]", percent=True),
    "of_ideal": Column("of ideal's [%]", percent=True),
    **{key: Column(MEASURES[key].title) for key in ("sharpness_gap", *_FEATURES, *_DIVERSITY)},
    "fit_images": Column("images of the fit"),
    "fit_seconds": Column("fit [s/1000]"),
    "render_seconds": Column("render [s/1000]"),
    "memory": Column("memory [MiB]"),
    "gpu_memory": Column("GPU memory [MiB]"),
}
"""All columns in order, by the key of `Measured.values`."""


@dataclass(frozen=True)
class Measured:
    """What one seed says of one set of images.

    Attributes:
        name: the translator's (its recipe's), `source` or `ideal`.
        seed: of the fit and of the segmenter.
        given: what the translator learnt from, in words; "" for what is no translation.
        values: by the keys of `COLUMNS`; None where there is no value.
        notes: why a measure has no value, or what limits it, by its key.
    """

    name: str
    seed: int
    given: str
    values: Mapping[str, float | None]
    notes: Mapping[str, str]


def step(kind: str, seed: int, name: str | None = None) -> str:
    """Name of a comparison's step: `translate_sait_0`, or `quality_0` for one that is about all of a seed."""
    return "_".join([kind, *([] if name is None else [name]), str(seed)])


def read_measured(run: Run) -> list[Measured]:
    """Everything that a comparison's directory holds so far, a line for each set of images and seed."""
    translated, scored = _steps(run, "translate"), _steps(run, "evaluate")
    judged = {seed: _judged(entry.manifest) for (_, seed), entry in _steps(run, "quality").items()}
    varied = {seed: _judged(entry.manifest) for (_, seed), entry in _steps(run, "quality", "diversity").items()}
    # What is judged comes first, in the order of the comparison; the rest waits for its seed to be judged.
    keys = [(name, seed) for seed, rows in judged.items() for name in rows]
    found = []
    for name, seed in dict.fromkeys([*keys, *scored, *translated]):
        rows = {key: dict(row) for key, row in judged.get(seed, {}).items()}
        if name in rows and (several := varied.get(seed, {}).get(name)) is not None:
            rows[name] |= {key: several[key] for key in _DIVERSITY}
        made = translated[name, seed].manifest if (name, seed) in translated else None
        score = scored[name, seed].manifest.metrics if (name, seed) in scored else {}
        values = {"score": number(score.get("miou")), "pixels": number(score.get("pixel_accuracy"))}
        values |= _quality(name, rows) | (_effort(made) if made is not None else {})
        notes = {key: str(one["note"]) for key, one in rows.get(name, {}).items() if one.get("note")}
        found.append(Measured(name, seed, _given(made) if made is not None else "", values, notes))
    return found


def _steps(run: Run, stage: str, kind: str | None = None) -> dict[tuple[str, int], StageEntry]:
    """A stage's steps of one kind (called as the stage is, where none is given), by name and seed."""
    matches = ((re.fullmatch(rf"{kind or stage}(?:_(.+))?_(\d+)", entry.name), entry) for entry in run.of(stage))
    return {(match[1] or "", int(match[2])): entry for match, entry in matches if match is not None}


def _judged(manifest: Manifest) -> dict[str, Mapping[str, Any]]:
    """Measures of each set of images, by its name."""
    return {str(row["name"]): row["measures"] for row in manifest.metrics["rows"] if row["role"] != "real"}


def _quality(name: str, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float | None]:
    def value(of: str, key: str) -> float | None:
        return number(rows.get(of, {}).get(key, {}).get("value"))

    values = {key: value(name, key) for key in MEASURES}
    for key in _DISTANCES:
        values[f"{key}_left"] = _left(value(name, key), value(SOURCE, key), value(IDEAL, key))
    for key, of in (("kept", SOURCE), ("of_ideal", IDEAL)):
        own, whole = value(name, "miou"), value(of, "miou")
        values[key] = own / whole if own is not None and whole else None
    return values


def _left(own: float | None, source: float | None, ideal: float | None) -> float | None:
    """(own - ideal) / (source - ideal): 1 for the source, 0 for the ideal; None where the source has no excess."""
    if own is None or source is None or ideal is None or source <= ideal:
        return None
    return (own - ideal) / (source - ideal)


def _effort(made: Manifest) -> dict[str, float | None]:
    """Time and memory of a translation; a fit's only where there was one."""
    fit, render = (number(made.metrics.get(key)) for key in ("images_per_second", "rendered_per_second"))
    return {
        "fit_images": number(made.config["fit"]["images"]) if fit else None,
        "fit_seconds": 1000 / fit if fit else None,
        "render_seconds": 1000 / render if render else None,
        "memory": number(made.recorded.get("peak_memory_mb")),
        "gpu_memory": number(made.recorded.get("peak_gpu_memory_mb")),
    }


def _given(made: Manifest) -> str:
    """What a translator learnt from, by the inputs of its stage, and what else told it of the target."""
    fitted = "images_per_second" in made.metrics
    what = "images" if fitted else "nothing"
    if "pseudo" in made.inputs:
        what = "pseudo-labels"
    elif "pairs" in made.inputs:
        what = f"{100 * float(made.config['supervision']):g} % of the true labels"
    asked = (name for name in ("guide", "tones") if name in made.inputs and (fitted or name == "tones"))
    return ", ".join([what, *asked])


def markdown(
    run: Run, *, command: str | None = None, names: Sequence[str] | None = None, seeds: Collection[int] | None = None
) -> str:
    """The table of a comparison, with what its columns mean below it.

    Args:
        run: the comparison's directory, complete or not.
        command: what made it.
        names: translators to show, in this order; None: all that are there.
        seeds: seeds to show; None: all that are there.

    Raises:
        DataError: there is nothing to show.
    """
    rows = [one for one in read_measured(run) if seeds is None or one.seed in seeds]
    there = list(dict.fromkeys(one.name for one in rows))
    order = [SOURCE, IDEAL, *(there if names is None else names)]
    shown = {name: same for name in order if (same := [one for one in rows if one.name == name])}
    if not shown:
        raise DataError("nothing is measured there yet", run.directory, "let the comparison make its first row")
    found = sorted({one.seed for same in shown.values() for one in same})
    head = [f"`{command}`", ""] if command is not None else []
    machines = dict.fromkeys(machine(entry) for entry in _steps(run, "translate").values())
    head += [f"Seeds {', '.join(map(str, found))}; {'; '.join(machines) or 'no translation yet'}.", ""]
    return "\n".join([*head, *_table(shown, found), "", *_legend(run, shown)]) + "\n"


def _table(shown: Mapping[str, Sequence[Measured]], seeds: Collection[int]) -> list[str]:
    titles = ["translator", "learns from", *(column.title for column in COLUMNS.values())]
    lines = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    for name, same in shown.items():
        given = next((one.given for one in same if one.given), NOTHING)
        cells = [_cell(key, [one.values.get(key) for one in same], len(seeds)) for key in COLUMNS]
        lines.append(f"| {' | '.join([name, given, *cells])} |")
    return lines


def _cell(key: str, values: Sequence[float | None], seeds: int) -> str:
    """Mean and deviation over the seeds that have a value; how many they are where some have none."""
    there = [value for value in values if value is not None]
    if not there:
        return NOTHING
    scale, decimals = (100.0, 1) if COLUMNS[key].percent else (1.0, _decimals(mean(there)))
    text = over_seeds(there[:1] if len(set(there)) == 1 else there, scale=scale, decimals=decimals)
    return text if len(there) == seeds else f"{text} ({len(there)} of {seeds})"


def _decimals(value: float) -> int:
    """Digits after the point that show three significant ones."""
    return 0 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))


def _legend(run: Run, shown: Mapping[str, Sequence[Measured]]) -> list[str]:
    """What the columns mean, and why some are empty."""
    budgets = {str(entry.manifest.config["fit"]["images"]) for entry in _steps(run, "segment").values()}
    many = " or ".join(sorted(budgets, key=int)) or "some"
    lines = [
        "Mean ± sample standard deviation over seeds; one number where the seeds agree or there is one.",
        f"mIoU: of a segmenter that went on from the seed's start for {many} of these images, with the target's "
        "statistics, without an adversary and pseudo-labels; on the target's validation images. Pixel acc.: its.",
        "LAB, LBP: distance of colours and textures to the target, lower is better. Excess left: of the distance "
        f"beyond `{IDEAL}`, the same scenes in the target's look (`{SOURCE}` 100, `{IDEAL}` 0); `{NOTHING}` where the "
        "data have no such thing.",
        "Alignment: a segmenter that learnt both looks from labelled images of other scenes, held against the labels. "
        f"Kept: of its value on `{SOURCE}`; beside it of that on `{IDEAL}`.",
        "Sharpness gap: to the target, lower is better.",
        "MS-SSIM (lower) and LPIPS (higher is more varied): of several images of one input, for those that vary.",
        "Fit, render: seconds for 1000 images, files read and written; a fit counts one image of each domain as one. "
        "Memory: most that was resident in the process meanwhile; GPU memory: most that its tensors took there.",
    ]
    reasons: dict[str, list[str]] = {}
    for one in (one for same in shown.values() for one in same):
        for key, note in one.notes.items():
            if key in COLUMNS and (title := COLUMNS[key].title) not in reasons.setdefault(note, []):
                reasons[note].append(title)
    return [f"* {line}" for line in (*lines, *(f"{', '.join(titles)}: {why}" for why, titles in reasons.items()))]
