from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from uda.core import provenance


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", "-C", str(folder), *who, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "tree/uda"
    (folder / "core").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "core/part.py").write_text("one = 1\n")
    git(tmp_path / "tree", "init", "-q")
    return folder


def commit(package: Path) -> str:
    git(package, "add", "-A")
    git(package, "commit", "-q", "-m", "x")
    return git(package, "rev-parse", "HEAD")


def test_code_in_a_work_tree_is_told_by_its_commit(package: Path) -> None:
    head = commit(package)
    assert provenance.git_state(package) == {"commit": head, "modified": False}
    (package.parent / "notes.txt").write_text("beside the package")
    assert provenance.git_state(package) == {"commit": head, "modified": False}


@pytest.mark.parametrize("file", ["core/part.py", "core/new.py"])
def test_changed_and_new_files_are_told_with_a_digest(package: Path, file: str) -> None:
    head = commit(package)
    (package / file).write_text("one = 2\n")
    found = provenance.git_state(package)
    assert found == {"commit": head, "modified": True, "sha256": provenance.sources_digest(package)}


def test_code_that_the_work_tree_does_not_track_is_not_told_by_its_commit(package: Path) -> None:
    (package.parent / ".gitignore").write_text("uda/\n")
    commit(package)
    assert provenance.git_state(package) is None


def test_without_git_code_is_told_by_its_digest(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(package)
    monkeypatch.setenv("PATH", "")
    assert provenance.git_state(package) is None
    monkeypatch.setattr(provenance, "git_state", lambda package: None)
    assert set(provenance.code.__wrapped__()) == {"sha256"}


def test_a_hooks_variables_do_not_mislead(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = commit(package)
    monkeypatch.setenv("GIT_DIR", str(package / "elsewhere"))
    assert provenance.git_state(package) == {"commit": head, "modified": False}


def test_the_digest_of_sources_is_of_names_and_bytes_of_code_alone(package: Path) -> None:
    first = provenance.sources_digest(package)
    (package / "core/part.pyc").write_bytes(b"x")
    assert provenance.sources_digest(package) == first
    (package / "core/part.py").rename(package / "core/other.py")
    assert provenance.sources_digest(package) != first


def test_what_is_noted_belongs_to_one_stage() -> None:
    provenance.begin()
    peak = [0]
    provenance.note(device="cuda", gpu="one", peak_gpu_memory_mb=lambda: peak[0])
    peak[0] = 7  # what a function says is asked for at the end
    found = provenance.recorded(1.25)
    assert (found["device"], found["gpu"], found["seconds"]) == ("cuda", "one", 1.2)
    assert found["peak_gpu_memory_mb"] == 7
    assert found["processor"] and found["processes"] == 1 and found["code"]
    provenance.begin()
    assert "device" not in provenance.recorded(0)


def test_the_processor_has_a_name_where_the_system_does_not_list_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    listed = tmp_path / "cpuinfo"
    listed.write_text("processor\t: 0\nmodel name\t: Abacus 3000: deluxe\n")
    monkeypatch.setattr(provenance, "_CPUS", listed)
    assert provenance.processor() == "Abacus 3000: deluxe"
    monkeypatch.setattr(provenance, "_CPUS", tmp_path / "none")
    assert provenance.processor()
