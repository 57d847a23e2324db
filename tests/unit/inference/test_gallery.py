"""Galleries: enrol, remove, identify, verify; the file; the commands."""

import hashlib
import io
import json
import multiprocessing
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.audio import sing
from support.untrained_model import make_run
from typer.testing import CliRunner

from singer_verify.cli import app
from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.evaluation.averaging import average_embeddings
from singer_verify.evaluation.scoring.calibration import Calibration
from singer_verify.evaluation.scoring.enrolment import draw_gallery
from singer_verify.evaluation.scoring.normalisation import Cohort
from singer_verify.evaluation.scoring.projection import fit_whitening
from singer_verify.evaluation.scoring.scoring import COSINE, USER_DEFINED, MultiEnrolmentCalibration, Scoring, Threshold
from singer_verify.inference import AudioClip, Gallery, Model, load_model
from singer_verify.inference.enrolment import EnrolledRecording
from singer_verify.inference.gallery_file import lock_gallery, read_gallery, write_gallery
from singer_verify.inference.identification import rank_candidates

RATE = 16_000
FINGERPRINT = "f" * 64


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.wav" for number in range(5)]
    for number, path in enumerate(paths):
        soundfile.write(path, sing(number), RATE, subtype="FLOAT")
    return paths


def invoke(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    return result.exit_code, result.stdout


def refusal(*arguments: object) -> str:
    with pytest.raises(SingerVerifyError) as caught:
        invoke(*arguments)
    return str(caught.value)


def enrolled(number: int, singer: str = "anna") -> EnrolledRecording:
    row = np.eye(4, dtype=np.float32)[number % 4]
    return EnrolledRecording(singer, f"{number}.wav", f"{number:064x}", row)


def test_a_singer_is_the_mean_of_the_recordings(run: Path, files: list[Path]) -> None:
    embedder = load_model(run)
    gallery = Gallery(embedder)
    with pytest.raises(SingerVerifyError, match="the gallery is empty"):
        gallery.known()
    assert gallery.enrol("anna", files[:2]).added == (str(files[0]), str(files[1]))
    gallery.enrol("bert", [AudioClip(sing(7), RATE, "at hand")])
    mean = embedder.embed(files[0]) + embedder.embed(files[1])
    averaged = gallery.known()
    np.testing.assert_allclose(averaged.sides.embeddings[0], mean / np.linalg.norm(mean), atol=1e-6)
    assert gallery.singers == averaged.names == ("anna", "bert")
    assert averaged.num_recordings == (2, 1)
    assert gallery.recordings("bert") == ("at hand",)


def test_it_identifies_and_verifies(run: Path, files: list[Path]) -> None:
    embedder = load_model(run)
    gallery = Gallery(embedder, replace(COSINE, threshold=Threshold(0.9999, "somewhere")))
    for singer, file in zip(("anna", "bert", "cleo"), files, strict=False):
        gallery.enrol(singer, [file])
    identified = gallery.identify(files[1])
    assert (identified.best, identified.is_known, identified.candidates[0].score) == ("bert", True, pytest.approx(1.0))
    scores = [candidate.score for candidate in identified.candidates]
    assert scores == sorted(scores, reverse=True)
    query = embedder.embed(files[1])
    assert {candidate.singer: candidate.score for candidate in identified.candidates} == {
        singer: pytest.approx(float(row @ query), abs=1e-6)
        for singer, row in zip(gallery.singers, gallery.known().sides.embeddings, strict=True)
    }
    gallery.scoring = replace(COSINE, threshold=Threshold(1.1, "somewhere"))
    assert (gallery.identify(files[1]).best, gallery.identify(files[1]).is_known) == (None, False)
    gallery.scoring = COSINE
    assert (gallery.identify(files[1]).best, gallery.identify(files[1]).is_known) == (None, None)
    gallery.scoring = replace(COSINE, calibration=Calibration(2.0, 0.0, "somewhere"))
    assert gallery.identify(files[1]).candidates[0].probability == pytest.approx(1 / (1 + np.exp(-2.0)))
    assert gallery.verify("bert", files[1]).score == pytest.approx(1.0)
    assert gallery.verify("anna", sing(1), RATE).score == pytest.approx(
        float(gallery.known().sides.embeddings[0] @ query), abs=1e-6
    )


def test_singers_are_scored_as_an_evaluation_scores_them(run: Path) -> None:
    """The mean of the recordings as they are projected, and not the projection of their mean."""
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(40, 8)) + 2.0
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    singer_index = np.repeat(np.arange(4), 10)
    scoring = Scoring(fit_whitening(rows), Cohort(fit_whitening(rows)(rows[::2])))
    drawn = draw_gallery(scoring.prepare_embeddings(rows), singer_index, scoring, 3, 0)
    is_enrolled = np.ones(40, bool)
    is_enrolled[drawn.queries] = False
    recordings = [EnrolledRecording(f"{singer_index[n]}", f"{n}", f"{n}", rows[n]) for n in np.flatnonzero(is_enrolled)]
    gallery = Gallery(load_model(run), scoring, recordings)
    for query in drawn.queries[:5]:
        identified = rank_candidates(scoring, gallery.known(), rows[query], None, ())
        expected = scoring.compute_score_matrix(scoring.prepare_embeddings(rows[query][None]), drawn.singers)[0]
        assert {candidate.singer: candidate.score for candidate in identified.candidates} == {
            str(singer): pytest.approx(float(expected[singer]), abs=1e-5) for singer in range(4)
        }
    means = np.stack([average_embeddings(rows[is_enrolled & (singer_index == singer)]) for singer in range(4)])
    assert np.abs(scoring.prepare_embeddings(means).embeddings - gallery.known().sides.embeddings).max() > 0.05


