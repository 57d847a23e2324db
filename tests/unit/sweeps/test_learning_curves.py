"""Learning curves: the fit recovers a known slope, sizes are named or refused, and files hold what was measured."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from support.audio import MakeCorpus
from support.cli import call, refusal
from support.sweep_runs import write_exported_runs, write_run

from singer_verify.evaluation.metrics.bootstrap import Estimate, compute_percentile_interval
from singer_verify.reports.leaderboard.learning_curves import (
    build_curve_notes,
    build_curve_records,
    build_curves_table,
    build_fits_table,
    format_curves_latex,
    format_curves_markdown,
    format_size,
    write_learning_curves,
)
from singer_verify.sweeps.cells import FinishedRun, SweepCell
from singer_verify.sweeps.judged_runs import JudgedRuns
from singer_verify.sweeps.learning_curves import (
    MINUTES,
    SINGERS,
    CurvePoint,
    LearningCurves,
    compute_logit,
    fit_learning_curve,
    join_curves,
    measure_points,
)
from singer_verify.sweeps.shared_trials import build_shared_trials
from singer_verify.sweeps.split_embeddings import SplitEmbeddings

MIN_EER = 1e-4


def compute_eers(offset: float, slope: float, sizes: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-(offset + slope * np.log2(sizes))))


@pytest.mark.parametrize("slope", [-0.5, -0.1, 0.2])
def test_a_line_is_recovered_exactly(slope: float) -> None:
    sizes = np.array([2.0, 4.0, 8.0, 17.6])
    eers = compute_eers(-1.0, slope, sizes)
    fit = fit_learning_curve(sizes, eers, np.tile(eers, (50, 1)), MIN_EER)
    assert (fit.offset, fit.slope) == pytest.approx((-1.0, slope))
    assert fit.odds_factor.value == pytest.approx(np.exp(slope))
    assert fit.is_falling == (slope < 0)
    predicted = fit.predict(sizes)
    assert [eer.value for eer in predicted] == pytest.approx(eers)
    if slope < 0:
        size = fit.find_size(0.05)
        assert size is not None
        assert compute_eers(-1.0, slope, np.array(size.value)) == pytest.approx(0.05)
        assert size.low == pytest.approx(size.value) == size.high
    else:
        assert fit.find_size(0.05) is None


def test_worked_example() -> None:
    """Odds of 1, 1/2, 1/4 at 2, 4 and 8 singers: half of it for each doubling, and odds of 1/19 near 2 × 19 singers."""
    fit = fit_learning_curve(
        np.array([2.0, 4.0, 8.0]), np.array([1 / 2, 1 / 3, 1 / 5]), np.array([[1 / 2, 1 / 3, 1 / 5]] * 3), MIN_EER
    )
    assert fit.odds_factor.value == pytest.approx(0.5)
    size = fit.find_size(0.05)
    assert size is not None
    assert size.value == pytest.approx(38.0)


def test_intervals_cover_a_known_slope() -> None:
    """Of 200 simulated studies with a noise that is known, about 95 % of the intervals hold the truth."""
    generator = np.random.default_rng(0)
    sizes, covered = np.array([2.0, 4.0, 8.0, 16.0]), []
    logits = compute_logit(compute_eers(-0.5, -0.25, sizes))
    for _ in range(200):
        measured = logits + 0.2 * generator.standard_normal(4)
        resampled = measured + 0.2 * generator.standard_normal((400, 4))
        eers, drawn = (1 / (1 + np.exp(-values)) for values in (measured, resampled))
        factor = fit_learning_curve(sizes, eers, drawn, MIN_EER).odds_factor
        covered.append(factor.low <= np.exp(-0.25) <= factor.high)
    assert 0.9 <= np.mean(covered) <= 0.99


def test_a_size_has_no_upper_bound_where_many_resamples_do_not_fall() -> None:
    sizes = np.array([2.0, 4.0, 8.0])
    slopes = np.linspace(-0.4, -0.001, 1000)
    eers = compute_eers(0.0, -0.2, sizes)
    fit = fit_learning_curve(sizes, eers, np.array([compute_eers(0.0, slope, sizes) for slope in slopes]), MIN_EER)
    size = fit.find_size(0.05)
    assert size is not None
    assert size.low < size.value < 100_000
    assert size.high == np.inf
    slopes = np.linspace(-0.4, 0.05, 1000)  # more than a fortieth above zero
    fit = fit_learning_curve(sizes, eers, np.array([compute_eers(0.0, slope, sizes) for slope in slopes]), MIN_EER)
    assert fit.find_size(0.05) is None


def test_no_errors_count_as_half_of_one() -> None:
    sizes = np.array([2.0, 4.0, 8.0])
    eers = np.array([0.1, 0.02, 0.0])
    fit = fit_learning_curve(sizes, eers, np.array([eers, [0.0, 0.0, 0.0]]), 0.005)
    same = fit_learning_curve(sizes, np.array([0.1, 0.02, 0.005]), np.array([eers, [0.005] * 3]), 0.005)
    assert fit.slope == pytest.approx(same.slope)
    assert fit.resampled_slopes == pytest.approx(same.resampled_slopes)


def make_point(max_singers: int | None, max_minutes: float | None, num_singers: float, minutes: float) -> CurvePoint:
    eers = compute_eers(0.5 - 0.1 * np.log2(minutes), -0.4, np.array(num_singers))
    resampled = eers * np.random.default_rng(0).uniform(0.9, 1.1, 200)
    estimate = compute_percentile_interval(float(eers), resampled)
    return CurvePoint(max_singers, max_minutes, num_singers, minutes, (1, 2), estimate, resampled)


def make_curves(*settings: tuple[str, ...], target: float = 0.05) -> LearningCurves:
    grid = [
        make_point(singers, minutes, singers or 17.6, minutes or 2.2)
        for singers in (2, 4, 8, None)
        for minutes in (0.5, None)
    ]
    points = dict.fromkeys(settings or ((),), tuple(grid))
    curves = tuple(join_curves(points, MIN_EER))
    return LearningCurves(points, curves, target, "folds", 30, 600, 200, {"broken": "failed: no disk"})


def test_points_of_a_grid_are_curves_against_either_size() -> None:
    curves = make_curves().curves
    assert [(curve.against, len(curve.points)) for curve in curves] == [(SINGERS, 4)] * 2 + [(MINUTES, 2)] * 4
    assert [curve.points[0].max_minutes for curve in curves[:2]] == [0.5, None]
    assert curves[0].sizes.tolist() == [2, 4, 8, 17.6]
    assert [curve.fit is None for curve in curves] == [False] * 2 + [True] * 4
    assert curves[0].fit.slope == pytest.approx(-0.4)


def test_a_limit_that_was_not_reached_counts_once() -> None:
    points = tuple(make_point(n, None, min(n or 13, 13), 2.0) for n in (4, 8, 16, 32, None))
    (curve,) = join_curves({(): points}, MIN_EER)
    assert curve.sizes.tolist() == [4, 8, 13]


def test_words_and_files(tmp_path: Path) -> None:
    curves = make_curves(("features=a_&_b%",), ("features=mel40",))
    headings, rows = build_fits_table(curves)
    assert headings == ["runs", "EER against", "with", "odds × per doubling", "5 % at"]
    assert rows[0][:3] == ["features=a_&_b%", "singers", "0.5 min of each"]
    assert re.fullmatch(r"0\.67 \[0\.6\d, 0\.[67]\d\]", rows[0][3])
    assert rows[0][4].endswith(" *")
    assert rows[-1][4] == "needs 3 sizes"
    notes = build_curve_notes(curves)
    assert "* extrapolated: singers were measured from 2 to 17.6, and a line may bend beyond." in notes
    assert "Left out (1): broken (failed: no disk)." in notes
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(build_curves_table(curves))
    shown = console.export_text()
    assert max(map(len, shown.splitlines())) <= 80
    assert "17.6 (all)" in shown
    write_learning_curves(curves, tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {f"learning-curve{end}" for end in (".csv", "-fits.csv", ".md", ".tex", ".png", ".svg")}
    points = list(csv.DictReader(io.StringIO((tmp_path / "out/learning-curve.csv").read_text())))
    assert len(points) == 16
    assert (points[0]["max_singers"], points[0]["num_singers"], points[7]["max_singers"]) == ("2", "2.0", "")
    latex = format_curves_latex(curves)
    assert r"features=a\_\&\_b\%" in latex
    assert latex.count(r"\begin{table}") == latex.count(r"\toprule") == 3
    assert r"odds $\times$ per doubling" in latex
    markdown = format_curves_markdown(curves)
    assert "| 17.6 (all) |" in markdown
    assert r"extrapolated" in markdown
    json.dumps(build_curve_records(curves), allow_nan=False)


def test_a_size_between_measured_ones_has_no_star_and_a_flat_curve_names_none() -> None:
    rows = build_fits_table(make_curves(target=0.3))[1]
    assert not rows[0][3].endswith("*")
    flat = tuple(
        CurvePoint(n, None, n, 1.0, (1,), Estimate(0.2, 0.1, 0.3), np.random.default_rng(n).uniform(0.1, 0.3, 200))
        for n in (2, 4, 8)
    )
    curves = LearningCurves({(): flat}, tuple(join_curves({(): flat}, MIN_EER)), 0.05, "val", 4, 60, 200, {})
    assert build_fits_table(curves)[1][0][3] == "not named"
    notes = " ".join(build_curve_notes(curves))
    assert "No number of singers is named for 5 %, because the EER cannot be said to fall with it" in notes
    assert "(the interval of the factor reaches 1): all minutes." in notes
    assert "one seed" in notes
    assert "Fewer than 30 judged singers" in notes
    assert build_curve_records(curves)["fits"][0]["size_at_target"] is None


@pytest.mark.parametrize(
    ("size", "text"), [(17.6, "17.6"), (0.25, "0.25"), (153.2, "150"), (1234.0, "1200"), (np.inf, "over 100k")]
)
def test_sizes_are_short(size: float, text: str) -> None:
    assert format_size(size) == text


def write_cell_run(folder: Path, seed: int, max_singers: int | None) -> FinishedRun:
    folder.mkdir(parents=True)
    metrics = {"num_train_singers": max_singers or 16, "train_minutes": 32.0}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    settings = frozenset({f"data.max_singers={max_singers}", "features=mel40"})
    return FinishedRun(folder, settings, seed, {"root": "x", "max_singers": max_singers}, 1.0)


def test_more_noise_for_fewer_singers_is_measured_as_a_falling_curve(tmp_path: Path) -> None:
    """Embeddings made with noise that shrinks by size: the curve falls, sizes are those that runs recorded."""
    singers = np.repeat([f"singer{number}" for number in range(12)], 5)
    paths = np.array([f"val/{singer}/{number}.wav" for number, singer in enumerate(singers)])
    directions = np.random.default_rng(0).standard_normal((12, 12)).repeat(5, axis=0)
    cells, embeddings = [], {}
    for max_singers, noise in ((2, 2.4), (4, 1.9), (8, 1.4), (None, 0.9)):
        runs = []
        for seed in (1, 2):
            run = write_cell_run(tmp_path / f"{max_singers}-{seed}", seed, max_singers)
            rows = directions + noise * np.random.default_rng(seed).standard_normal(directions.shape)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            embeddings[str(run.path)] = SplitEmbeddings(rows, paths, singers, 100, 40)
            runs.append(run)
        cells.append(SweepCell(runs[0].settings, (f"data.max_singers={max_singers}",), tuple(runs)))
    judged = JudgedRuns(cells, embeddings, embeddings, "val", None)
    groups = {cell.settings: frozenset({"features=mel40"}) for cell in cells}
    points = measure_points(cells, judged, build_shared_trials(singers, {}, 300), groups)
    (curve,) = join_curves(points, MIN_EER)
    assert curve.sizes.tolist() == [2, 4, 8, 16]
    assert [point.minutes for point in curve.points] == [16.0, 8.0, 4.0, 2.0]
    assert curve.fit is not None
    assert curve.fit.is_falling
    assert curve.settings == ()


def test_the_command(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    corpus, sweep = make_corpus(train=2, val=3, utterances=3, seconds=0.6), tmp_path / "sweep"
    for number, max_singers in enumerate((2, 4, 8)):
        settings = ("features=mel10", f"data.max_singers={max_singers}", "seed=1")
        run = write_run(sweep, *settings, corpus=corpus, max_singers=max_singers, max_minutes=None)
        metrics = json.loads((run / "metrics.json").read_text())
        sizes = {"num_train_singers": max_singers, "train_minutes": 2.0 * max_singers}
        (run / "metrics.json").write_text(json.dumps(metrics | (sizes if number else {"num_train_singers": 2})))
    records = json.loads(call("learning-curve", sweep, "--json"))
    assert [point["num_singers"] for point in records["points"]] == [2, 4, 8]
    assert [point["minutes_per_singer"] for point in records["points"]] == [None, 2.0, 2.0]
    assert [fit["against"] for fit in records["fits"]] == ["singers"]
    assert records["num_judged_singers"] == 3
    assert "5 % at" in call("learning-curve", sweep)
    assert "--target-eer=50.0: expected a number between 0.01 and 49" in refusal(
        "learning-curve", sweep, "--target-eer", "50"
    )


@pytest.mark.slow
def test_the_largest_size_may_be_of_another_sweep(tmp_path: Path) -> None:
    """As the study does: sizes of three recipes in one folder, all singers in that of many recipes, floors beside."""
    results = tmp_path / "results"
    for bins in (10, 20, 30):
        for max_singers in (3, 6, 12):
            write_exported_runs(results / "data_size", "best/sizes", bins, max_singers, (1,))
    for bins in (10, 20, 30, 40):
        write_exported_runs(results / "recipes", "best/recipes", bins, None, (1, 2))
    write_exported_runs(results / "floors", "flat/floors", 10, None, (1,))
    records = json.loads(call("learning-curve", results, "--json"))
    points = {}
    for point in records["points"]:
        points.setdefault(point["settings"], []).append((point["num_singers"], point["num_seeds"]))
    expected = [(3, 1), (6, 1), (12, 1), (18, 2)]
    assert points == {f"features=mel{bins}": expected for bins in (10, 20, 30)}
    assert [(fit["settings"], fit["num_sizes"]) for fit in records["fits"]] == [
        (f"features=mel{bins}", 4) for bins in (10, 20, 30)
    ]
    assert all(fit["odds_factor_high"] < 1 for fit in records["fits"])
    notes = (results / "learning-curve/learning-curve.md").read_text()
    assert "means over 1 to 2 seeds" in notes
    assert "features=mel40 (no other size of it)" in notes
    figure = (results / "learning-curve/learning-curve.svg").read_text()
    assert all(f">mel{bins}<" in figure for bins in (10, 20, 30))
    board = {row["cell"]: row for row in json.loads(call("leaderboard", results, "--json", "--baseline", BASELINE))}
    assert len(board) == 9 + 4 + 1
    assert board[BASELINE]["seeds"] == "1 2"
    one = json.loads(call("learning-curve", results, "--json", "--only", "features=mel10,mel30,seed=1"))
    assert {(point["settings"], point["num_seeds"]) for point in one["points"]} == {
        ("features=mel10", 1),
        ("features=mel30", 1),
    }
    said = refusal("learning-curve", results, "--only", "features=mel10,experiment=best/recipes", "--only",
                   "features=mel20,experiment=best/sizes,data.max_singers=3")  # fmt: skip
    assert "its runs differ in more than data.max_singers and data.max_minutes" in said


BASELINE = "experiment=best/recipes,features=mel10"


def test_a_sweep_of_one_size_is_refused(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    for seed in (1, 2):
        write_run(sweep, "features=mel10", f"seed={seed}", corpus=tmp_path)
    said = refusal("learning-curve", sweep)
    assert "its runs all learned from everything; expected runs that differ in data.max_singers" in said
    limited = tmp_path / "limited"
    write_run(limited, "features=mel10", "data.max_singers=4", corpus=tmp_path, max_singers=4)
    assert "its runs all have the same limits" in refusal("learning-curve", limited)
    (tmp_path / "nothing").mkdir()
    assert "holds no finished run" in refusal("learning-curve", tmp_path / "nothing")
