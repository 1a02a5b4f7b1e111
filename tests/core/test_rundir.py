from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.core.test_manifest import manifest
from uda.core.errors import ConfigError
from uda.core.manifest import MANIFEST, RECEIPTS, complete_manifest, read_receipts, verify
from uda.core.rundir import CHECKPOINT, RunDirectory


def finish(out: Path, fingerprint: str, **files: bytes) -> RunDirectory:
    run = RunDirectory(out)
    run.begin(fingerprint, {"seed": 1})
    for name, data in files.items():
        run.write(name, data)
    run.complete(manifest(run.outputs_digest(), fingerprint=fingerprint))
    return run


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_nothing_appears_at_the_final_place_before_the_end(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "deep/out")
    assert run.started_for() is None
    assert run.begin("f", {"seed": 3}) is False
    run.write("images/a.png", b"a")
    run.log(images=1, loss=0.5)
    assert not run.out.exists()
    assert run.started_for() == "f"
    run.complete(manifest(run.outputs_digest()))
    assert not run.partial.exists()
    assert set(tree(run.out)) == {MANIFEST, RECEIPTS, "config.yaml", "log.jsonl", "images/a.png"}
    assert yaml.safe_load((run.out / "config.yaml").read_text()) == {"seed": 3}
    assert json.loads((run.out / "log.jsonl").read_text()) == {"images": 1, "loss": 0.5}
    assert [path.name for path in run.out.parent.iterdir()] == ["out"]


def test_the_manifest_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(tmp_path / "out", "old", result=b"old")
    before = tree(tmp_path / "out")
    run = RunDirectory(tmp_path / "out")
    run.begin("new", {})
    run.write("result", b"new")
    monkeypatch.setattr("uda.core.rundir.write_receipts", _fail)
    with pytest.raises(OSError, match="full"):
        run.complete(manifest(run.outputs_digest()))
    assert not (run.partial / MANIFEST).exists()
    assert tree(tmp_path / "out") == before


def _fail(*_: object) -> None:
    raise OSError("full")