def test_singers_are_decided_on_by_how_many_recordings_they_are_known_from(run: Path) -> None:
    two = MultiEnrolmentCalibration(2, Calibration(30.0, -27.0, "x, known from 2"), Threshold(0.9, "of two"))
    five = replace(two, num_recordings=5, threshold=Threshold(0.99, "of five"))
    scoring = Scoring(None, None, Calibration(10.0, -5.0, "x"), Threshold(0.5, "of pairs"), (two, five))
    anna, bert = np.float32([1.0, 0.0]), np.float32([0.0, 1.0])
    recordings = [EnrolledRecording("anna", f"{n}", f"{n}", anna) for n in range(3)] + [
        EnrolledRecording("bert", "b", "b", bert)
    ]
    gallery = Gallery(load_model(run), scoring, recordings)
    identified = rank_candidates(scoring, gallery.known(), np.float32([0.8, 0.6]), None, ())
    assert [
        (candidate.singer, candidate.num_recordings, candidate.threshold, candidate.is_accepted)
        for candidate in identified.candidates
    ] == [
        ("bert", 1, 0.5, True),
        ("anna", 3, 0.9, False),
    ]
    assert (identified.best, identified.threshold) == ("bert", Threshold(0.5, "of pairs"))
    assert identified.candidates[1].probability == pytest.approx(1 / (1 + np.exp(3.0)))
    identified = rank_candidates(scoring, gallery.known(), np.float32([0.8, 0.6]), 0.9, ())
    assert [candidate.singer for candidate in identified.candidates if candidate.is_accepted] == ["bert"]
    assert identified.candidates[1].threshold == pytest.approx((27.0 - np.log(9)) / 30)
    given = scoring.with_threshold(Threshold(0.7, USER_DEFINED))
    identified = rank_candidates(given, gallery.known(), np.float32([0.8, 0.6]), 0.9, ())
    assert (identified.best, [candidate.threshold for candidate in identified.candidates]) == ("anna", [0.7, 0.7])


def test_that_a_threshold_was_found_on_pairs_is_said(run: Path, files: list[Path]) -> None:
    gallery = Gallery(load_model(run), replace(COSINE, threshold=Threshold(0.5, "of pairs")))
    gallery.enrol("anna", files[:2])
    gallery.enrol("bert", files[2:3])
    said = "the threshold was fitted to pairs of single recordings, and the mean of several scores higher"
    assert gallery.identify(files[3]).remarks[-1].startswith(said)
    assert gallery.verify("anna", files[3]).remarks[-1].startswith(said)
    assert gallery.verify("bert", files[3]).remarks == ()
    gallery.scoring = replace(COSINE, calibration=Calibration(2.0, 0.0, "x"))
    assert gallery.identify(files[3]).remarks[-1].startswith("the threshold and the probabilities were fitted to pairs")
    for quiet in (COSINE, replace(COSINE, threshold=Threshold(0.5, USER_DEFINED))):
        gallery.scoring = quiet
        assert gallery.identify(files[3]).remarks == ()


