"""The command audit: faults put into a small corpus, its answers in every form, what is written, refusals."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from support.audio import SAMPLE_RATE, sing_phrases
from support.cli import call, refusal
from support.untrained_model import make_run

from singer_verify.corpora.corpus import read_corpus
from singer_verify.features.precomputed import PrecomputedFeature

SINGERS, TAKES = ("anna", "ben", "cleo"), ("one", "two", "three", "four")


def write(path: Path, samples: np.ndarray, **options: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.rint(32767 * samples).astype(np.int16), SAMPLE_RATE, **options)


def sing_with_hiss(seed: int, seconds: float = 2.0) -> np.ndarray:
    """A voice of its own for each recording: notes of one synthetic singer are equal to the sample."""
    hiss = 5e-4 * np.random.default_rng(seed).standard_normal(round(seconds * SAMPLE_RATE))
    return sing_phrases(seed, 0, seconds) + hiss


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three singers with four recordings each, and six recordings with a fault each."""
    root = tmp_path_factory.mktemp("audit") / "corpus"
    for number, singer in enumerate(SINGERS):
        for take, song in enumerate(TAKES):
            write(root / f"train/{singer}/{song}.flac", sing_with_hiss(10 * number + take))
    voice = sing_with_hiss(90)
    peak = np.abs(voice).max()
    write(root / "train/anna/clipped.flac", np.clip(voice, -0.3 * peak, 0.3 * peak))
    write(root / "train/anna/narrow.flac", soxr.resample(soxr.resample(voice[:30_000], 16_000, 8_000), 8_000, 16_000))
    write(root / "train/ben/copy.ogg", 0.5 * sing_with_hiss(0), format="OGG", subtype="VORBIS")
    write(root / "train/ben/again.wav", sing_with_hiss(10))
    write(root / "train/cleo/long.flac", sing_with_hiss(77, 9.0))
    (root / "train/cleo/text.wav").write_text("no audio")
    rows = "".join(f"train/{singer}/{song}.flac,{song}\n" for singer in SINGERS for song in TAKES)
    (root / "corpus.csv").write_text(f"utterance,song\n{rows}")
    return root


def read_kinds(record: dict[str, object]) -> set[tuple[str, str]]:
    return {(finding["kind"], Path(finding["utterance"]).name) for finding in record["findings"]}  # type: ignore[index,attr-defined]


def test_each_fault_is_named_and_nothing_else(corpus: Path, tmp_path: Path) -> None:
    out, clean = tmp_path / "out", tmp_path / "clean"
    record = json.loads(call("audit", corpus, "--json", "--out", out, "--apply", clean))
    found = read_kinds(record)
    assert found >= {
        ("clipping", "clipped.flac"),
        ("bandwidth", "narrow.flac"),
        ("copy", "copy.ogg"),
        ("copy", "again.wav"),
        ("length", "long.flac"),
        ("unreadable", "text.wav"),
    }
    assert {name for kind, name in found if kind in ("clipping", "bandwidth", "hum", "length", "silence")} == {
        "clipped.flac",
        "narrow.flac",
        "long.flac",
    }
    # of two singers' copies both, of one singer's the later, and what cannot be used
    assert {"train/anna/one.flac", "train/ben/copy.ogg", "train/cleo/text.wav"} <= set(record["refused"])
    assert len({"train/ben/again.wav", "train/ben/one.flac"} & set(record["refused"])) == 1
    assert "Without --model" in " ".join(record["notes"])
    assert {file.name for file in out.iterdir()} == {"audit.csv", "audit.html", "audit.json", "measures.csv"}
    assert json.loads((out / "audit.json").read_text()) == record
    rows = list(csv.DictReader(io.StringIO((out / "audit.csv").read_text())))
    assert [row["rank"] for row in rows] == [str(rank + 1) for rank in range(len(rows))]
    assert {row["utterance"] for row in rows if row["refused"] == "yes"} == set(record["refused"])
    page = (out / "audit.html").read_text()
    assert page.count("<audio") >= 6
    assert "data:audio/ogg" in page
    table = list(csv.DictReader(io.StringIO((clean / "corpus.csv").read_text())))
    assert len(table) == record["num_recordings"] - len(record["refused"])
    assert {row["song"] for row in table if row["utterance"] == "train/ben/three.flac"} == {"three"}
    assert all((clean / row["utterance"]).is_file() for row in table)
    (split,) = read_corpus(clean, required=()).splits.values()  # which is what training and evaluation take
    assert {utterance.path for utterance in split.utterances} == {row["utterance"] for row in table}


