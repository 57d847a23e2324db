"""The figures of the study are drawn again from exported results alone, the same to the byte."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from support.sweep_runs import write_exported_runs

from singer_verify.reports.leaderboard.names import name_by_values
from singer_verify.sweeps import comparison, learning_curves
from singer_verify.sweeps.cells import read_sweep_cells
from singer_verify.sweeps.exported_results import export_degraded_embeddings, read_exported_embeddings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_study_figures", ROOT / "scripts/make_study_figures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """All parts of the study, two seeds of the first round, and two recipes of one seed after a degradation."""
    folder = tmp_path / "results"
    labels = {"gender": ["female", "male"] * 30, "song": ["a", "b", "c", "d", "e"] * 12}
    for bins in (20, 30, 40):
        write_exported_runs(folder / "recipes", "study/recipes", bins, None, (1, 2), labels=labels)
        for max_singers in (3, 6, 12):
            write_exported_runs(folder / "data_size", "study/data_size", bins, max_singers, (1,), labels=labels)
    write_exported_runs(folder / "floors", "study/floors", 40, None, (1,), labels=labels)
    write_exported_runs(folder / "encoders", "study/encoders", 40, None, (1,), labels=labels)
    for way in ("none", "utterance_mean"):
        setting = f"features.normalise={way}"
        write_exported_runs(folder / "normalisations", "study/normalisations", 30, None, (1,), setting, labels=labels)
    for cell in read_sweep_cells(folder / "recipes", ["features=mel20,mel40,seed=1"])[0]:
        for run in cell.runs:
            clean = read_exported_embeddings(run, "folds")
            degraded = {"noise=10.0": replace(clean, embeddings=clean.embeddings[:, ::-1])}
            export_degraded_embeddings(folder / "recipes", run, clean, degraded, "folds", folder / "recipes")
    return folder


@pytest.mark.slow
def test_every_part_has_a_figure(
    script: ModuleType,
    results: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(comparison, "MIN_RESAMPLES", 40)
    monkeypatch.setattr(comparison, "NUM_RESAMPLES_PER_CELL", 10)
    monkeypatch.setattr(learning_curves, "MIN_RESAMPLES", 40)
    assert script.main(["--results", str(results), "--out", str(tmp_path / "once")]) == 0
    names = ("recipes", "robustness", "probes", "floors", "normalisations", "encoders", "learning_curves")
    drawn = {name: (tmp_path / f"once/{name}.png").read_bytes() for name in names}
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / f"once/{name}.png") for name in names]
    assert sorted(path.stem for path in (tmp_path / "once").iterdir()) == sorted(names)
    some = ("robustness", "learning_curves", "normalisations")
    assert script.main([*some, "--results", str(results), "--out", str(tmp_path / "again")]) == 0
    assert {path.stem: path.read_bytes() for path in (tmp_path / "again").iterdir()} == {
        name: drawn[name] for name in some
    }
    board = script.Study(results).compare_part("normalisations")
    assert [(entry.name, len(entry.seeds)) for entry in sorted(board.entries, key=lambda entry: entry.name)] == [
        ("experiment=study/normalisations,features=mel30,features.normalise=none", 1),
        ("experiment=study/normalisations,features=mel30,features.normalise=utterance_mean", 1),
        ("experiment=study/recipes,features=mel30", 2),
        ("experiment=study/recipes,features=mel40", 2),
    ]
    assert set(name_by_values(board).values()) == {"mel30", "mel40", "mel30 · none", "mel30 · utterance_mean"}
    robust = {entry.name: entry.robustness for entry in script.Study(results).recipes.entries}
    assert [cell and cell.seeds for _, cell in sorted(robust.items())] == [(1,), None, (1,)]
    assert np.isfinite(robust["features=mel40"].rates[0].difference.low)


def test_a_figure_without_results_is_refused(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipes").mkdir()
    assert script.main(["floors", "--results", str(tmp_path), "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"error: floors: {tmp_path} has results for: recipes, probes.\n"
    assert script.main(["recipes", "--results", str(tmp_path), "--out", str(tmp_path)]) == 1
    assert "holds no finished run" in capsys.readouterr().err