def test_a_threshold_and_a_probability_that_differ_are_said(run: Path, files: list[Path]) -> None:
    gallery = Gallery(load_model(run))
    gallery.enrol("anna", files[:1])
    score = gallery.identify(files[1]).candidates[0].score
    gallery.scoring = Scoring(calibration=Calibration(1.0, -score - 0.1, "x"), threshold=Threshold(score - 0.1, "y"))
    (remark,) = gallery.identify(files[1]).remarks
    assert "at a prior of 0.5 lead to different decisions" in remark
    assert gallery.identify(files[1], prior=0.5).remarks == ()
    gallery.scoring = COSINE
    with pytest.raises(SingerVerifyError, match=r"prior=0.2: has no effect"):
        gallery.identify(files[1], prior=0.2)


def test_the_same_recording_is_enrolled_once(run: Path, files: list[Path], tmp_path: Path) -> None:
    gallery = Gallery(load_model(run))
    gallery.enrol("anna", [files[0]])
    copy = tmp_path / "copy.wav"
    copy.write_bytes(files[0].read_bytes())
    again = gallery.enrol("anna", [files[0], copy, files[1]])
    assert again.added == (str(files[1]),)
    assert again.remarks == (
        f"{files[0]}: is in the gallery already; left out.",
        f"{copy}: is in the gallery already as {files[0]}; left out.",
    )
    other = gallery.enrol("bert", [copy])
    assert "as a recording of anna: remove it there" in other.remarks[0]
    assert gallery.singers == ("anna",)
    assert gallery.enrol("cleo", [AudioClip(sing(7), RATE), AudioClip(sing(7), RATE)]).added == ("the recording",)


def test_the_same_sound_in_another_format_is_enrolled_once(run: Path, files: list[Path], tmp_path: Path) -> None:
    samples = (sing(0) * 32767).astype(np.int16)
    paths = [tmp_path / name for name in ("song.wav", "song.flac", "two_channels.wav")]
    for path in paths:
        soundfile.write(path, np.stack([samples] * 2, 1) if "two" in path.name else samples, RATE)
    gallery = Gallery(load_model(run))
    again = gallery.enrol("anna", [*paths, AudioClip(samples, RATE, "at hand")])
    assert again.added == (str(paths[0]),)
    said = f"is in the gallery already as {paths[0]}; left out."
    assert again.remarks == tuple(f"{name}: {said}" for name in (*paths[1:], "at hand"))
    gallery.enrol("bert", files[1:2])
    remark = f"{paths[1]}: is enrolled itself, as {paths[0]} of anna; that score tells nothing."
    assert gallery.identify(paths[1]).remarks[0] == gallery.verify("anna", paths[1]).remarks[0] == remark
    assert gallery.identify(files[2]).remarks == ()


def test_padded_clips_are_not_taken_for_one(run: Path, tmp_path: Path) -> None:
    paths = [tmp_path / f"{seed}.wav" for seed in range(3)]
    for seed, path in enumerate(paths):
        padding = np.zeros(20_000, np.float32)
        soundfile.write(path, np.concatenate([padding, sing(seed), padding]), RATE)
    assert len(Gallery(load_model(run)).enrol("anna", paths).added) == 3


def test_a_gallery_of_an_earlier_version_knows_its_files(run: Path, files: list[Path], tmp_path: Path) -> None:
    """It identifies a recording by all bytes of its file."""
    embedder = load_model(run)
    row = embedder.embed(files[0])
    earlier = EnrolledRecording("anna", "0.wav", hashlib.sha256(files[0].read_bytes()).hexdigest(), row)
    write_gallery(tmp_path / "g.npz", embedder.fingerprint, [earlier])
    gallery = Gallery.load(tmp_path / "g.npz", embedder)
    assert gallery.identify(files[0]).remarks == ()
    again = gallery.enrol("anna", files[:2])
    assert again.added == (str(files[1]),)
    assert again.remarks == (f"{files[0]}: is in the gallery already as 0.wav; left out.",)
    assert gallery.enrol("anna", [files[1]]).added == ()