def test_what_a_listener_decides(corpus: Path, tmp_path: Path) -> None:
    text = call("audit", corpus, "--csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    keeps = "train/anna/one.flac"
    for row in rows:
        row["refused"] = "no" if row["utterance"] == keeps else row["refused"].upper()
    with (tmp_path / "audit.csv").open("w") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    call("audit", corpus, "--apply", tmp_path / "clean", "--decisions", tmp_path / "audit.csv", "--copy")
    assert (tmp_path / "clean" / keeps).is_file()
    assert not (tmp_path / "clean" / keeps).is_symlink()
    assert not (tmp_path / "clean/train/ben/copy.ogg").exists()


def test_kinds_to_refuse_and_the_text(corpus: Path) -> None:
    printed = call("audit", corpus, "--refuse", "clipping", "--top", "2")
    assert "Audit of" in printed
    assert "First by rank" in printed
    assert "train/anna/clipped.flac" in printed
    assert "1 are refused" in " ".join(printed.split())
    assert json.loads(call("audit", corpus, "--refuse", "none", "--json"))["refused"] == []


def test_with_a_model(corpus: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    record = json.loads(call("audit", corpus, "--model", run, "--json", "--false-alarms", "0.1"))
    notes = " ".join(record["notes"])
    assert "of the labels seem to be wrong" in notes
    assert "Without --model" not in notes
    assert ("clipping", "clipped.flac") in read_kinds(record)


def test_a_corpus_of_one_singer(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "corpus/train").mkdir(parents=True)
    (tmp_path / "corpus/train/anna").symlink_to(corpus / "train/anna")
    run = make_run(tmp_path / "run")
    notes = json.loads(call("audit", tmp_path / "corpus", "--model", run, "--json"))["notes"]
    assert any("1 singer; expected 2 or more" in note for note in notes)


def test_refusals(corpus: Path, tmp_path: Path) -> None:
    assert "no such folder" in refusal("audit", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "has no folder train, val or test" in refusal("audit", tmp_path / "empty")
    assert "no folder other" in refusal("audit", corpus, "--split", "other")
    assert "--refuse loudness: expected some of" in refusal("audit", corpus, "--refuse", "label,loudness")
    assert "false_alarms=0.9" in refusal("audit", corpus, "--false-alarms", "0.9")
    assert "--decisions: has no effect without --apply" in refusal("audit", corpus, "--decisions", tmp_path / "a.csv")
    assert "--copy: has no effect without --apply" in refusal("audit", corpus, "--copy")
    assert "print one form" in refusal("audit", corpus, "--json", "--csv")
    assert "has no effect without --model" in refusal("audit", corpus, "--scoring", "cosine")
    assert "lies in it" in refusal("audit", corpus, "--apply", corpus / "clean")
    assert "is the corpus" in refusal("audit", corpus, "--apply", corpus)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("")
    assert "already holds files" in refusal("audit", corpus, "--apply", tmp_path / "full")
    assert "not a folder" in refusal("audit", corpus, "--out", tmp_path / "full/file")
    feature = PrecomputedFeature({"num_feats": 8, "sr": 16_000, "hop_size": 160})
    run = make_run(tmp_path / "run", feature)
    assert "was trained on precomputed features" in refusal("audit", corpus, "--model", run)
    assert "nowhere" in refusal("audit", corpus, "--model", tmp_path / "nowhere")
    (tmp_path / "features/train/a").mkdir(parents=True)
    np.save(tmp_path / "features/train/a/one.npy", np.zeros((10, 4), np.float32))
    assert "an audit needs the recordings" in refusal("audit", tmp_path / "features")


def test_refused_decisions(corpus: Path, tmp_path: Path) -> None:
    def decide(text: str, *more: object) -> str:
        path = tmp_path / "audit.csv"
        path.write_text(text)
        return refusal("audit", corpus, "--apply", tmp_path / "clean", "--decisions", path, *more)

    assert "has no column refused" in decide("utterance\ntrain/anna/one.flac\n")
    assert "refused='perhaps'; expected yes or no" in decide("utterance,refused\ntrain/anna/one.flac,perhaps\n")
    assert "train/x.flac: is refused, but is not in" in decide("utterance,refused\ntrain/x.flac,yes\n")
    every = "".join(f"{file.relative_to(corpus)},yes\n" for file in (corpus / "train").rglob("*.*"))
    assert "nothing would be left" in decide(f"utterance,refused\n{every}")
    assert "nothing is audited" in decide("utterance,refused\n", "--refuse", "all")
    assert not (tmp_path / "clean").exists()