def test_complete_results_take_the_place_of_older_ones(tmp_path: Path) -> None:
    out = tmp_path / "out"
    finish(out, "old", result=b"old", gone=b"x")
    finish(out, "new", result=b"new")
    assert (out / "result").read_bytes() == b"new"
    assert not (out / "gone").exists()
    assert complete_manifest(out).fingerprint == "new"
    assert verify(out, deep=True) == []
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("fails", [1, 2])
def test_a_failure_while_changing_places_loses_neither_old_nor_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: int
) -> None:
    out = tmp_path / "out"
    finish(out, "old", result=b"old")
    run = RunDirectory(out)
    run.begin("new", {})
    run.write("result", b"new")
    true_rename, calls = Path.rename, []

    def rename(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == fails:
            raise OSError("unplugged")
        return true_rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(OSError, match="unplugged"):
            run.complete(manifest(run.outputs_digest(), fingerprint="new"))
    run.close()
    kept = {(folder / "result").read_bytes() for folder in tmp_path.iterdir() if (folder / MANIFEST).is_file()}
    assert kept == {b"old", b"new"}
    finish(out, "newest", result=b"newest")
    assert (out / "result").read_bytes() == b"newest"


def test_bookkeeping_and_checkpoint_are_no_part_of_the_results(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "out")
    run.begin("f", {})
    run.path(CHECKPOINT).write_bytes(b"weights")
    run.write("result", b"r")
    run.complete(manifest(run.outputs_digest()))
    assert set(tree(run.out)) == {MANIFEST, RECEIPTS, "config.yaml", "result"}


def test_an_interrupted_run_goes_on_with_what_it_wrote_whole(tmp_path: Path) -> None:
    first = RunDirectory(tmp_path / "out")
    first.begin("f", {})
    first.write("images/a, b.png", b"aaaa")
    first.write("images/half.png", b"halfhalf")
    first.path("images/half.png").write_bytes(b"half")
    first.path("images/unreceipted.png").write_bytes(b"u")
    first.close()
    second = RunDirectory(tmp_path / "out")
    assert second.begin("f", {}) is True
    assert second.has("images/a, b.png")
    assert not second.has("images/half.png")
    assert not second.has("images/unreceipted.png")
    second.write("images/half.png", b"halfhalf")
    second.complete(manifest(second.outputs_digest()))
    assert [one.path for one in read_receipts(second.out / RECEIPTS)] == ["images/a, b.png", "images/half.png"]
    assert verify(second.out, deep=True) == []


def test_a_file_written_again_has_one_receipt_the_last(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "out")
    run.begin("f", {})
    run.write("a", b"1")
    run.write("a", b"22")
    run.close()
    again = RunDirectory(tmp_path / "out")
    again.begin("f", {})
    assert again.outputs_digest() == run.outputs_digest()


def test_a_receipt_is_the_same_whoever_wrote_the_file(tmp_path: Path) -> None:
    run, other = RunDirectory(tmp_path / "out"), RunDirectory(tmp_path / "other")
    run.begin("f", {})
    other.begin("f", {})
    written = run.write("a", b"bytes")
    other.path("a").write_bytes(b"bytes")
    assert other.add("a") == written
    assert other.outputs_digest() == run.outputs_digest()


@pytest.mark.parametrize(("fingerprint", "fresh"), [("other", False), ("f", True)])
def test_work_that_is_not_gone_on_with_is_set_aside(tmp_path: Path, fingerprint: str, fresh: bool) -> None:
    first = RunDirectory(tmp_path / "out")
    first.begin("f", {})
    first.write("a", b"old work")
    first.close()
    second = RunDirectory(tmp_path / "out")
    assert second.begin(fingerprint, {}, fresh=fresh) is False
    assert not second.has("a")
    assert not (second.partial / "a").exists()
    assert (tmp_path / "out.partial.f/a").read_bytes() == b"old work"
    assert second.started_for() == fingerprint


@pytest.mark.parametrize("fingerprint", ["f", "other"])
def test_one_command_at_a_time_works_in_a_place(tmp_path: Path, fingerprint: str) -> None:
    first, second = RunDirectory(tmp_path / "out"), RunDirectory(tmp_path / "out")
    first.begin("f", {"seed": 1})
    first.write("x", b"first's")
    before = tree(tmp_path)
    with pytest.raises(ConfigError, match=r"out\.partial: another command is writing there; wait for it or stop it"):
        second.begin(fingerprint, {"seed": 2})
    assert tree(tmp_path) == before  # nothing of the first one's is moved or changed
    first.close()
    assert second.begin(fingerprint, {"seed": 2}) is (fingerprint == "f")


def test_work_that_was_set_aside_is_taken_back_when_its_settings_come_again(tmp_path: Path) -> None:
    said: list[str] = []

    def begin(fingerprint: str) -> tuple[RunDirectory, bool]:
        run = RunDirectory(tmp_path / "out", said.append)
        return run, run.begin(fingerprint, {})

    for fingerprint in ("a" * 64, "b" * 64, "c" * 64):
        run, resumed = begin(fingerprint)
        run.path(CHECKPOINT).write_bytes(fingerprint.encode())
        run.write("x", fingerprint.encode())
        run.close()
        assert not resumed
    out = tmp_path / "out"
    assert said == [
        f"{out}.partial: set aside as out.partial.{one * 8} ({size}; its own settings go on with it; removed when out "
        "is complete)"
        for one, size in (("a", said[0].split("(")[1].split(";")[0]), ("b", said[1].split("(")[1].split(";")[0]))
    ]
    said.clear()
    assert RunDirectory(out).interrupted("a" * 64) == tmp_path / "out.partial.aaaaaaaa"
    run, resumed = begin("a" * 64)
    assert resumed and run.has("x") and run.path(CHECKPOINT).read_bytes() == b"a" * 64
    assert said[1:] == [f"{out}.partial.aaaaaaaa is taken back as out.partial: going on with it"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.partial", *(f"out.partial.{n * 8}" for n in "bc")]
    said.clear()
    run.complete(manifest(run.outputs_digest()))
    assert said == [f"{out}.partial.{n * 8}: removed, for out is complete" for n in "bc"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("text", ["{", "[]", "3", '{"forced": true}', '{"fingerprint": null}'])
def test_a_partial_directory_that_does_not_say_what_it_is_for_is_of_unknown_origin(tmp_path: Path, text: str) -> None:
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial/started.json").write_text(text)
    run = RunDirectory(tmp_path / "out")
    assert run.started_for() is None
    assert run.begin("f", {}) is False
    assert (tmp_path / "out.partial.old/started.json").read_text() == text


def test_what_holds_no_work_is_not_kept(tmp_path: Path) -> None:
    for fingerprint in "fg":
        run = RunDirectory(tmp_path / "out")
        run.begin(fingerprint, {})
        run.close()
    assert [path.name for path in tmp_path.iterdir()] == ["out.partial"]


def test_nothing_that_was_set_aside_is_overwritten(tmp_path: Path) -> None:
    for number in range(3):
        run = RunDirectory(tmp_path / "out")
        run.begin("f", {}, fresh=True)
        run.path(CHECKPOINT).write_text(str(number))
        run.close()
    RunDirectory(tmp_path / "out").begin("g", {})
    kept = {path.name: (path / CHECKPOINT).read_text() for path in tmp_path.glob("out.partial.*")}
    assert kept == {"out.partial.f": "0", "out.partial.f-2": "1", "out.partial.f-3": "2"}


def test_a_partial_directory_of_unknown_origin_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial/notes.txt").write_text("mine")
    run = RunDirectory(tmp_path / "out")
    assert run.started_for() is None
    assert run.begin("f", {}) is False
    assert (tmp_path / "out.partial.old/notes.txt").read_text() == "mine"
    run.complete(manifest(run.outputs_digest()))
    assert (tmp_path / "out.partial.old/notes.txt").read_text() == "mine"


def test_several_processes_keep_their_receipts_in_one_journal(tmp_path: Path) -> None:
    first, second = RunDirectory(tmp_path / "out"), RunDirectory(tmp_path / "out")
    first.begin("f", {})
    journal = next(path for path in first.partial.iterdir() if path.suffix == ".csv")
    assert journal.read_text() == "path,size,sha256\n"  # there before anybody appends: only one header
    first.write("a.png", b"a")
    second.write('b "2", c.png', b"b")
    first.reread()
    assert first.has("a.png") and first.has('b "2", c.png')


TEARS = {
    "in the path": '"images/b.p',
    "before the size": '"images/b.png",',
    "before the hash": '"images/b.png",4,',
    "in the hash": '"images/b.png",4,' + "ab" * 20,
    "before the newline": '"images/b.png",4,' + "ab" * 32,
    "in a letter": '"images/b\udcc3',
    "in the header": "path,si",
}


@pytest.mark.parametrize("tear", TEARS)
def test_a_torn_line_of_the_journal_is_cut_off(tmp_path: Path, tear: str) -> None:
    first = RunDirectory(tmp_path / "out")
    first.begin("f", {})
    first.write("images/a.png", b"aaaa")
    first.path("images/b.png").write_bytes(b"bbbb")
    journal = next(first.partial.glob("*.csv"))
    kept = "" if tear == "in the header" else journal.read_text()
    journal.write_bytes((kept + TEARS[tear]).encode(errors="surrogateescape"))
    first.close()
    second = RunDirectory(tmp_path / "out")
    assert second.begin("f", {}) is True
    assert second.has("images/a.png") == bool(kept)
    assert not second.has("images/b.png")
    second.write("images/b.png", b"bbbb")
    second.close()
    third = RunDirectory(tmp_path / "out")
    third.begin("f", {})
    assert third.has("images/b.png")
    third.write("images/a.png", b"aaaa")
    third.complete(manifest(third.outputs_digest()))
    assert [one.path for one in read_receipts(third.out / RECEIPTS)] == ["images/a.png", "images/b.png"]
    assert verify(third.out, deep=True) == []


def test_a_receipt_that_was_glued_to_a_torn_line_is_left_out(tmp_path: Path) -> None:
    first = RunDirectory(tmp_path / "out")
    first.begin("f", {})
    with next(first.partial.glob("*.csv")).open("a") as file:
        file.write(TEARS["in the hash"])
    first.write("glued.png", b"g")
    first.write("after.png", b"a")
    first.close()
    second = RunDirectory(tmp_path / "out")
    second.begin("f", {})
    assert second.has("after.png")
    assert not second.has("glued.png")


def test_names_with_quotes_commas_and_newlines_keep_their_receipts(tmp_path: Path) -> None:
    names = ['a "1", b.png', "two\nlines.png", "r\r\n.png", "ümlaut.png"]
    first = RunDirectory(tmp_path / "out")
    first.begin("f", {})
    for name in names:
        first.write(name, b"x")
    first.close()
    second = RunDirectory(tmp_path / "out")
    second.begin("f", {})
    assert all(second.has(name) for name in names)
    assert second.outputs_digest() == first.outputs_digest()


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk/here")  # made by the run
    for content in (b"first", b"second"):
        finish(tmp_path / "out", content.decode(), result=content)
        assert (tmp_path / "out").is_symlink()
        assert (tmp_path / "disk/here/result").read_bytes() == content
    assert {path.name for path in tmp_path.iterdir()} == {"disk", "out"}
    assert {path.name for path in (tmp_path / "disk").iterdir()} == {"here"}


def test_a_place_that_nothing_can_be_moved_to_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.path.ismount", lambda path: Path(path) == tmp_path / "volume")
    (tmp_path / "volume").mkdir()
    with pytest.raises(ConfigError, match=r"volume: is where a disk is mounted, which stays; give a folder on it: "):
        RunDirectory(tmp_path / "volume").begin("f", {})
    (tmp_path / "inner/deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "inner/deep")
    for out in (Path(), tmp_path / "inner"):
        with pytest.raises(ConfigError, match="holds the folder this command runs in"):
            RunDirectory(out).begin("f", {})
    assert {path.name for path in tmp_path.iterdir()} == {"volume", "inner"}


def test_a_run_that_cannot_be_moved_into_place_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDirectory(tmp_path / "out")
    run.begin("f", {})
    run.write("result", b"hours")
    run.path(CHECKPOINT).write_bytes(b"weights")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", _fail)
        with pytest.raises(OSError, match="full"):
            run.complete(manifest(run.outputs_digest(), fingerprint="f"))
    run.close()
    again = RunDirectory(tmp_path / "out")
    assert again.begin("f", {}) is True
    assert again.has("result") and (again.partial / CHECKPOINT).is_file()
    assert not (again.partial / MANIFEST).exists()  # what is at work is not complete
    again.complete(manifest(again.outputs_digest(), fingerprint="f"))
    assert set(tree(again.out)) == {MANIFEST, RECEIPTS, "config.yaml", "result"}


def test_a_folder_of_somebody_elses_is_not_removed_on_the_way(tmp_path: Path) -> None:
    finish(tmp_path / "out", "old", result=b"old")
    (tmp_path / "out.replaced").mkdir()
    (tmp_path / "out.replaced/thesis.txt").write_text("mine")
    finish(tmp_path / "out.replaced-2", "left", result=b"by a run that was killed")
    finish(tmp_path / "out", "new", result=b"new")
    assert tree(tmp_path / "out.replaced") == {"thesis.txt": b"mine"}
    assert tree(tmp_path / "out")["result"] == b"new"
    assert {path.name for path in tmp_path.iterdir()} == {"out", "out.replaced"}
