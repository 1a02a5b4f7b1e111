"""The command line: verbs over stages. `uda --help` imports no torch."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from uda import __version__
from uda.cli_options import (
    PATH,
    Common,
    as_config_error,
    common,
    common_but,
    console,
    given,
    jobs_option,
    loop,
    run_guarded,
    some,
)
from uda.cli_settings import (
    OWN_RECIPE,
    predict_settings,
    settings_for,
    settings_of_fit,
    settings_of_training,
    shown_settings,
)
from uda.core.errors import ConfigError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def cli(debug: bool) -> None:
    """Unsupervised domain adaptation for semantic segmentation.

    Labelled synthetic images and unlabelled real images go in; a segmenter that works on the real ones, a per-class
    IoU report and the trail of how it came about come out. Start with `uda iterate`.
    """


def _run_stage(name: str, inputs: dict[str, Path | None], options: Common) -> None:
    from uda.stages.base import decide, execute

    paths, speaker = given(inputs), console()
    trained = settings_of_training(name, options, paths, speaker)
    fitted = settings_of_fit(name, options, paths, speaker)
    stage, config = settings_for(name, options, trained, fitted, inputs=paths)
    if options.dry_run:
        decision = decide(stage, config, paths, options.out, force=options.force)
        if stage.check is not None:
            stage.check(config, paths)
        told = {"action": decision.action, "reason": decision.reason}
        line = f"{name} -> {options.out}: would {decision.action} ({decision.reason})"
        speaker.result(json.dumps(told, indent=2) if options.as_json else line)
        return
    manifest = execute(stage, config, paths, options.out, speaker, force=options.force)
    if options.as_json:
        speaker.result(json.dumps(manifest.metrics, indent=2))
        return
    if stage.text is not None:
        speaker.result(stage.text(manifest.metrics))
    speaker.result(str(options.out))


@cli.command()
@click.argument("place", metavar="OUT", type=PATH, required=False)
@common_but(out=click.option("--out", type=PATH, help="The same as OUT."))
def minicity(place: Path | None, options: Common) -> None:
    """Render the built-in data sets in the true layouts of GTA5, SYNTHIA and Cityscapes below OUT."""
    given_places = [one for one in (place, options.out) if one is not None]
    if len(given_places) != 1:
        mend = "write uda minicity OUT" if not given_places else "leave --out away"
        raise ConfigError("needs one place for its results", "uda minicity", mend)
    _run_stage("minicity", {}, replace(options, out=given_places[0]))


@cli.command()
@click.argument("dataset")
@click.argument("root", type=PATH)
@click.option("--split", help="A split of the data set; all splits where left out.")
@some("configs", "assignments", "out")
@click.option("--dry-run", is_flag=True, help="Check everything; write nothing.")
@some("as_json")
def prepare(dataset: str, root: Path, split: str | None, **values: Any) -> None:
    """Index and check the data set at ROOT, and write its manifest to --out FILE.csv.

    DATASET is a shipped spec (`uda list datasets`) or a YAML file of your own. FILE.json beside the manifest holds
    counts, class statistics and every defect by name.
    """
    from uda.stages.prepare import prepare_to_csv

    options = Common(**values)
    chosen = {"dataset": dataset, **({"split": split} if split else {})}
    _, config = settings_for("prepare", options, chosen, inputs=("root",))
    speaker = console()
    metrics = prepare_to_csv(config, root, options.out, speaker, dry_run=options.dry_run)
    written = f"{options.out}: would be written" if options.dry_run else str(options.out)
    speaker.result(json.dumps(metrics, indent=2) if options.as_json else written)


@cli.command()
@click.option("--source", type=PATH, required=True, help="Manifest of the labelled images.")
@click.option("--target", type=PATH, required=True, help="Manifest of the unlabelled images.")
@click.option("--guide", type=PATH, help="Directory of a segmenter that guides the translation, or chooses crops.")
@click.option("--tones", type=PATH, help="Directory of a segmenter that tells class_tones, in the guide's stead.")
@click.option("--translator", type=PATH, help="Directory of a fitted translator: only render, as it was fitted.")
@click.option("--init", type=PATH, help="Directory of a fitted translator: go on from its weights.")
@click.option("--pairs", type=PATH, help="Manifest of labelled target images (paired and semi-paired methods).")
@click.option("--pseudo", type=PATH, help="Manifest of pseudo-labelled target images.")
@common
def translate(options: Common, **inputs: Path | None) -> None:
    """Fit a translator and render the source set in the look of the target, labels carried along.

    Without --config by `translate/sait`, the paper's recipe for a large GPU, or by that of the method which `--set
    translator.name=NAME` chooses; `--config translate/minicity` is one for a CPU.
    """
    _run_stage("translate", inputs, options)


@cli.command()
@click.option("--source", type=PATH, required=True, help="Manifest of labelled (translated) images.")
@click.option(
    "--also",
    type=PATH,
    help="Manifest of other labelled images, by turns with those: a batch of each. The untranslated ones, say.",
)
@click.option("--target", type=PATH, help="Manifest of unlabelled images, for the adversary and target_statistics.")
@click.option("--pseudo", type=PATH, help="Manifest of pseudo-labelled target images.")
@click.option("--init", type=PATH, help="Weights to start from: a segment directory or a .pth/.safetensors file.")
@common
def segment(options: Common, **inputs: Path | None) -> None:
    """Fit a segmenter.

    Without --config by `segment/deeplabv2`, the papers' recipe for a large GPU, or by that of the network which `--set
    segmenter.name=NAME` chooses; `--config segment/minicity` is one for a CPU.
    """
    _run_stage("segment", inputs, options)


@cli.command("pseudo-label")
@click.option("--segmenter", type=PATH, required=True, help="Directory of a fitted segmenter.")
@click.option("--target", type=PATH, required=True, help="Manifest of the unlabelled images.")
@common
def pseudo_label(options: Common, **inputs: Path | None) -> None:
    """Write confident predictions on the target images as labels."""
    _run_stage("pseudo-label", inputs, options)


@cli.command()
@click.option("--segmenter", type=PATH, help="Directory of a fitted segmenter.")
@click.option("--predictions", type=PATH, help="Folder of PNGs named after the images.")
@click.option("--target", type=PATH, required=True, help="Manifest of labelled images to score on.")
@click.option("--coding", type=click.Choice(["train-ids", "label-ids"]), help="Pixels of --predictions.")
@common
def evaluate(options: Common, coding: str | None, **inputs: Path | None) -> None:
    """Score a segmenter, or a folder of predictions: per-class IoU at full label size."""
    extra = (f"coding={coding}",) if coding else ()
    _run_stage("evaluate", inputs, replace(options, assignments=(*extra, *options.assignments)))


@cli.command()
@click.option("--images", type=PATH, required=True, multiple=True, help="Manifest of translations; repeatable.")
@click.option("--real", type=PATH, required=True, help="Manifest of target images; labels stay closed.")
@click.option("--source", type=PATH, help="Manifest of the untranslated images: the row to compare with.")
@click.option("--segmenter", type=PATH, help="Directory of a fitted segmenter, for alignment with the labels.")
@common
def quality(options: Common, images: tuple[Path, ...], **inputs: Path | None) -> None:
    """Measure translations: FID, KID, IS, diversity, colours, textures, alignment with labels, sharpness.

    Images that a manifest's column `input` gives one name are samples of one input; their diversity is measured.
    """
    from uda.stages.quality import name_rows

    _run_stage("quality", name_rows(images) | inputs, options)


@cli.command()
@click.option("--segmenter", type=PATH, required=True, help="Directory of a fitted segmenter.")
@click.argument("images", type=PATH, nargs=-1, required=True)
@some("assignments", "out", "device")
def predict(
    segmenter: Path, images: tuple[Path, ...], assignments: tuple[str, ...], out: Path, device: str | None
) -> None:
    """Write label maps and overlays of any images (files or folders)."""
    from uda.stages.predict import predict_images

    config = predict_settings(Common(out, assignments=assignments, device=device))
    for path in predict_images(config, segmenter, images, out, console()):
        console().result(str(path))


def _requests(
    pipeline: str, rounds: int | None, seeds: tuple[int, ...], options: Common, **paths: Path | None
) -> list[Any]:
    """What was asked for: one run, or one for each seed."""
    from uda.iterate import for_each
    from uda.pipeline import Request

    if options.configs:
        raise ConfigError("a pipeline takes no --config", None, "name a --pipeline, or --set STEP.key=value")
    if seeds and options.seed is not None:
        raise ConfigError("--seed and --seeds say the same thing twice", None, "give one of them")
    data = paths.pop("data")
    request = Request(
        pipeline=pipeline,
        out=options.out.absolute(),
        rounds=rounds,
        data=data.absolute() if data else None,
        given=given(paths),
        assignments=options.assignments,
        seed=options.seed,
        tiny=options.tiny,
        device=options.device,
        force=options.force,
    )
    return for_each(request, seeds) if seeds else [request]


@cli.command()
@jobs_option
@loop
def iterate(
    pipeline: str, rounds: int | None, seeds: tuple[int, ...], jobs: int, options: Common, **paths: Path | None
) -> None:
    """Run the whole loop: source only, then translate, pseudo-label, segment and evaluate, round after round.

    With no pipeline named it runs on mini-city, and with no --out into `runs/PIPELINE`. Run the same command again to
    go on after an interruption. `--set` takes STEP.KEY=VALUE, STEP.config=NAME, size=[H,W] and label_space=NAME.
    """
    requests, speaker = _requests(pipeline, rounds, seeds, options, **paths), console()
    from uda.iterate import iterate as run

    run(requests, speaker, dry_run=options.dry_run, as_json=options.as_json, jobs=jobs)


@cli.command()
@jobs_option
@loop
def plan(
    pipeline: str, rounds: int | None, seeds: tuple[int, ...], jobs: int, options: Common, **paths: Path | None
) -> None:
    """Say what `iterate` would run, and why; run nothing: `iterate --dry-run`, whose options it takes.

    Of --jobs it says whether this launch can have so many.
    """
    requests, speaker = _requests(pipeline, rounds, seeds, options, **paths), console()
    from uda.iterate import iterate as run

    run(requests, speaker, dry_run=True, as_json=options.as_json, jobs=jobs)


@cli.command()
@click.argument("directories", type=PATH, nargs=-1, required=True)
@click.option("--out", type=PATH, help="The HTML file; report.html in the first directory where left out.")
def report(directories: tuple[Path, ...], out: Path | None) -> None:
    """Write one self-contained HTML file about runs or single stages, side by side."""
    from uda.stages.report import run_report

    speaker = console()
    speaker.result(str(run_report(list(directories), out or directories[0] / "report.html", speaker)))


@cli.command("list")
@click.argument("kind", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def list_kind(kind: str | None, as_json: bool) -> None:
    """List translators, segmenters, adversaries, pseudo_labels, configs, pipelines, datasets, label_spaces.

    Without KIND, how many there are of each.
    """
    from uda.core.listing import counts, entries

    found = counts() if kind is None else entries(kind)
    if as_json:
        console().result(json.dumps(found, indent=2))
        return
    width = max((len(name) for name in found), default=0)
    for name, sentence in found.items():
        console().result(f"{name:<{width}}  {sentence}".rstrip())


@cli.command()
@click.argument("name")
def show(name: str) -> None:
    """Print a shipped YAML: a config, pipeline, dataset spec or label space."""
    from uda.core.listing import shipped_yaml

    console().result(shipped_yaml(name).read_text().rstrip())


@cli.command()
@click.argument("stage", type=click.Choice([*OWN_RECIPE, "prepare", "predict"]))
@click.argument("part", required=False)
@some("configs", "assignments", "tiny", "as_json")
def settings(stage: str, part: str | None, **values: Any) -> None:
    """List what --set can change in STAGE: each setting, its value and its meaning.

    With PART those of that name or in that group alone, as `lr` or `translator.weights`. Values are those of --config,
    of the stage's own recipe where it is left out; `--set translator.name=oasis` lists another method's.
    """
    from uda.core import described

    config, idle = shown_settings(stage, Common(out=Path(), **values))
    chosen = described.settings_called(part, config, f"uda settings {stage}", idle)
    if values["as_json"]:
        console().result(json.dumps({one.key: [one.value, one.meaning] for one in chosen}, indent=2))
        return
    for one in chosen:
        console().result(str(one))


@cli.command()
@click.argument("directory", type=PATH)
@click.option("--deep", is_flag=True, help="Hash every file again.")
def verify(directory: Path, deep: bool) -> None:
    """Compare a stage directory, or every one below a directory, with its receipts."""
    from uda.core.errors import DataError
    from uda.core.manifest import MANIFEST, owning_manifest
    from uda.core.manifest import verify as compare

    named = sorted(path.parent for path in directory.rglob(MANIFEST)) if directory.is_dir() else []
    folders = [folder for folder in named if owning_manifest(folder) is not None]
    if not folders:
        raise DataError("holds no complete stage", directory, "give a directory that a stage left")
    differences = [line for folder in folders for line in compare(folder, deep=deep)]
    for line in differences:
        console().result(line)
    if differences:
        raise DataError(f"{len(differences)} differences from the receipts", directory, "run its stage with --force")
    console().result(f"{len(folders)} stages agree with their receipts")


@cli.command()
def doctor() -> None:
    """Print machine, versions and what they allow."""
    from uda.stages.doctor import diagnose

    for line in diagnose():
        console().result(line)


def main() -> None:
    """Run the command line and leave with its exit code."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    sys.exit(run_guarded(lambda: _invoke(arguments)))


def _invoke(arguments: list[str]) -> None:
    """Run the verb. Not by `cli.main`, which swallows the text of an interruption and ends a closed pipe with 1."""
    try:
        with cli.make_context("uda", arguments) as context:
            cli.invoke(context)
    except click.UsageError as error:
        verb = next((one for one in arguments if one in cli.commands), None)
        raise as_config_error(error, f"uda {verb}" if verb else "uda") from error


if __name__ == "__main__":
    main()