def test_recordings_that_cannot_be_used_are_said(run: Path, files: list[Path], tmp_path: Path) -> None:
    gallery = Gallery(load_model(run))
    enrolment = gallery.enrol("anna", [tmp_path / "missing.wav", files[0]])
    assert enrolment.added == (str(files[0]),)
    assert "missing.wav: no such file" in enrolment.remarks[0]
    with pytest.raises(SingerVerifyError, match=r"bert: none of the recordings can be used: .*missing.wav: no such"):
        gallery.enrol("bert", [tmp_path / "missing.wav"])
    for name in ("", " anna", "an\nna", "a" * 201):
        with pytest.raises(SingerVerifyError, match="expected a name of up to 200 printable characters"):
            gallery.enrol(name, [files[1]])


def test_removing(run: Path, files: list[Path]) -> None:
    gallery = Gallery(load_model(run))
    gallery.enrol("anna", files[:3])
    gallery.enrol("bert", files[3:4])
    assert gallery.remove("anna", str(files[1])) == (str(files[1]),)
    assert gallery.recordings("anna") == (str(files[0]), str(files[2]))
    gallery.enrol("anna", files[1:2])
    assert len(gallery.remove("anna")) == 3
    assert gallery.singers == ("bert",)
    with pytest.raises(SingerVerifyError, match=r"anna: is not in the gallery; enrolled are bert\."):
        gallery.remove("anna")
    with pytest.raises(SingerVerifyError, match=r"x.wav: is not a recording of bert; enrolled are .*3.wav"):
        gallery.remove("bert", "x.wav")
    for ask in (gallery.recordings, lambda name: gallery.verify(name, files[0])):
        with pytest.raises(SingerVerifyError, match="cleo: is not in the gallery"):
            ask("cleo")
    gallery.remove("bert")
    with pytest.raises(SingerVerifyError, match="the gallery is empty"):
        gallery.identify(files[0])


def test_it_is_saved_and_loaded_whole(run: Path, files: list[Path], tmp_path: Path) -> None:
    embedder = load_model(run)
    gallery = Gallery(embedder)
    gallery.enrol("Ångström 好", files[:2])
    gallery.enrol("bert", files[2:3])
    gallery.save(tmp_path / "g.npz")
    loaded = Gallery.load(tmp_path / "g.npz", load_model(run))
    assert loaded.singers == gallery.singers == ("bert", "Ångström 好")
    for before, after in zip(gallery.enrolled, loaded.enrolled, strict=True):
        assert (before.singer, before.recording, before.content) == (after.singer, after.recording, after.content)
        np.testing.assert_array_equal(before.embedding, after.embedding)
    Gallery(embedder).save(tmp_path / "empty.npz")
    assert Gallery.load(tmp_path / "empty.npz", embedder).singers == ()
    with pytest.raises(SingerVerifyError, match="was not loaded from a file"):
        Gallery(Model(embedder.encoder, embedder.feature, 30)).save(tmp_path / "other.npz")


def test_a_gallery_of_another_model_is_refused(run: Path, files: list[Path], tmp_path: Path) -> None:
    gallery = Gallery(load_model(run))
    gallery.enrol("anna", files[:1])
    gallery.save(tmp_path / "g.npz")
    others = make_run(tmp_path / "weights", seed=1), make_run(tmp_path / "recipe", trim_silence_db=40.0)
    for other in others:
        with pytest.raises(SingerVerifyError, match="was made with another model"):
            Gallery.load(tmp_path / "g.npz", load_model(other))
        assert "was made with another model" in refusal("identify", other, tmp_path / "g.npz", files[0])
        assert "was made with another model" in refusal("enrol", other, tmp_path / "g.npz", "bert", files[1])


def plain(recording: EnrolledRecording) -> tuple[object, ...]:
    return recording.singer, recording.recording, recording.content, recording.embedding.tolist()


