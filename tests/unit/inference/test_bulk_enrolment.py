"""Bulk enrolment, labels of singers, and merging of galleries: the functions and their commands."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.audio import SAMPLE_RATE, sing
from support.cli import call, refusal
from support.untrained_model import make_run

from singer_verify.errors import SingerVerifyError
from singer_verify.inference import Gallery, bulk_enrolment, load_model
from singer_verify.inference.bulk_enrolment import enrol_singers_in_bulk
from singer_verify.inference.enrolment import EnrolledRecording
from singer_verify.inference.gallery_file import GalleryContent, merge_galleries, read_gallery, write_gallery

SPLITS = {"train/anna": 2, "train/bert": 2, "val/cleo": 1}
FINGERPRINT = "f" * 64
TABLE = "Singer;Voice_Part;gender\nAnna;alto;female\nbert;bass;\ndora;tenor;male\n"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two splits, three singers, five recordings."""
    seed = 0
    for folder, count in SPLITS.items():
        (tmp_path / "corpus" / folder).mkdir(parents=True)
        for number in range(count):
            path = tmp_path / "corpus" / folder / f"{number}.wav"
            soundfile.write(path, sing(seed, 0.6), SAMPLE_RATE, subtype="FLOAT")
            seed += 1
    return tmp_path / "corpus"


def make_recording(singer: str, number: int) -> EnrolledRecording:
    return EnrolledRecording(singer, f"{number}.wav", f"{number:016x}", np.eye(4, dtype=np.float32)[number % 4])


def test_all_singers_of_a_corpus_are_enrolled_in_one_call(run: Path, corpus: Path, tmp_path: Path) -> None:
    path = tmp_path / "g.npz"
    printed = call("enrol", run, path, "--from", corpus)
    assert "3 singers" in printed
    model = load_model(run)
    loaded = Gallery.load(path, model)
    assert {singer: len(loaded.recordings(singer)) for singer in loaded.singers} == {"anna": 2, "bert": 2, "cleo": 1}
    for recording in loaded.enrolled:
        np.testing.assert_allclose(recording.embedding, model.embed(recording.recording), atol=1e-6)
    plain = json.loads(call("enrol", run, tmp_path / "plain.npz", "--from", corpus / "train", "--json"))
    assert plain["singers"]["anna"] == {"added": 2, "present": 0, "left_out": 0, "recordings": 2, "labels": {}}
    val = json.loads(call("enrol", run, tmp_path / "val.npz", "--from", corpus, "--split", "val", "--json"))
    assert [*val["singers"]] == ["cleo"]


