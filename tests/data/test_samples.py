from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from uda.core.errors import ConfigError, DataError
from uda.data.samples import Sample, load_specs, read_samples, relative_path, require_weights, write_samples


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_hand_written_manifest_is_read(tmp_path: Path) -> None:
    csv = write(
        tmp_path / "mine.csv",
        "\ufeffimage,label,dataset,split,weight,weather\na/1.png, b/1.png, gta5,train,2,rain\n/x/2.png,,gta5,,,\n",
    )
    first, second = read_samples(csv)
    assert first == Sample(
        tmp_path / "a/1.png", tmp_path / "b/1.png", "gta5", tmp_path, "train", "", 2.0, {"weather": "rain"}
    )
    assert second == Sample(Path("/x/2.png"), None, "gta5", tmp_path, extra={"weather": ""})


def test_texts_that_look_like_missing_values_or_numbers_stay_texts(tmp_path: Path) -> None:
    csv = write(tmp_path / "mine.csv", "image,label,dataset,group\n00012,NA,nan,007\n")
    (sample,) = read_samples(csv)
    assert (sample.image.name, sample.label, sample.dataset, sample.group) == ("00012", tmp_path / "NA", "nan", "007")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,lable,dataset\na,b,c\n", "has no column 'label'; did you mean 'lable'"),
        ("image,label,dataset\n", "lists no images"),
        ("", "is no CSV table"),
        ("image,label,dataset\na,b,c,d\n", "more fields than columns"),
        ("image,label,dataset\na,b,c\na,b,c,d\n", "is no CSV table"),
        ("image,label,dataset\na,b,c\n,b,c\n", "row 3: column 'image' is empty; write the path of an image"),
        ("image,label,dataset\na,b\n", "column 'dataset' is empty; write one of `uda list datasets`, or"),
        ("image,label,dataset,weight\na,b,c,heavy\n", "weight 'heavy' is no number from 0 on; write how often"),
        ("image,label,dataset,weight\na,b,c,-1\n", "weight '-1'"),
        ("image,label,dataset,weight\na,b,c,nan\n", "weight 'nan'"),
        ("image;label;dataset\na;b;c\n", "its columns are parted by semicolons; write commas"),
        ("image;label;dataset\na, b;b;c\n", "its columns are parted by semicolons; write commas"),
        ('\ufeff"image";"label";"dataset"\n"a";"b";"c"\n', "its columns are parted by semicolons; write commas"),
        ("image\tlabel\tdataset\na\tb\tc\n", "its columns are parted by tabs; write commas"),
    ],
)
def test_a_bad_manifest_says_what_and_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        read_samples(write(tmp_path / "mine.csv", text))
    assert "mine.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_semicolon_in_a_name_is_no_mark(tmp_path: Path) -> None:
    csv = write(tmp_path / "mine.csv", "image,label,dataset,taken;by\na;b.png,,gta5,me\n")
    assert read_samples(csv)[0].image == tmp_path / "a;b.png"


def test_one_image_of_some_weight_is_enough(tmp_path: Path) -> None:
    csv = write(tmp_path / "mine.csv", "image,label,dataset,weight\na,,gta5,0\nb,,gta5,0.5\n")
    assert [sample.weight for sample in read_samples(csv)] == [0, 0.5]


def test_a_missing_manifest_and_missing_images_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such manifest"):
        read_samples(tmp_path / "none.csv")
    csv = write(tmp_path / "mine.csv", "image,label,dataset\nhere.png,gone.png,gta5\nthere.png,,gta5\n")
    (tmp_path / "here.png").touch()
    assert len(read_samples(csv)) == 2
    with pytest.raises(DataError, match=r"1 of 2 images are missing, first .*there\.png"):
        read_samples(csv, check_files=True)
    (tmp_path / "there.png").touch()
    assert len(read_samples(csv, check_files=True)) == 2  # the missing label is not looked for


