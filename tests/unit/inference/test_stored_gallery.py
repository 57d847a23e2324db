"""Galleries in a database: the same results as small galleries, exact or by an index, and whole after a kill."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.audio import SAMPLE_RATE, sing
from support.untrained_model import make_run

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.scoring.calibration import Calibration
from singer_verify.evaluation.scoring.normalisation import Cohort
from singer_verify.evaluation.scoring.projection import Projection
from singer_verify.evaluation.scoring.scoring import COSINE, MultiEnrolmentCalibration, Scoring, Threshold
from singer_verify.inference import Gallery, IdentificationResult, Model, load_model, stored_gallery
from singer_verify.inference.enrolment import EnrolledRecording, build_enrolled_singers
from singer_verify.inference.gallery_file import read_gallery
from singer_verify.inference.gallery_store import GalleryStore
from singer_verify.inference.identification import rank_candidates
from singer_verify.inference.stored_gallery import StoredGallery

SIZE = 8  # of an embedding of the model
CALIBRATED = Scoring(
    calibration=Calibration(9.0, -6.0, "tests"),
    threshold=Threshold(0.7, "tests"),
    multi_enrolment=(
        MultiEnrolmentCalibration(2, Calibration(11.0, -8.0, "tests"), Threshold(0.75, "tests")),
        MultiEnrolmentCalibration(3, Calibration(12.0, -9.0, "tests"), Threshold(0.8, "tests")),
    ),
)


def make_recordings(num_singers: int, seed: int = 0, first: int = 0) -> list[EnrolledRecording]:
    """Singers, each with one to five recordings around a direction of their own, in random order."""
    generator = np.random.default_rng(seed)
    recordings = []
    for singer in range(first, first + num_singers):
        centre = generator.standard_normal(SIZE)
        for number in range(1 + singer % 5):
            row = centre + 0.4 * generator.standard_normal(SIZE)
            row = (row / np.linalg.norm(row)).astype(np.float32)
            name = f"{singer:04}/{number}.wav"
            recordings.append(EnrolledRecording(f"singer {singer:04}", name, f"{singer:08x}{number:08x}", row))
    generator.shuffle(recordings)  # type: ignore[arg-type]
    return recordings


def make_queries(number: int) -> np.ndarray:
    rows = np.random.default_rng(7).standard_normal((number, SIZE)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def make_scorings() -> dict[str, Scoring]:
    generator = np.random.default_rng(3)
    mean = (0.1 * generator.standard_normal(SIZE)).astype(np.float32)
    matrix = generator.standard_normal((SIZE, 5)).astype(np.float32)
    cohort = make_queries(20)[:, :5]
    cohort /= np.linalg.norm(cohort, axis=1, keepdims=True)
    projected = Scoring(projection=Projection(mean, matrix))
    return {
        "cosine": COSINE,
        "calibrated": CALIBRATED,
        "max": CALIBRATED.with_enrolment_score("max"),
        "best3": CALIBRATED.with_enrolment_score("best3"),
        "projected": projected,
        "normalised": Scoring(projection=projected.projection, cohort=Cohort(cohort)),
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("model") / "run")


@pytest.fixture
def model(run: Path) -> Model:
    return load_model(run)


def fill(path: Path, model: Model, recordings: list[EnrolledRecording], scoring: Scoring = COSINE) -> StoredGallery:
    gallery = StoredGallery.create(path, model, scoring)
    gallery.add(recordings)
    return gallery


def rank(gallery: Gallery, embedding: np.ndarray, prior: float | None = None) -> IdentificationResult:
    return rank_candidates(gallery.scoring, gallery.known(), embedding, prior, ())


def require_same(result: IdentificationResult, expected: IdentificationResult, number: int = 50) -> None:
    assert len(result.candidates) == min(50, len(expected.candidates))
    for candidate, other in list(zip(result.candidates, expected.candidates, strict=False))[:number]:
        assert (candidate.singer, candidate.num_recordings) == (other.singer, other.num_recordings)
        assert (candidate.is_accepted, candidate.threshold) == (other.is_accepted, other.threshold)
        assert candidate.score == pytest.approx(other.score, abs=1e-5)
        assert candidate.probability == (
            None if other.probability is None else pytest.approx(other.probability, abs=1e-4)
        )
    assert (result.is_known, result.threshold, result.prior, result.remarks) == (
        *(expected.is_known, expected.threshold, expected.prior, expected.remarks),
    )


@pytest.mark.parametrize("name", [*make_scorings()])
def test_results_are_those_of_a_small_gallery(model: Model, tmp_path: Path, name: str) -> None:
    scoring, recordings = make_scorings()[name], make_recordings(110)
    small, stored = Gallery(model, scoring, recordings), fill(tmp_path / "g.sqlite", model, recordings, scoring)
    for prior in (None, 0.01) if scoring.calibration else (None,):
        for query in make_queries(3):
            require_same(stored.rank(query, prior), rank(small, query, prior))
    assert stored.singers == small.singers
    assert stored.recordings("singer 0004") == small.recordings("singer 0004")
    assert [entry.content for entry in stored.enrolled] == [entry.content for entry in recordings]


@pytest.mark.parametrize("name", [*make_scorings()])
def test_an_index_finds_whom_scoring_everyone_finds(
    model: Model, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(stored_gallery, "MIN_INDEXED_RECORDINGS", 100)
    scoring, recordings = make_scorings()[name], make_recordings(400)
    stored = fill(tmp_path / "g.sqlite", model, recordings, scoring)
    for query in make_queries(6):
        found, expected = stored.rank(query), stored.rank(query, exact=True)
        assert found.candidates[0].singer == expected.candidates[0].singer
        assert found.candidates[0].score == pytest.approx(expected.candidates[0].score, abs=1e-5)
        assert (found.is_known, found.threshold) == (expected.is_known, expected.threshold)
    assert len([*tmp_path.glob("g.sqlite.*.index.npz")]) == 1


def test_the_index_follows_what_is_enrolled_and_removed(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(stored_gallery, "MIN_INDEXED_RECORDINGS", 100)
    recordings = make_recordings(700)
    stored = fill(tmp_path / "g.sqlite", model, recordings)
    built = stored._get_index()
    newcomer = make_recordings(3, seed=9, first=9000)
    for recording in newcomer:
        stored.add([recording])
        found = stored.rank(recording.embedding)
        assert found.candidates[0].singer == recording.singer
    moved = stored.find_recordings("singer 0003")
    stored.remove("singer 0003", moved[0].recording)
    result = stored.rank(moved[0].embedding)
    require_same(result, stored.rank(moved[0].embedding, exact=True), 5)
    stored.remove("singer 0003")
    assert "singer 0003" not in {candidate.singer for candidate in stored.rank(moved[0].embedding).candidates}
    assert stored._get_index() is built
    again = StoredGallery.open(tmp_path / "g.sqlite", model)
    assert again._get_index().revision == built.revision  # from its file
    assert again.rank(newcomer[0].embedding).candidates[0].singer == newcomer[0].singer
    again.add(make_recordings(100, seed=11, first=10_000))
    assert again._get_index().revision == again.store.revision  # so many changes: built anew
    require_same(again.rank(moved[0].embedding), again.rank(moved[0].embedding, exact=True), 5)


def test_a_damaged_index_is_built_again(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("faiss")
    monkeypatch.setattr(stored_gallery, "MIN_INDEXED_RECORDINGS", 100)
    query = make_queries(1)[0]
    expected = fill(tmp_path / "g.sqlite", model, make_recordings(700)).rank(query)
    (index,) = tmp_path.glob("*.index.npz")
    whole = index.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", whole[:5000] + b"\xff" * 100 + whole[5100:]):
        index.write_bytes(damaged)
        require_same(StoredGallery.open(tmp_path / "g.sqlite", model).rank(query), expected)
        assert "is damaged, and is built again" in caplog.text
        assert len(index.read_bytes()) == len(whole)
        caplog.clear()
    other = fill(tmp_path / "other.sqlite", model, make_recordings(700, seed=1))
    other.rank(query)
    (of_other,) = tmp_path.glob("other*.index.npz")
    shutil.copy(of_other, index)  # of another gallery
    require_same(StoredGallery.open(tmp_path / "g.sqlite", model).rank(query), expected)


def test_recordings_are_enrolled_and_identified(model: Model, tmp_path: Path) -> None:
    for number in range(3):
        soundfile.write(tmp_path / f"{number}.wav", sing(number, 0.6), SAMPLE_RATE, subtype="FLOAT")
    gallery = StoredGallery.create(tmp_path / "g.sqlite", model, CALIBRATED)
    with pytest.raises(SingerVerifyError, match="the gallery is empty"):
        gallery.identify(tmp_path / "0.wav")
    assert gallery.enrol("anna", [tmp_path / "0.wav", tmp_path / "1.wav"]).added == (
        str(tmp_path / "0.wav"),
        str(tmp_path / "1.wav"),
    )
    assert gallery.enrol("anna", [tmp_path / "0.wav"]).remarks == (
        f"{tmp_path}/0.wav: is in the gallery already; left out.",
    )
    assert (
        gallery.enrol("bert", [tmp_path / "2.wav", tmp_path / "0.wav"])
        .remarks[-1]
        .endswith("as a recording of anna: remove it there; left out.")
    )
    gallery.labels["anna"] = {"part": "alto"}
    gallery.save(tmp_path / "g.sqlite")
    opened = Gallery.load(tmp_path / "g.sqlite", model, CALIBRATED)
    assert isinstance(opened, StoredGallery)
    assert (opened.labels, opened.singers) == ({"anna": {"part": "alto"}}, ("anna", "bert"))
    small = Gallery(model, CALIBRATED, opened.enrolled)
    for file in ("1.wav", "2.wav"):
        require_same(opened.identify(tmp_path / file), small.identify(tmp_path / file))
        assert repr(opened.verify("anna", tmp_path / file)) == repr(small.verify("anna", tmp_path / file))
    assert opened.remove("anna", str(tmp_path / "0.wav")) == (str(tmp_path / "0.wav"),)
    assert opened.remove("bert") == (str(tmp_path / "2.wav"),)
    assert read_gallery(tmp_path / "g.sqlite").labels == {"anna": {"part": "alto"}}
    assert [entry.recording for entry in read_gallery(tmp_path / "g.sqlite").enrolled] == [str(tmp_path / "1.wav")]
    with pytest.raises(SingerVerifyError, match="bert: is not in the gallery, which has 1 singers"):
        opened.verify("bert", tmp_path / "1.wav")
    with pytest.raises(SingerVerifyError, match=r"9.wav: is not a recording of anna; enrolled are .*1.wav"):
        opened.remove("anna", "9.wav")


def test_a_kill_while_writing_loses_that_change_only(model: Model, tmp_path: Path) -> None:
    path, recordings = tmp_path / "g.sqlite", make_recordings(40)
    fill(path, model, recordings).store.connection.close()
    child = os.fork()
    if not child:  # dies in the middle of a transaction that has reached the disk, without any tidying up

        def die_at_the_end() -> object:
            yield from make_recordings(400, seed=1, first=5000)
            os._exit(9)

        store = GalleryStore.open(path)
        store.connection.execute("PRAGMA cache_size = 5")  # so that pages are written before the commit
        store.add(die_at_the_end())  # type: ignore[arg-type]
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert (tmp_path / "g.sqlite-journal").exists()
    with GalleryStore.open(path) as store:
        assert store.read_recordings() != []
        assert [entry.content for entry in store.read_recordings()] == [entry.content for entry in recordings]
        assert store.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert store.add(make_recordings(400, seed=1, first=5000)).remarks == ()
    assert not (tmp_path / "g.sqlite-journal").exists()


def test_a_kill_while_creating_leaves_nothing_in_the_way(model: Model, tmp_path: Path) -> None:
    (tmp_path / "g.sqlite").touch()
    assert StoredGallery.create(tmp_path / "g.sqlite", model).singers == ()


def test_what_is_no_gallery_is_refused(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "g.sqlite"

    def refuse(expected: str) -> None:
        with pytest.raises(SingerVerifyError, match=expected):
            Gallery.load(path, model).known()

    refuse("no such gallery")
    path.mkdir()
    refuse("is a folder")
    path.rmdir()
    fill(path, model, make_recordings(300)).store.connection.close()
    whole = path.read_bytes()
    for end in (100, 5000, len(whole) // 2, len(whole) - 5000, len(whole) - 1):
        path.write_bytes(whole[:end])
        refuse("is cut short, damaged or not a gallery")
    path.write_bytes(b"no database" * 1000)
    refuse("is cut short, damaged or not a gallery")
    path.write_bytes(b"")
    refuse("is not a gallery")
    place = whole.index(make_recordings(300)[5].embedding.tobytes()[:16])
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    refuse("does not agree with its checksum")
    for statement in ("UPDATE facts SET value = '9' WHERE name = 'format'", "CREATE VIEW v AS SELECT 1"):
        path.write_bytes(whole)
        with sqlite3.connect(path) as connection:
            connection.execute(statement)
        connection.close()
        refuse("has format 9; this version reads 1|is not a gallery")
    path.write_bytes(whole)
    with pytest.raises(SingerVerifyError, match="was made with another model"):
        Gallery.load(path, load_model(make_run(tmp_path / "other", seed=1)))
    gallery = StoredGallery.open(path, model)
    with pytest.raises(SingerVerifyError, match="has an embedding of 3 values, and those of the gallery have 8"):
        gallery.add([EnrolledRecording("zoe", "z.wav", "f" * 16, np.ones(3, np.float32))])
    assert "zoe" not in gallery.singers


def test_two_connections_do_not_lose_each_others_recordings(model: Model, tmp_path: Path) -> None:
    first = fill(tmp_path / "g.sqlite", model, make_recordings(20))
    second = StoredGallery.open(tmp_path / "g.sqlite", model)
    assert len(second.known().names) == 20
    first.add(make_recordings(1, seed=2, first=100))
    second.add(make_recordings(1, seed=3, first=200))
    assert len(second.known().names) == len(first.known().names) == 22


def test_scores_of_many_singers_at_once_are_those_of_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    from singer_verify.evaluation.scoring import enrolment

    queries = COSINE.prepare_embeddings(make_queries(4))
    for kind in ("max", "best3"):
        scoring = COSINE.with_enrolment_score(kind)
        singers = build_enrolled_singers(make_recordings(60), scoring)
        looped = singers.compute_scores(scoring, queries)
        monkeypatch.setattr(enrolment, "MIN_SINGERS_AT_ONCE", 1)
        np.testing.assert_allclose(singers.compute_scores(scoring, queries), looped, rtol=1e-6)
        monkeypatch.undo()
    same = np.tile(make_queries(1), (6, 1))  # equal scores: each counts
    rows = [EnrolledRecording(f"s{place % 2}", str(place), str(place), row) for place, row in enumerate(same)]
    scoring = COSINE.with_enrolment_score("best3")
    monkeypatch.setattr(enrolment, "MIN_SINGERS_AT_ONCE", 1)
    scores = build_enrolled_singers(rows, scoring).compute_scores(scoring, COSINE.prepare_embeddings(same[:1]))
    np.testing.assert_allclose(scores, 1.0, atol=1e-6)


@pytest.mark.slow
def test_the_benchmark_fills_and_searches_a_gallery(tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    script = Path(__file__).parents[3] / "scripts/benchmark_catalogue.py"
    command = [sys.executable, str(script), "400", "--queries", "6", "--score", "best3", "--folder", str(tmp_path)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    record = json.loads(printed.splitlines()[0])
    assert (record["recordings"], record["score"], record["agreement"]) == (400, "best3", 1.0)
    assert record["exact"]["accuracy"] > 0.8
    assert not list(tmp_path.iterdir())
