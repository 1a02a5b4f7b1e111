"""The house's rules, read off the sources: imports only go down, final classes stay final, files stay readable."""

from __future__ import annotations

import ast
import re
import subprocess
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "uda"
FILES = sorted(PACKAGE.rglob("*.py"))
FLOORS: tuple[tuple[str, ...], ...] = (
    ("core",),
    ("nets", "losses", "data", "metrics"),
    ("translators", "segmenters", "adversaries", "pseudo_labels"),
    ("engine",),
    ("stages",),
    (
        *("assignments", "pipeline", "budget", "own_data", "unlabelled", "sizes", "turns", "cost", "runner"),
        *("iterate", "compare_recipes", "compare"),
    ),
    ("cli", "cli_options", "cli_settings", "__main__"),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
FAMILIES = FLOORS[2]
HEAVY = {"torch", "torchvision", "timm", "kornia", "segmentation_models_pytorch", "accelerate", "torchmetrics"}


@dataclass(frozen=True)
class Import:
    """One module named in a file; `now` where importing the file imports it."""

    module: str
    line: int
    now: bool


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(), str(file))


def room(file: Path) -> str:
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(node: ast.AST, *, now: bool = True) -> Iterator[Import]:
    """Everything that is imported below a node: for type checking, lazily and inside functions too."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for part, there in ((child.body, False), (child.orelse, now)):
                for statement in part:
                    yield from imports(ast.Module([statement], []), now=there)
            continue
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, now) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute"
            assert child.module is not None
            for alias in child.names:
                whole = f"{child.module}.{alias.name}"
                yield Import(whole if child.module == "uda" or is_module(whole) else child.module, child.lineno, now)
        elif isinstance(child, ast.Call) and (by := ast.unparse(child.func).split(".")[-1]) in (
            "lazy_import",
            "import_module",
        ):
            name = child.args[0]
            if isinstance(name, ast.Constant):
                yield Import(str(name.value), child.lineno, False)
            # The registry imports methods by the names that people give; what a file itself needs is written out.
            assert by != "lazy_import" or not isinstance(name, ast.JoinedStr), f"line {child.lineno}: write it out"
        elif (several := imported_by_name(child)) is not None:
            yield from several
            continue
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from imports(child, now=now and not inside)


def imported_by_name(node: ast.AST) -> list[Import] | None:
    """What `lazy_import(f"uda.nets.{name}") for name in ("blocks", "init")` imports; None of anything else."""
    if not isinstance(node, ast.GeneratorExp) or not isinstance(node.elt, ast.Call) or not node.elt.args:
        return None
    (argument, *_), listed = node.elt.args, node.generators[0].iter
    if not isinstance(argument, ast.JoinedStr) or not isinstance(listed, ast.Tuple):
        return None
    package = str(getattr(argument.values[0], "value", ""))
    return [Import(f"{package}{ast.literal_eval(name)}", node.lineno, False) for name in listed.elts]


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def own(one: Import) -> str | None:
    """The room of this package that an import leads to."""
    parts = one.module.split(".")
    return parts[1] if parts[0] == "uda" and len(parts) > 1 and parts[1] in FLOOR else None


def show(file: Path, line: int) -> str:
    return f"{file.relative_to(ROOT)}:{line}"


def test_every_room_has_its_floor() -> None:
    assert {room(file) for file in FILES} - {"__init__"} == set(FLOOR)


def test_imports_only_go_down() -> None:
    wrong = [
        f"{show(file, one.line)}: {room(file)} imports {one.module}"
        for file in FILES
        if room(file) in FLOOR
        for one in imports(tree(file))
        if (there := own(one)) is not None and there != room(file)
        if FLOOR[there] > FLOOR[room(file)] or (room(file) in FAMILIES and there in FAMILIES)
    ]
    assert not wrong, "\n".join(wrong)


def test_modules_that_are_named_exist() -> None:
    wrong = [
        f"{show(file, one.line)}: {one.module}"
        for file in FILES
        for one in imports(tree(file))
        if one.module.split(".")[0] == "uda" and not is_module(one.module) and one.module != "uda.__version__"
    ]
    assert not wrong, "\n".join(wrong)


def test_what_is_read_before_anything_runs_names_no_torch_at_its_top() -> None:
    # Config classes, plans and listings are had without it: core, the methods, the planner, the command line.
    light = {"core", *FAMILIES, "pipeline", "cli", "cli_options", "cli_settings"}
    wrong = [
        f"{show(file, one.line)}: {one.module}"
        for file in FILES
        if room(file) in light
        for one in imports(tree(file))
        if one.now and one.module.split(".")[0] in HEAVY
    ]
    assert not wrong, "\n".join(wrong)


def test_core_never_imports_torch_not_even_later() -> None:
    wrong = [
        f"{show(file, one.line)}: {one.module}"
        for file in (PACKAGE / "core").glob("*.py")
        for one in imports(tree(file))
        if one.module.split(".")[0] in HEAVY and not only_for_types(file, one)
    ]
    assert not wrong, "\n".join(wrong)


def only_for_types(file: Path, one: Import) -> bool:
    blocks = [
        node for node in ast.walk(tree(file)) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node)
    ]
    return any(block.lineno < one.line <= (block.body[-1].end_lineno or 0) for block in blocks)


def test_method_files_share_through_their_own_family_only_what_has_an_underscore() -> None:
    # A method does not build on another method's file: what two share lives in `_name.py`, `base.py` or a lower floor.
    wrong = []
    for family in FAMILIES:
        for file in sorted((PACKAGE / family).glob("*.py")):
            for one in imports(tree(file)):
                parts = one.module.split(".")
                if parts[:2] == ["uda", family] and len(parts) > 2 and parts[2] != "base" and parts[2][0] != "_":
                    wrong.append(f"{show(file, one.line)}: {one.module}")
    assert not wrong, "\n".join(wrong)


def classes() -> dict[str, tuple[ast.ClassDef, Path]]:
    """All classes of the package by `module.name`."""
    found = {}
    for file in FILES:
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.ClassDef):
                found[f"{module}.{node.name}"] = (node, file)
    return found


def meaning(file: Path, base: ast.expr) -> str:
    """What a base class's expression refers to, by the file's imports."""
    name = ast.unparse(base.value if isinstance(base, ast.Subscript) else base)
    head, _, rest = name.partition(".")
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == head:
                    return f"{node.module}.{alias.name}" + (f".{rest}" if rest else "")
    module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
    return f"{module}.{name}"


def made_to_be_a_base(node: ast.ClassDef) -> bool:
    """An interface (`Abstract...`, a protocol), or a class that says of itself that it is a base."""
    protocol = any(ast.unparse(base).startswith("Protocol") for base in node.bases)
    says = (ast.get_docstring(node) or "").startswith("Base of")
    return protocol or says or node.name.startswith("Abstract") or node.name.endswith("Base")


def test_no_concrete_class_is_subclassed() -> None:
    known = classes()
    wrong = [
        f"{show(file, node.lineno)}: {node.name} is a {known[parent][0].name}"
        for node, file in known.values()
        for base in node.bases
        if (parent := meaning(file, base)) in known and not made_to_be_a_base(known[parent][0])
    ]
    assert not wrong, "\n".join(wrong)


def test_the_rule_of_final_classes_sees_what_it_forbids() -> None:
    known = classes()
    bases = {meaning(file, base) for node, file in known.values() for base in node.bases}
    assert {"uda.core.config.Config", "uda.core.errors.UdaError", "uda.translators.base.AbstractTranslator"} <= bases
    concrete = [known[f"uda.{name}"][0] for name in ("translators.identity.Identity", "core.rundir.RunDirectory")]
    assert not any(made_to_be_a_base(node) for node in concrete)


def test_lazy_imports_by_name_are_seen() -> None:
    named = "a, b = (lazy_import(f'uda.nets.{name}') for name in ('blocks', 'init'))"
    assert [one.module for one in imports(ast.parse(named))] == ["uda.nets.blocks", "uda.nets.init"]
    with pytest.raises(AssertionError, match="write it out"):
        list(imports(ast.parse("a = [lazy_import(f'uda.nets.{name}') for name in NAMES]")))


def is_the_loop(file: Path, node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """The training loop: what happens in which order is to be read in one place."""
    return (file.relative_to(PACKAGE).as_posix(), node.name) == ("engine/loop.py", "fit")


def test_files_and_functions_stay_readable() -> None:
    long_files = [
        f"{file.relative_to(ROOT)}: {count} lines"
        for file in FILES
        if (count := len(file.read_text().splitlines())) > 400
    ]
    long_functions = [
        f"{show(file, node.lineno)}: {node.name} has {count} lines"
        for file in FILES
        for node in ast.walk(tree(file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (count := (node.end_lineno or node.lineno) - node.lineno + 1) > (90 if is_the_loop(file, node) else 60)
    ]
    assert not long_files + long_functions, "\n".join(long_files + long_functions)


def public(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")


def test_every_module_and_everything_public_is_documented() -> None:
    wrong = [show(file, 1) for file in FILES if not ast.get_docstring(tree(file))]
    wrong += [
        show(file, node.lineno)
        for file in FILES
        for node in tree(file).body
        if public(node) and not ast.get_docstring(node)  # type: ignore[arg-type]  # `public` knows its type
    ]
    assert not wrong, "\n".join(wrong)


SUPPRESSED = re.compile(r"# (?:type: ignore|noqa)\b(?:\[[\w, -]+\]|: [A-Z]+\d+(?:, ?[A-Z]+\d+)*)?")
"""What silences a type checker or a linter, with its codes."""


def silences_without_a_reason(comment: str) -> bool:
    """Whether nothing but codes stands in a comment that silences a checker."""
    return SUPPRESSED.search(comment) is not None and re.search(r"\w", SUPPRESSED.sub("", comment)) is None


def test_what_silences_a_checker_says_why() -> None:
    ignored, silent = "# type: " + "ignore", "# no" + "qa"
    for bare in (ignored, f"{ignored}[a-b, c]", silent, f"{silent}: S101, PTH118", f"{ignored}[a-b]  {silent}: S101"):
        assert silences_without_a_reason(bare)
        assert not silences_without_a_reason(f"{bare}  # a reason")
    assert not silences_without_a_reason("# a comment")
    wrong = []
    for file in [*FILES, *sorted((ROOT / "tools").rglob("*.py")), *sorted((ROOT / "tests").rglob("*.py"))]:
        with tokenize.open(file) as lines:
            tokens = tokenize.generate_tokens(lines.readline)
            comments = [token for token in tokens if token.type == tokenize.COMMENT]
        wrong += [show(file, one.start[0]) for one in comments if silences_without_a_reason(one.string)]
    assert not wrong, "\n".join(wrong)


SHAPED = re.compile(r"_[A-Z0-9][A-Za-z0-9]*$")
ANY_SHAPE = {"l1": {"prediction", "reference"}, "discriminator_loss": {"prediction"}, "generator_loss": {"prediction"}}
"""Losses of tensors of any shape."""


def test_tensors_that_a_loss_takes_have_their_shapes_in_their_names() -> None:
    wrong = [
        f"{show(file, argument.lineno)}: {node.name}({argument.arg})"
        for file in sorted((PACKAGE / "losses").glob("*.py"))
        for node in tree(file).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
        for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        if argument.annotation is not None and ast.unparse(argument.annotation) in ("Tensor", "Tensor | None")
        if not SHAPED.search(argument.arg) and argument.arg not in ANY_SHAPE.get(node.name, set())
    ]
    assert not wrong, "\n".join(wrong)


HOMES = ("work", "home", "root", "Users", "mnt", "scratch", "tmp", "media", "Volumes")
MACHINE_PATH = re.compile(r"(?<![\w.}~\]/:-])(?:/(?:" + "|".join(HOMES) + r")/[\w.-]+|[A-Z]:\\\\?Users)")


def tracked() -> list[Path]:
    """Text files that belong to the project, staged ones too."""
    command = ["git", "ls-files", "--cached"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if not name.startswith("shared/")]


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    assert MACHINE_PATH.search("see " + "/".join(("", "home", "somebody", "data")))
    assert not MACHINE_PATH.search("tests/data/home/x and https://example.org/home/x")
    wrong = []
    for file in tracked():
        try:
            text = file.read_text()
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue
        lines = enumerate(text.splitlines(), 1)
        wrong += [f"{show(file, number)}: {line.strip()}" for number, line in lines if MACHINE_PATH.search(line)]
    assert not wrong, "\n".join(wrong)
