"""The command similarity: pairs from a table or from folders, its answers in every form, and refusals."""

import csv
import io
import json
from pathlib import Path

import pytest
import soundfile
import torch
from support.audio import SAMPLE_RATE, sing
from support.cli import call, refusal
from support.untrained_model import make_run

from singer_verify import load_model
from singer_verify.errors import SingerVerifyError
from singer_verify.inference.similarity import SingerSimilarity, match_folders, read_pairs

QUICK = ("--resamples", "50")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("model") / "run")


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two singers with two songs each, as they sing and as two systems make them sing."""
    root = tmp_path_factory.mktemp("voices")
    for number, (singer, song) in enumerate((s, t) for s in ("anna", "ben") for t in ("one", "two")):
        for take, folder in enumerate(("real", "new", "old")):
            file = root / folder / singer / f"{song}.{'flac' if folder == 'real' else 'wav'}"
            file.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(file, sing(10 * number + take), SAMPLE_RATE)
    rows = [
        f"{system}/{singer}/{song}.wav;real/{singer}/{song}.flac;{system};{singer};{song}"
        for system in ("new", "old")
        for singer in ("anna", "ben")
        for song in ("one", "two")
    ]
    (root / "pairs.csv").write_text("generated;reference;system;singer;song\n" + "\n".join(rows) + "\n")
    return root


def test_a_table_of_two_systems(model: Path, voices: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    record = json.loads(call("similarity", model, voices / "pairs.csv", *QUICK, "--json", "--out", out))
    assert {row["system"]: (row["num_pairs"], row["num_singers"], row["num_songs"]) for row in record["systems"]} == {
        "new": (4, 2, 2),
        "old": (4, 2, 2),
    }
    loaded = load_model(model)
    for pair in record["pairs"]:
        expected = loaded.embed(Path(pair["generated"])) @ loaded.embed(Path(pair["reference"]))
        assert pair["score"] == pytest.approx(float(expected), abs=1e-5)
    means = {row["system"]: row["score"]["value"] for row in record["systems"]}
    (difference,) = record["differences"]
    assert difference["score"]["value"] == pytest.approx(means[difference["system"]] - means[difference["other"]])
    names = {"similarity.json", "pairs.csv", "systems.csv", "systems.tex", "similarity.png", "similarity.svg"}
    assert {file.name for file in out.iterdir()} == names
    assert json.loads((out / "similarity.json").read_text()) == record
    assert r"\begin{tabular}{lrrrr}" in (out / "systems.tex").read_text()


def test_a_table_gives_what_its_folders_give(model: Path, voices: Path) -> None:
    folders = ("--generated", voices / "new", "--generated", voices / "old", "--reference", voices / "real")
    by_table = call("similarity", model, voices / "pairs.csv", *QUICK, "--csv")
    by_folders = call("similarity", model, *folders, *QUICK, "--csv")

    def read(text: str) -> list[tuple[str, ...]]:
        rows = csv.DictReader(io.StringIO(text))
        return [(row["generated"], row["system"], row["singer"], row["song"], row["score"]) for row in rows]

    assert read(by_table) == read(by_folders)


def test_the_text_names_the_worst_and_what_is_accepted(model: Path, voices: Path) -> None:
    printed = call("similarity", model, voices / "pairs.csv", *QUICK, "--threshold", "-1", "--worst", "1")
    assert "accepted %" in printed
    assert "100.0" in printed
    assert "Least like their references" in printed
    assert "Differences of mean scores" in printed


def test_a_narrow_band_is_said(model: Path, voices: Path, tmp_path: Path) -> None:
    """A vocoder at half the rate, brought to the rate of the others."""
    spectrum = torch.fft.rfft(torch.from_numpy(sing(1)))
    spectrum[len(spectrum) // 3 :] = 0
    soundfile.write(tmp_path / "narrow.wav", torch.fft.irfft(spectrum).numpy(), SAMPLE_RATE)
    (tmp_path / "pairs.csv").write_text(f"generated,reference\nnarrow.wav,{voices / 'real/anna/one.flac'}\n")
    (pair,) = json.loads(call("similarity", model, tmp_path / "pairs.csv", *QUICK, "--json"))["pairs"]
    assert "narrow.wav: ends at" in pair["remarks"]
    assert "one.flac: ends at" not in pair["remarks"]


def test_recordings_that_cannot_be_used_are_said(model: Path, voices: Path, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    one, two = (voices / f"real/anna/{song}.flac" for song in ("one", "two"))
    (tmp_path / "pairs.csv").write_text(f"generated,reference\ntext.wav,{one}\n{two},{one}\n")
    record = json.loads(call("similarity", model, tmp_path / "pairs.csv", *QUICK, "--json"))
    assert record["num_skipped"] == 1
    assert "text.wav" in record["skipped"][0]
    assert len(record["pairs"]) == 1
    assert record["systems"][0]["score"]["low"] is None


def test_refusals(model: Path, voices: Path, tmp_path: Path) -> None:
    def table(text: str) -> Path:
        path = tmp_path / "table.csv"
        path.write_text(text)
        return path

    assert "has no column reference" in refusal("similarity", model, table("generated,other\na.wav,b.wav\n"))
    assert "no pairs" in refusal("similarity", model, table("generated,reference\n"))
    missing = "generated,reference\n" + "".join(f"{n}.wav,{n}.flac\n" for n in range(4))
    assert "0.wav, 0.flac, 1.wav and 5 more: no such file" in refusal("similarity", model, table(missing))
    assert "expected either PAIRS.csv" in refusal("similarity", model)
    both = ("similarity", model, voices / "pairs.csv", "--generated", voices / "new", "--reference", voices / "real")
    assert "expected either PAIRS.csv" in refusal(*both)
    lonely = ("--generated", voices / "new", "--reference", voices / "real/anna")
    assert "no recording of that name" in refusal("similarity", model, *lonely)
    (tmp_path / "empty").mkdir()
    empty = ("--generated", tmp_path / "empty", "--reference", voices / "real")
    assert "holds no recordings" in refusal("similarity", model, *empty)
    assert "--resamples" in refusal("similarity", model, voices / "pairs.csv", "--resamples", "3")
    (tmp_path / "text.wav").write_text("no audio")
    assert "none of 1 pairs can be used" in refusal(
        "similarity", model, table("generated,reference\ntext.wav,text.wav\n")
    )
    assert "print one form" in refusal("similarity", model, voices / "pairs.csv", "--json", "--csv")


def test_defaults_of_singer_and_song(voices: Path, tmp_path: Path) -> None:
    reference = voices / "real/anna/one.flac"
    (tmp_path / "pairs.csv").write_text(f"generated,reference\n{voices / 'new/anna/two.wav'},{reference}\n")
    (pair,) = read_pairs(tmp_path / "pairs.csv")
    assert (pair.system, pair.singer, pair.song) == ("", str(reference), "two")
    (pair, *_) = match_folders({"": voices / "new/anna"}, voices / "real/anna")
    assert (pair.singer, pair.song) == (str(reference), "one")


def test_the_metric_is_the_mean_cosine(model: Path) -> None:
    loaded = load_model(model)
    generated = torch.stack([torch.from_numpy(sing(seed)) for seed in (1, 2, 3)])
    reference = torch.stack([torch.from_numpy(sing(seed)) for seed in (4, 5, 6)])
    metric = SingerSimilarity(loaded)
    metric.update(generated[:2], reference[:2])
    metric.update(generated[2:], reference[2:])
    expected = (loaded.embed(generated) * loaded.embed(reference)).sum(dim=1).mean()
    torch.testing.assert_close(metric.compute(), expected, atol=1e-6, rtol=0)
    metric.reset()
    metric.update(generated, reference[:1])
    torch.testing.assert_close(
        metric.compute(), (loaded.embed(generated) @ loaded.embed(reference[0])).mean(), atol=1e-6, rtol=0
    )
    with pytest.raises(SingerVerifyError, match="3 generated and 2 reference rows"):
        metric.update(generated, reference[:2])
