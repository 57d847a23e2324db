"""Galleries filled from Parquet parts: whose recordings they are, going on after a kill, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.audio import SAMPLE_RATE, sing
from support.cli import call, refusal
from support.untrained_model import make_run

from singer_verify.inference import Gallery, load_model
from singer_verify.inference.gallery_file import read_gallery, write_gallery
from singer_verify.inference.gallery_import import build_singer_finder, import_parts
from singer_verify.inference.gallery_store import GalleryStore

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
MODEL = "f" * 64


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for number, folder in enumerate(("train/anna", "train/anna", "val/bert", "val/cleo")):
        path = tmp_path / "corpus" / folder / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, sing(number, 0.6), SAMPLE_RATE, subtype="FLOAT")
    return tmp_path / "corpus"


def write_part(target: Path, model: str = MODEL, **columns: list[object]) -> Path:
    rows = len(columns["path"])
    drawn = np.random.default_rng(0).standard_normal((rows, 4))
    given = {"embedding": (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).tolist(), "model": [model] * rows}
    target.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(given | columns), target)
    return target


def list_recordings(gallery: Path) -> dict[str, list[str]]:
    return json.loads(call("gallery", gallery, "--json"))["singers"]


@pytest.mark.parametrize("suffix", [pytest.param(".npz", marks=pytest.mark.slow), ".sqlite"])
def test_what_was_embedded_is_enrolled_as_enrol_does(run: Path, corpus: Path, tmp_path: Path, suffix: str) -> None:
    imported, enrolled = tmp_path / f"imported{suffix}", tmp_path / "enrolled.npz"
    call("enrol", run, enrolled, "--from", corpus)
    for windows in ([], ["--windows"]):
        call("embed", run, corpus, "--out", tmp_path / f"parts{len(windows)}", "--files-per-part", 3, *windows)
        call("gallery", imported, "--import", tmp_path / f"parts{len(windows)}", "--root", corpus)
        expected = {entry.recording: entry for entry in read_gallery(enrolled).enrolled}
        assert read_gallery(imported).fingerprint == read_gallery(enrolled).fingerprint
        assert len(read_gallery(imported).enrolled) == len(expected) == 4
        for entry in read_gallery(imported).enrolled:
            other = expected[entry.recording]
            assert (entry.singer, entry.content) == (other.singer, other.content)
            np.testing.assert_allclose(entry.embedding, other.embedding, atol=1e-6)
        imported.rename(tmp_path / f"first{suffix}")
    who = corpus / "val/bert/2.wav"
    found, other = (
        json.loads(call("identify", run, gallery, who, "--threshold", 0.5, "--json"))
        for gallery in (tmp_path / f"first{suffix}", enrolled)
    )
    assert found["singer"] == other["singer"] == "bert"
    assert found["num_enrolled"] == other["num_enrolled"] == 3
    assert [candidate["singer"] for candidate in found["candidates"]] == [
        candidate["singer"] for candidate in other["candidates"]
    ]
    assert found["remarks"] == other["remarks"]
    if suffix == ".sqlite":
        assert (
            json.loads(call("identify", run, tmp_path / "first.sqlite", who, "--threshold", 0.5, "--exact", "--json"))
            == found
        )


def test_the_commands_change_a_database_in_place(
    run: Path, corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "g.sqlite"
    record = json.loads(
        call("enrol", run, path, "anna", corpus / "train/anna/0.wav", corpus / "train/anna/1.wav", "--json")
    )
    assert len(record["recordings"]) == 2
    table = tmp_path / "labels.csv"
    table.write_text("singer,part\nbert,bass\n")
    call("enrol", run, path, "bert", corpus / "val/bert/2.wav", "--labels", table)
    assert "is not enrolled, because no recording was added" in refusal(
        "enrol", run, path, "zoe", corpus / "val/bert/2.wav"
    )
    assert json.loads(call("gallery", path, "--json"))["labels"] == {"bert": {"part": "bass"}}
    call("gallery", path, "--remove", "anna", "--recording", corpus / "train/anna/0.wav")
    assert list_recordings(path) == {
        "anna": [str(corpus / "train/anna/1.wav")],
        "bert": [str(corpus / "val/bert/2.wav")],
    }
    call("enrol", run, tmp_path / "other.npz", "cleo", corpus / "val/cleo/3.wav", "--labels", _write_labels(tmp_path))
    call("gallery", path, "--merge", tmp_path / "other.npz")
    assert set(list_recordings(path)) == {"anna", "bert", "cleo"}
    assert read_gallery(path).labels == {"bert": {"part": "bass"}, "cleo": {"part": "tenor"}}
    call("gallery", tmp_path / "small.npz", "--merge", path)
    assert list_recordings(tmp_path / "small.npz") == list_recordings(path)
    assert "cleo" in call("gallery", path)
    call("gallery", path, "--remove", "cleo")
    assert "cleo: is not in the gallery, which has 2 singers" in refusal("gallery", path, "--remove", "cleo")
    other = make_run(tmp_path / "other_run", seed=1)
    for command in (("identify", other, path), ("enrol", other, path, "anna")):
        assert "was made with another model" in refusal(*command, corpus / "val/bert/2.wav")
    write_gallery(tmp_path / "foreign.npz", MODEL, ())
    assert "were made with two models" in refusal("gallery", path, "--merge", tmp_path / "foreign.npz")
    assert "ends in .npz, or in .sqlite" in refusal("enrol", run, tmp_path / "g.csv", "anna", corpus)


def _write_labels(folder: Path) -> Path:
    (folder / "cleo.csv").write_text("singer,part\ncleo,tenor\n")
    return folder / "cleo.csv"


def test_singers_come_from_a_column_a_table_or_folders(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parts, table = tmp_path / "parts", tmp_path / "singers.csv"
    write_part(parts / "a.parquet", path=["x/anna/1.wav", "x/train/bert/2.wav", "y/3.wav"], singer=["A", " B ", None])
    call("gallery", tmp_path / "column.npz", "--import", parts)
    assert list_recordings(tmp_path / "column.npz") == {"A": ["x/anna/1.wav"], "B": ["x/train/bert/2.wav"]}
    assert "rows without a singer, left out: 1 (y/3.wav)" in caplog.text
    call("gallery", tmp_path / "root.npz", "--import", parts, "--root", "x/")
    assert list_recordings(tmp_path / "root.npz") == {"anna": ["x/anna/1.wav"], "bert": ["x/train/bert/2.wav"]}
    table.write_text("path;singer\ny/3.wav;Cleo\n./x/anna/1.wav;Anna\n")
    call("gallery", tmp_path / "table.npz", "--import", parts / "a.parquet", "--singers", table)
    assert list_recordings(tmp_path / "table.npz") == {"Anna": ["x/anna/1.wav"], "Cleo": ["y/3.wav"]}
    find = build_singer_finder(None, Path("/c"))
    assert find is not None
    assert [find(path) for path in ("/c/val/anna/a/1.wav", "/c/val/1.wav", "/c/1.wav", "/d/anna/1.wav")] == [
        *("anna", "val", None, None)
    ]


def test_windows_of_one_singer_are_one_recording(tmp_path: Path) -> None:
    paths, singers = ["a.wav", "a.wav", "a.wav", "b.wav"], ["anna", "bert", "anna", "anna"]
    part = write_part(tmp_path / "a.parquet", path=paths, singer=singers, content=["1" * 16] * 3 + ["2" * 16])
    import_parts(tmp_path / "g.npz", part)
    enrolled = {(entry.singer, entry.recording): entry for entry in read_gallery(tmp_path / "g.npz").enrolled}
    assert [*enrolled] == [("anna", "a.wav"), ("bert", "a.wav"), ("anna", "b.wav")]
    rows = np.array(pq.read_table(part)["embedding"].to_pylist())
    mean = rows[0] + rows[2]
    np.testing.assert_allclose(enrolled["anna", "a.wav"].embedding, mean / np.linalg.norm(mean), atol=1e-6)
    assert enrolled["anna", "b.wav"].content == "2" * 16
    assert len({entry.content for entry in enrolled.values()}) == 3


def test_an_import_goes_on_where_it_was(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parts, path = tmp_path / "parts", tmp_path / "g.sqlite"
    write_part(parts / "a.parquet", path=["1.wav", "2.wav"], singer=["anna", "bert"])
    write_part(parts / "b.parquet", path=["3.wav"], singer=["anna"], embedding=[[0.6, 0.8, 0.0, 0.0]])
    whole = (parts / "b.parquet").read_bytes()
    (parts / "b.parquet").write_bytes(whole[:-20])
    assert "b.parquet: is damaged, cut short" in refusal("gallery", path, "--import", parts)
    assert list_recordings(path) == {"anna": ["1.wav"], "bert": ["2.wav"]}  # the first part is kept
    (parts / "b.parquet").write_bytes(whole)
    caplog.set_level("INFO", logger="singer_verify")
    call("gallery", path, "--import", parts)
    assert "recordings added: 1; in the gallery before: 2; left out: 0." in caplog.text
    assert list_recordings(path) == {"anna": ["1.wav", "3.wav"], "bert": ["2.wav"]}
    write_part(parts / "c.parquet", path=["4.wav"], singer=["zoe"], embedding=[[0.6, 0.8, 0.0, 0.0]])
    call("gallery", path, "--import", parts)
    assert (
        "4.wav: is in the gallery already as 3.wav, as a recording of anna: remove it there; left out." in caplog.text
    )


def test_a_long_list_is_printed_as_json_only(tmp_path: Path) -> None:
    names = [f"{number}.wav" for number in range(1001)]
    write_part(tmp_path / "a.parquet", path=names, singer=["anna"] * 1001)
    printed = call("gallery", tmp_path / "g.sqlite", "--import", tmp_path / "a.parquet")
    assert printed == f"{tmp_path}/g.sqlite: 1 singers, 1001 recordings; --json lists them.\n"
    assert list_recordings(tmp_path / "g.sqlite") == {"anna": names}


@pytest.mark.parametrize("suffix", [pytest.param(".npz", marks=pytest.mark.slow), ".sqlite"])
def test_what_cannot_be_imported_is_refused(run: Path, corpus: Path, tmp_path: Path, suffix: str) -> None:
    path, parts, part = tmp_path / f"g{suffix}", tmp_path / "parts", tmp_path / "parts/a.parquet"

    def refuse(*options: object) -> str:
        return refusal("gallery", path, "--import", parts, *options)

    assert "no such file or folder; expected Parquet parts" in refuse()
    parts.mkdir()
    assert "holds no Parquet part" in refuse()
    write_part(part, path=["a.wav"])
    assert (
        "has no column singer; its columns are embedding, model, path; expected path, embedding, model, sing"
        in refuse()
    )
    assert "none of its recordings has a singer" in refuse("--root", tmp_path)
    (tmp_path / "t.csv").write_text("path,part\na.wav,alto\n")
    assert "t.csv: has no column singer" in refuse("--singers", tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("path,singer\na.wav,anna\n./a.wav,bert\n")
    assert "lists a.wav as anna and as bert" in refuse("--singers", tmp_path / "t.csv")
    assert "cannot be combined with --root" in refuse("--singers", tmp_path / "t.csv", "--root", tmp_path)
    assert "cannot be combined with --import" in refuse("--remove", "anna")
    assert "no effect without --import" in refusal("gallery", path, "--root", tmp_path)
    write_part(part, path=["a.wav"], singer=["unknown"])
    assert "which stand for nobody" in refuse()
    write_part(part, path=["a.wav", "b.wav"], singer=["anna", "anna"], model=MODEL)
    write_part(parts / "b.parquet", "e" * 64, path=["c.wav"], singer=["anna"])
    assert "b.parquet: was made with another model" in refuse()
    (parts / "b.parquet").unlink()
    path.unlink(missing_ok=True)
    call("enrol", run, path, "anna", corpus / "train/anna/0.wav")
    assert "a.parquet: was made with another model" in refuse()
    path.write_bytes(path.read_bytes()[:-3000])
    assert str(path) in (said := refuse())
    assert "damaged" in said


def test_a_database_is_a_gallery_everywhere(run: Path, corpus: Path, tmp_path: Path) -> None:
    call("enrol", run, tmp_path / "g.sqlite", "anna", corpus / "train/anna/0.wav")
    with GalleryStore.open(tmp_path / "g.sqlite") as store:
        assert store.count() == (1, 1)
    loaded = Gallery.load(tmp_path / "g.sqlite", load_model(run))
    assert loaded.num_singers == 1
    assert loaded.known().names == ("anna",)  # for a diarization
    assert repr(loaded).startswith(f"StoredGallery({tmp_path}/g.sqlite, 1 singers, 1 recordings, Model(")