def test_a_damaged_gallery_is_refused_wherever_it_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "g.npz"
    write_gallery(path, FINGERPRINT, [enrolled(0), enrolled(1)])
    content = path.read_bytes()
    before, said = read_gallery(path), []
    cut = [content[:length] for length in range(0, len(content), 37)]
    flipped = [content[:n] + bytes([content[n] ^ 1 << n % 8]) + content[n + 1 :] for n in range(len(content))]
    inverted = [content[:n] + bytes([content[n] ^ 0xFF]) + content[n + 1 :] for n in range(len(content))]
    for damaged in (*cut, *flipped, *inverted):
        path.write_bytes(damaged)
        try:
            fingerprint, after, _ = read_gallery(path)
        except SingerVerifyError as error:
            said.append(str(error))
            continue
        assert fingerprint == before[0]  # a byte that nobody reads
        assert [plain(recording) for recording in after] == [plain(recording) for recording in before[1]]
    assert len(said) > len(content)
    assert all(sentence.startswith(str(path)) for sentence in said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": 3}, "has format 3; this version reads 1 and 2"),
        ({"version": 2}, "does not agree with its checksum"),
        ({"labels": "{}"}, "does not agree with its checksum"),
        ({"singers": np.array(["anna"])}, "does not agree with its checksum"),
        ({"singers": np.array([1, 2])}, "does not agree with its checksum"),
        ({"embeddings": np.ones((2, 4), np.float32)}, "does not agree with its checksum"),
        ({"embeddings": np.eye(4)[:2]}, "does not agree with its checksum"),
        ({"singers": np.array(["anna", "bert"])}, "does not agree with its checksum"),
        ({"more": 1}, "is not a gallery"),
    ],
)
def test_a_gallery_that_was_tampered_with_is_refused(tmp_path: Path, changes: dict, said: str) -> None:
    path = tmp_path / "g.npz"
    write_gallery(path, FINGERPRINT, [enrolled(0), enrolled(1)])
    with np.load(path) as stored:
        arrays = dict(stored)
    np.savez(path, **(arrays | changes))
    with pytest.raises(SingerVerifyError, match=said):
        read_gallery(path)


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return Path.write_text, (self.target, "executed")


def test_a_gallery_executes_nothing(tmp_path: Path) -> None:
    path, target = tmp_path / "g.npz", tmp_path / "executed"
    write_gallery(path, FINGERPRINT, [enrolled(0)])
    with np.load(path) as stored:
        arrays = dict(stored)
    np.savez(path, **(arrays | {"singers": np.array([Payload(target)], object)}))
    with pytest.raises(SingerVerifyError, match="was not loaded"):
        read_gallery(path)
    path.write_bytes(pickle.dumps(Payload(target)))
    with pytest.raises(SingerVerifyError):
        read_gallery(path)
    assert not target.exists()


def test_paths_that_are_no_galleries(tmp_path: Path) -> None:
    np.save(tmp_path / "bare.npy", np.zeros(3))
    (folder := tmp_path / "folder.npz").mkdir()
    for path, said in (
        (tmp_path / "missing.npz", "no such gallery; singer-verify enrol creates one"),
        (tmp_path, "is a folder"),
        (tmp_path / "bare.npy", "is damaged or not a gallery"),
    ):
        with pytest.raises(SingerVerifyError, match=said):
            read_gallery(path)
    with pytest.raises(SingerVerifyError, match=r"ends in \.npz"):
        write_gallery(tmp_path / "g.csv", FINGERPRINT, [])
    with pytest.raises(SingerVerifyError, match="cannot be written"):
        write_gallery(Path("/proc/g.npz"), FINGERPRINT, [])
    with pytest.raises(SingerVerifyError, match="cannot be written to"), lock_gallery(Path("/proc/g.npz")):
        pass
    for path, said in (
        (tmp_path / "no/deep/g.npz", "no such folder .*/no/deep; create it first"),
        (folder, "is a folder"),
    ):
        with pytest.raises(SingerVerifyError, match=said), lock_gallery(path):
            pass
        with pytest.raises(SingerVerifyError, match=said):
            write_gallery(path, FINGERPRINT, [])
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["bare.npy", "folder.npz"]


def add_one(path: Path, number: int) -> None:
    with lock_gallery(path):
        before = read_gallery(path)
        write_gallery(path, before.fingerprint, [*before.enrolled, enrolled(number)])


def test_enrolments_at_once_do_not_lose_each_other(tmp_path: Path) -> None:
    path = tmp_path / "g.npz"
    write_gallery(path, FINGERPRINT, [])
    with multiprocessing.get_context("fork").Pool(4) as pool:
        pool.starmap(add_one, [(path, number) for number in range(40)])
        pool.close()
        pool.join()  # not ended by a signal, which trainings of other tests may have left them deaf to
    assert sorted(recording.recording for recording in read_gallery(path)[1]) == sorted(f"{n}.wav" for n in range(40))
    assert [entry.name for entry in tmp_path.iterdir()] == ["g.npz"]  # no lock is left