def test_an_interrupted_enrolment_goes_on_where_it_was(
    run: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, model = tmp_path / "g.npz", load_model(run)
    singer_by_file = {file: file.parent.name for file in sorted(corpus.rglob("*.wav"))}
    embed_many, embedded = model.embed_many, list[Path]()

    def interrupt(recordings, num_threads=None):  # type: ignore[no-untyped-def]
        for place, result in enumerate(embed_many(recordings, 0)):
            if place == 3 and len(embedded) < 4:
                raise KeyboardInterrupt
            embedded.append(result[0])
            yield result

    monkeypatch.setattr(model, "embed_many", interrupt)
    with pytest.raises(KeyboardInterrupt):
        enrol_singers_in_bulk(path, model, singer_by_file, {})
    assert len(read_gallery(path).enrolled) == 3
    (corpus / "train/anna/copy.wav").write_bytes((corpus / "train/anna/1.wav").read_bytes())
    singer_by_file = {file: file.parent.name for file in sorted(corpus.rglob("*.wav"))}
    outcome = enrol_singers_in_bulk(path, model, singer_by_file, {})
    assert embedded[3:] == [corpus / "train/anna/copy.wav", corpus / "train/bert/1.wav", corpus / "val/cleo/0.wav"]
    assert {singer: tuple(vars(counts).values()) for singer, counts in outcome.singers.items()} == {
        "anna": (0, 3, 0),
        "bert": (1, 1, 0),
        "cleo": (1, 0, 0),
    }
    assert outcome.remarks == [
        f"{corpus}/train/anna/copy.wav: is in the gallery already as {corpus}/train/anna/1.wav; left out."
    ]
    soundfile.write(corpus / "val/cleo/0.wav", sing(99, 0.7), SAMPLE_RATE)  # another take under the same name
    outcome = enrol_singers_in_bulk(path, model, singer_by_file, {})
    assert tuple(vars(outcome.singers["cleo"]).values()) == (1, 0, 0)
    assert len(read_gallery(path).enrolled) == 6


def test_a_corpus_is_enrolled_into_a_database(run: Path, corpus: Path, tmp_path: Path) -> None:
    small, stored = tmp_path / "g.npz", tmp_path / "g.sqlite"
    shutil.copy(corpus / "train/anna/0.wav", corpus / "val/cleo/of_anna.wav")
    (tmp_path / "labels.csv").write_text(TABLE)
    options = ("--labels", tmp_path / "labels.csv", "--json")
    for _ in range(2):  # the second time, all are there
        records = [json.loads(call("enrol", run, path, "--from", corpus, *options)) for path in (small, stored)]
        assert records[1]["singers"] == records[0]["singers"]
        assert records[1]["remarks"] == records[0]["remarks"]
    for one, other in zip(read_gallery(small).enrolled, read_gallery(stored).enrolled, strict=True):
        assert (one.singer, one.recording, one.content) == (other.singer, other.recording, other.content)
        np.testing.assert_array_equal(one.embedding, other.embedding)
    assert read_gallery(stored).labels == read_gallery(small).labels
    assert "3 singers" in call("enrol", run, stored, "--from", corpus)


def test_it_is_saved_again_and_again(run: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved, save = list[int](), Gallery.save

    def watch(enrolled: Gallery, path: Path) -> None:
        saved.append(len(enrolled.enrolled))
        save(enrolled, path)

    monkeypatch.setattr(bulk_enrolment, "SAVE_INTERVAL_S", -1.0)
    monkeypatch.setattr(Gallery, "save", watch)
    files = {file: file.parent.name for file in sorted(corpus.rglob("*.wav"))}
    enrol_singers_in_bulk(tmp_path / "g.npz", load_model(run), files, {})
    assert saved == [1, 2, 3, 4, 5]


def test_recordings_that_cannot_be_used_are_counted_and_named(run: Path, corpus: Path, tmp_path: Path) -> None:
    soundfile.write(corpus / "train/anna/short.wav", sing(7, 0.1), SAMPLE_RATE)
    shutil.copy(corpus / "train/anna/0.wav", corpus / "val/cleo/of_anna.wav")
    record = json.loads(call("enrol", run, tmp_path / "g.npz", "--from", corpus, "--json"))
    assert record["singers"]["anna"]["left_out"] == record["singers"]["cleo"]["left_out"] == 1
    assert ["short.wav: lasts 0.10 s" in record["remarks"][0], "a recording of anna" in record["remarks"][1]] == [
        True
    ] * 2


def test_bulk_enrolment_refuses(run: Path, corpus: Path, tmp_path: Path) -> None:
    path = tmp_path / "g.npz"
    for arguments in ((), ("anna",), ("anna", corpus / "train/anna/0.wav", "--from", corpus)):
        assert refusal("enrol", run, path, *arguments) == (
            "expected a singer's NAME and FILES..., or all singers of a corpus by --from CORPUS; give one of the two."
        )
    assert "--split val: has no effect without --from" in refusal(
        "enrol", run, path, "anna", corpus / "train/anna/0.wav", "--split", "val"
    )
    assert "has no folder test" in refusal("enrol", run, path, "--from", corpus, "--split", "test")
    assert "not in a singer's folder" in refusal("enrol", run, path, "--from", corpus / "train/anna")
    assert "no such file or folder" in refusal("enrol", run, path, "--from", tmp_path / "missing")
    (corpus / "val/cleo").rename(corpus / "val/unknown")
    assert "which stand for nobody" in refusal("enrol", run, path, "--from", corpus)
    (tmp_path / "bad/anna").mkdir(parents=True)
    soundfile.write(tmp_path / "bad/anna/0.wav", np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    assert "none of the recordings can be used" in refusal("enrol", run, path, "--from", tmp_path / "bad")
    assert not path.exists()


def test_singers_have_labels(run: Path, corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, table = tmp_path / "g.npz", tmp_path / "labels.csv"
    table.write_text(TABLE)
    call("enrol", run, path, "--from", corpus, "--labels", table)
    assert "has no row for 1 of 3 singers, whose labels are unknown (cleo)" in caplog.text
    assert read_gallery(path).labels == {
        "anna": {"Voice_Part": "alto", "gender": "female"},
        "bert": {"Voice_Part": "bass"},
    }
    identified = json.loads(
        call("identify", run, path, corpus / "train/bert/0.wav", "--threshold", 0.5, "--top", 1, "--json")
    )
    assert (identified["singer"], identified["candidates"][0]["labels"]) == ("bert", {"Voice_Part": "bass"})
    assert json.loads(call("gallery", path, "--json"))["labels"]["anna"] == {"Voice_Part": "alto", "gender": "female"}
    assert "Voice_Part" in call("gallery", path)
    call("gallery", path, "--remove", "anna")
    assert read_gallery(path).labels == {"bert": {"Voice_Part": "bass"}}
    record = json.loads(call("enrol", run, path, "dora", corpus / "train/anna/0.wav", "--labels", table, "--json"))
    assert record["labels"] == {"Voice_Part": "tenor", "gender": "male"}
    with np.load(path, allow_pickle=False) as stored:
        assert stored["version"] == 2
        assert {stored[name].dtype.kind for name in stored.files} <= set("Uif")
    call("gallery", path, "--remove", "dora")
    call("gallery", path, "--remove", "bert")
    with np.load(path) as stored:  # as earlier versions read it
        assert (stored["version"], "labels" in stored.files) == (1, False)


def test_labels_of_utterances_are_those_of_singers_where_they_agree(run: Path, corpus: Path, tmp_path: Path) -> None:
    rows = ["utterance,singer,split,gender,song"]
    rows += [
        f"{path.relative_to(corpus)},{path.parent.name},x,{'fm'['bert' in str(path)]},{path.stem}"
        for path in corpus.rglob("*.wav")
    ]
    (corpus / "corpus.csv").write_text("\n".join(rows))
    call("enrol", run, tmp_path / "g.npz", "--from", corpus, "--labels", corpus / "corpus.csv")
    assert read_gallery(tmp_path / "g.npz").labels == {
        name: {"gender": "fm"[name == "bert"]} for name in ("anna", "bert", "cleo")
    }


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("singer,part\nzoe,alto\n", "has no row for anna or any of 2 other singers; its singers are zoe"),
        ("singer\nanna\n", "has no labels of singers"),
        ("utterance,part\nanna/0.wav,alto\n", "has no column singer"),
        ("name,part\nanna,alto\n", "has no column utterance or singer"),
        ("singer,part\nanna,alto\nanna,bass\n", "lists anna twice"),
    ],
)
def test_a_table_without_labels_of_the_singers_is_refused(
    run: Path, corpus: Path, tmp_path: Path, table: str, said: str
) -> None:
    (tmp_path / "labels.csv").write_text(table)
    message = refusal("enrol", run, tmp_path / "g.npz", "--from", corpus, "--labels", tmp_path / "labels.csv")
    assert message.startswith(f"--labels {tmp_path}/labels.csv: ")
    assert said in message
    assert not (tmp_path / "g.npz").exists()


def test_galleries_are_merged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second, third = (tmp_path / f"{name}.npz" for name in "abc")
    write_gallery(
        first, FINGERPRINT, [make_recording("anna", 0), make_recording("bert", 1)], {"anna": {"part": "alto"}}
    )
    labels = {"anna": {"part": "bass", "age": "30"}, "cleo": {"part": "tenor"}}
    write_gallery(second, FINGERPRINT, [make_recording("anna", 0), make_recording("anna", 2)], labels)
    write_gallery(third, FINGERPRINT, [make_recording("cleo", 3)], labels)
    record = json.loads(
        call("gallery", tmp_path / "new.npz", "--merge", first, "--merge", second, "--merge", third, "--json")
    )
    assert record["singers"] == {"anna": ["0.wav", "2.wav"], "bert": ["1.wav"], "cleo": ["3.wav"]}
    assert record["labels"] == {"anna": {"part": "alto", "age": "30"}, "cleo": {"part": "tenor"}}
    assert "part of anna is bass; alto is kept" in caplog.text
    call("gallery", first, "--merge", third)
    assert [recording.recording for recording in read_gallery(first).enrolled] == ["0.wav", "1.wav", "3.wav"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz", "c.npz", "new.npz"]


def test_galleries_that_contradict_each_other_are_not_merged(tmp_path: Path) -> None:
    one, other, foreign = (tmp_path / f"{name}.npz" for name in ("one", "other", "foreign"))
    write_gallery(one, FINGERPRINT, [make_recording("anna", 0)])
    write_gallery(other, FINGERPRINT, [make_recording("bert", 0)])
    write_gallery(foreign, "e" * 64, [make_recording("cleo", 1)])
    before = one.read_bytes()
    assert f"{one} and {foreign}: were made with two models" in refusal("gallery", one, "--merge", foreign)
    said = refusal("gallery", one, "--merge", other)
    assert f"{one} and {other}: hold the same recording under two singers, 0.wav of anna and 0.wav of bert" in said
    assert "is named twice" in refusal("gallery", one, "--merge", one)
    assert "no such gallery" in refusal("gallery", one, "--merge", tmp_path / "missing.npz")
    assert "cannot be combined with --merge" in refusal("gallery", one, "--merge", other, "--remove", "anna")
    assert one.read_bytes() == before
    with pytest.raises(SingerVerifyError, match="two models"):
        merge_galleries({one: read_gallery(one), foreign: GalleryContent("e" * 64, (), {})})
