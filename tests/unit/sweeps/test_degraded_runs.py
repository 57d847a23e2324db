"""`leaderboard --degrade`: the judged trials of all cells after degradations, over folds and on a split."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from matplotlib.text import Text
from support.audio import SAMPLE_RATE, sing
from support.cli import call, refusal
from support.sweep_runs import write_run

from singer_verify.data.degradations import parse_degradations
from singer_verify.inference import split
from singer_verify.reports.leaderboard.files import format_leaderboard_markdown, render_leaderboard_page
from singer_verify.reports.leaderboard.robustness import format_robustness_csv, plot_robustness
from singer_verify.sweeps import comparison, degraded_runs
from singer_verify.sweeps.comparison import build_leaderboard


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recipes over three folds of six singers."""
    folder = tmp_path_factory.mktemp("world")
    for singer in range(6):
        for song in range(2):
            path = folder / f"corpus/train/s{singer}/{song}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, sing(10 * singer + song, 0.6), SAMPLE_RATE)
    for features in ("mel40", "mel80"):
        for fold in range(3):
            write_run(
                folder / "sweep",
                *(f"features={features}", f"data.fold={fold}", "seed=1"),
                corpus=[folder / "corpus"],
                folds=3,
                fold=fold,
            )
    return folder / "sweep"


@pytest.fixture(autouse=True)
def be_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "MIN_RESAMPLES", 40)
    monkeypatch.setattr(comparison, "NUM_RESAMPLES_PER_CELL", 20)
    monkeypatch.setattr(comparison, "NUM_CONDITION_RESAMPLES", 20)
    monkeypatch.setattr(split, "count_available_cores", lambda: 0)


def test_what_changes_no_recording_leaves_the_error_rates_of_all_folds(sweep: Path) -> None:
    board = build_leaderboard(sweep, None, None, None, degradations=parse_degradations("band_limit=8000"))
    for entry in board.entries:
        assert entry.robustness is not None
        assert entry.robustness.eer.value == pytest.approx(entry.eer.value, abs=1e-12)
        assert entry.robustness.difference.value == 0.0
        assert (entry.robustness.difference.low, entry.robustness.difference.high) == (0.0, 0.0)


@pytest.mark.slow
def test_the_column_is_a_mean_over_kinds_and_kept_for_the_next_call(
    sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(wanted: str) -> dict[str, float]:
        board = build_leaderboard(sweep, None, None, None, degradations=parse_degradations(wanted))
        return {entry.name: entry.robustness.eer.value for entry in board.entries if entry.robustness}

    loud, soft, clean = measure("noise=0"), measure("noise=20"), measure("band_limit=8000")
    monkeypatch.setattr(degraded_runs, "embed_utterances", None)  # nothing is embedded any more
    both = measure("noise=20:0,band_limit=8000")
    assert both.keys() == {"features=mel40", "features=mel80"}
    for name, value in both.items():
        assert value == pytest.approx(((loud[name] + soft[name]) / 2 + clean[name]) / 2)
    board = build_leaderboard(sweep, None, None, None, degradations=parse_degradations("noise=20:0"))
    markdown = format_leaderboard_markdown(board)
    assert "degraded EER %" in markdown
    assert "test recordings degraded (noise 20 dB, 0 dB); intervals from 40 resamples." in markdown
    assert "degraded EER %" in render_leaderboard_page(board)
    records = json.loads(call("leaderboard", sweep, "--degrade", "noise=0", "--json"))
    assert {record["cell"]: record["degraded_eer"] for record in records} == loud
    assert all(
        record["degraded_minus_clean"] == pytest.approx(record["degraded_eer"] - record["eer"]) for record in records
    )


def test_exported_results_give_the_same_columns_and_figure(sweep: Path, tmp_path: Path) -> None:
    """Part by part, in small files: later degradations are added, and another seed without them changes nothing."""
    results = tmp_path / "results"
    for wanted in ("noise=0,gain=-6", "noise=20"):
        degradations = parse_degradations(wanted)
        build_leaderboard(sweep, None, None, None, export_to=results, degradations=degradations)
    shown = build_leaderboard(sweep, None, None, None, degradations=parse_degradations("gain=-6,noise=20:0"))
    again = build_leaderboard(results, None, None, None)
    assert [degradation.strength_text for degradation in again.degradations] == ["20 dB", "0 dB", "-6 dB"]
    assert again.degradations == shown.degradations
    assert format_leaderboard_markdown(again) == format_leaderboard_markdown(shown)
    assert format_robustness_csv(again) == format_robustness_csv(shown)
    assert "| noise " in format_leaderboard_markdown(again)
    texts = {text.get_text() for text in plot_robustness(again).findobj(Text)}
    assert {"clean", "noise 20 dB", "noise 0 dB", "gain -6 dB", "mel40", "mel80"} <= texts
    files = sorted(results.rglob("degraded-folds.npz"))
    assert len(files) == 6
    assert np.load(files[0])["noise=20.0"].dtype == np.int8
    for path in results.glob("*mel40*/degraded-folds.npz"):
        path.unlink()
    first, second = build_leaderboard(results, None, None, None).entries
    assert {first.name: first.robustness, second.name: second.robustness}["features=mel40"] is None
    board = build_leaderboard(results, None, None, None, only=["features=mel80"])
    assert [entry.name for entry in board.entries] == ["as configured"]
    assert board.entries[0].robustness is not None


def test_embeddings_of_another_training_are_not_compared(sweep: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    board = build_leaderboard(sweep, None, None, None, export_to=results, degradations=parse_degradations("gain=-6"))
    assert board.degradations
    for path in results.rglob("exported-folds.npz"):
        with np.load(path) as stored:
            arrays = dict(stored)
        np.savez(path, **arrays | {"embeddings": arrays["embeddings"][:, ::-1]})
    assert build_leaderboard(results, None, None, None).degradations == ()


@pytest.mark.slow
def test_recordings_that_one_cell_cannot_use_are_left_out_of_all(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embed = degraded_runs.embed_utterances

    def lose_one(model, root, utterances, report, **settings):  # type: ignore[no-untyped-def]
        kept = utterances[1:] if model.feature.num_bins == 80 else utterances
        indices, embeddings = embed(model, root, kept, report, **settings)
        return [index + len(utterances) - len(kept) for index in indices], embeddings

    monkeypatch.setattr(degraded_runs, "embed_utterances", lose_one)
    board = build_leaderboard(sweep, None, None, None, degradations=parse_degradations("gain=-3"))
    assert board.max_unusable == 3  # one in each fold
    assert "At most 3 recordings became unusable and were left out." in format_leaderboard_markdown(board)
    monkeypatch.setattr(degraded_runs, "embed_utterances", embed)
    for path in sweep.rglob("embeddings-folds-gain=-3.npz"):
        assert len(np.load(path)["paths"]) in (3, 4)


@pytest.mark.slow
def test_what_cannot_be_degraded_is_refused(sweep: Path, tmp_path: Path) -> None:
    assert "--degrade=echo: expected one of noise" in refusal("leaderboard", sweep, "--degrade", "echo")
    assert "nothing is degraded; add --degrade" in refusal("leaderboard", sweep, "--accompaniment", tmp_path)
    call("leaderboard", sweep, "--export-results", tmp_path / "results")
    said = refusal("leaderboard", tmp_path / "results", "--degrade", "noise=0")
    assert "--degrade noise=0: the exported results hold no recordings degraded like that" in said