def test_what_is_written_is_read_back_also_after_moving_all_of_it(tmp_path: Path) -> None:
    run = tmp_path / "project" / "run"
    samples = [
        Sample(run / "images/1.png", run / "labels/1.png", "labels.yaml", run, "train", "a", 0.5, {"seed": "3"}),
        Sample(tmp_path / "project/data/2.png", None, "gta5", run, extra={"note": 'a, "b"'}),
    ]
    write_samples(run / "samples.csv", samples)
    back = read_samples(run / "samples.csv")
    assert back[0] == replace(samples[0], extra={"seed": "3", "note": ""})
    assert back[1] == replace(samples[1], extra={"seed": "", "note": 'a, "b"'})
    (tmp_path / "project").rename(tmp_path / "moved")
    moved = read_samples(tmp_path / "moved/run/samples.csv")
    assert [sample.image for sample in moved] == [tmp_path / "moved/run/images/1.png", tmp_path / "moved/data/2.png"]


def test_columns_without_content_are_left_out_and_a_relative_spec_is_based_anew(tmp_path: Path) -> None:
    sample = Sample(tmp_path / "a/1.png", None, "own.yaml", tmp_path / "a")
    write_samples(tmp_path / "b/x.csv", [sample])
    assert (tmp_path / "b/x.csv").read_text() == "image,label,dataset\n../a/1.png,,../a/own.yaml\n"
    assert not (tmp_path / "b/x.csv.tmp").exists()


def test_paths_far_away_are_written_absolute(tmp_path: Path) -> None:
    assert relative_path(Path("/far/away.png"), tmp_path) == "/far/away.png"
    assert relative_path(Path("/tmp2/away.png"), Path("/tmp")) == "/tmp2/away.png"  # the parent is the root itself


def test_a_manifest_behind_a_link_finds_its_images(tmp_path: Path) -> None:
    (tmp_path / "real/deep/csvs").mkdir(parents=True)
    (tmp_path / "real/deep/data").mkdir()
    image = tmp_path / "real/deep/data/1.png"
    image.touch()
    (tmp_path / "link").symlink_to(tmp_path / "real/deep/csvs")
    write_samples(tmp_path / "link/s.csv", [Sample(image, None, "gta5", tmp_path)])
    assert "../data/1.png" in (tmp_path / "link/s.csv").read_text()
    assert read_samples(tmp_path / "link/s.csv", check_files=True)[0].image == image


def test_each_spec_is_read_once_and_a_wrong_name_is_told(tmp_path: Path) -> None:
    samples = [Sample(tmp_path / "1.png", None, "gta5", tmp_path)] * 3
    assert list(load_specs(samples)) == [("gta5", tmp_path)]
    with pytest.raises(ConfigError, match=r"in the manifest's row of .*1.png.*did you mean 'gta5'"):
        load_specs([Sample(tmp_path / "1.png", None, "gta", tmp_path)])


@pytest.mark.parametrize("name", [" a.png", "a\r.png"])
def test_a_name_that_a_csv_would_change_is_told(tmp_path: Path, name: str) -> None:
    for sample in (
        Sample(tmp_path / name, None, "gta5", tmp_path),
        Sample(tmp_path, tmp_path / name, "gta5", tmp_path),
    ):
        with pytest.raises(DataError, match="would be another when it is read from a CSV; rename the file"):
            write_samples(tmp_path / "mine.csv", [sample])
    assert not (tmp_path / "mine.csv").exists()


def test_a_folder_is_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is a folder, not a manifest; give a manifest; `uda prepare` writes one"):
        read_samples(tmp_path)
    (tmp_path / "samples.csv").touch()
    with pytest.raises(DataError, match=r"is a folder, not a manifest; give .*/samples\.csv"):
        read_samples(tmp_path)


def test_a_name_that_no_csv_can_hold_is_told(tmp_path: Path) -> None:
    image = tmp_path / os.fsdecode(b"\xff.png")
    with pytest.raises(DataError, match=r"its name is no UTF-8, as a CSV has to be; rename the file"):
        write_samples(tmp_path / "mine.csv", [Sample(image, None, "gta5", tmp_path)])
    assert not (tmp_path / "mine.csv").exists()


def test_weights_that_are_all_0_are_refused_where_images_are_drawn_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    require_weights(file)  # made later
    file.write_text("image,label,dataset,weight\na,b,c,0\nd,b,c,0.0\n")
    assert len(read_samples(file)) == 2
    with pytest.raises(DataError, match=r"a\.csv: every weight is 0, .* is ever drawn; give those that"):
        require_weights(file)
    file.write_text("image,label,dataset,weight\na,b,c,0\nd,b,c,0.5\n")
    require_weights(file)