def test_a_header_of_a_huge_shape_is_damage(tmp_path: Path) -> None:
    """The checksums of the archive agree: it was made so."""
    path, header = tmp_path / "g.npz", io.BytesIO()
    write_gallery(path, FINGERPRINT, [enrolled(0)])
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 46, 4)})
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (entries | {"embeddings.npy": header.getvalue()}).items():
            archive.writestr(name, content)
    with pytest.raises(SingerVerifyError, match="is damaged or not a gallery"):
        read_gallery(path)


def test_the_commands(run: Path, files: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "g.npz"
    assert invoke("enrol", run, path, "anna", *files[:2])[0] == 0
    record = json.loads(invoke("enrol", run, path, "anna", files[1], files[2], "--json")[1])
    assert (record["added"], len(record["recordings"])) == ([str(files[2])], 3)
    assert "1.wav: is in the gallery already" in record["remarks"][0]
    assert "1.wav: is in the gallery already" in caplog.text
    invoke("enrol", run, path, "bert", files[3])
    listed = json.loads(invoke("gallery", path, "--json")[1])
    assert listed["singers"] == {"anna": [str(file) for file in files[:3]], "bert": [str(files[3])]}
    assert "bert" in invoke("gallery", path)[1]
    code, printed = invoke("identify", run, path, files[3], "--threshold", 0.999, "--json")
    record = json.loads(printed)
    assert (code, record["singer"], record["is_known"], record["threshold"]["score"]) == (0, "bert", True, 0.999)
    assert [candidate["singer"] for candidate in record["candidates"]] == ["bert", "anna"]
    assert [
        (candidate["num_recordings"], candidate["threshold"], candidate["is_accepted"])
        for candidate in record["candidates"]
    ] == [
        (1, 0.999, True),
        (3, 0.999, False),
    ]
    code, printed = invoke("identify", run, path, files[3], "--threshold", 0.999, "--json", "--top", 1)
    shortened = json.loads(printed)
    assert (code, shortened["singer"], shortened["num_enrolled"]) == (0, "bert", 2)
    assert shortened["candidates"] == record["candidates"][:1]
    code, printed = invoke("identify", run, path, files[3], "--top", 1)
    assert "anna" not in printed
    assert "The likeliest 1 of 2 enrolled singers." in printed
    code, printed = invoke("identify", run, path, files[3], "--top", 9)
    assert "anna" in printed
    assert "The likeliest" not in printed
    assert "--top=0: expected an integer of at least 1." in refusal("identify", run, path, files[3], "--top", 0)
    code, printed = invoke("identify", run, path, files[3], "--threshold", 1.5)
    assert code == 3
    assert "an unknown singer" in printed
    code, printed = invoke("identify", run, path, files[3])
    assert code == 4
    assert "no threshold, so no decision" in printed
    invoke("gallery", path, "--remove", "anna", "--recording", files[0])
    invoke("gallery", path, "--remove", "bert")
    assert json.loads(invoke("gallery", path, "--json")[1])["singers"] == {"anna": [str(file) for file in files[1:3]]}


def test_the_commands_refuse(run: Path, files: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "g.npz"
    assert "no such gallery" in refusal("identify", run, path, files[0])
    assert "ends in .npz" in refusal("enrol", run, tmp_path / "g.csv", "anna", files[0])
    assert "no such folder" in refusal("enrol", run, tmp_path / "no/deep/g.npz", "anna", files[0])
    assert not list(tmp_path.rglob("no"))
    invoke("enrol", run, path, "anna", files[0])
    assert "is not in the gallery" in refusal("gallery", path, "--remove", "bert")
    assert "has no effect without --remove" in refusal("gallery", path, "--recording", files[0])
    for asked in (("--probability",), ("--prior", 0.2)):
        assert "is not calibrated" in refusal("identify", run, path, files[0], *asked)
    assert "no such file" in refusal("enrol", run, path, "anna", tmp_path / "missing.wav")
    with pytest.raises(UtteranceError, match="is a folder"):
        invoke("identify", run, path, tmp_path)
