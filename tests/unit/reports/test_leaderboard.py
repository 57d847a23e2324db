"""The leaderboard of a sweep: which runs it compares, what it refuses, and what its files hold."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.colors
import numpy as np
import pytest
import soundfile
import torch
import yaml
from rich.console import Console
from support.audio import SAMPLE_RATE, MakeCorpus, sing
from support.cli import call, refusal
from support.sweep_runs import write_run

from singer_verify.corpora.corpus import read_corpus
from singer_verify.encoders.lstm import LSTMEncoder
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.metrics.error_rates import compute_eer
from singer_verify.evaluation.trials.trial_list import build_all_pairs, compute_cosine_scores
from singer_verify.reports.leaderboard.figures import plot_leaderboard
from singer_verify.reports.leaderboard.files import (
    build_leaderboard_records,
    format_leaderboard_csv,
    format_leaderboard_latex,
    format_leaderboard_markdown,
    write_leaderboard,
)
from singer_verify.reports.leaderboard.names import group_entries
from singer_verify.reports.leaderboard.page import render_leaderboard_page
from singer_verify.reports.leaderboard.text import (
    MIN_TABLE_COLUMNS,
    build_leaderboard_table,
    format_count,
    list_conditions,
)
from singer_verify.runs.folder import identify_process
from singer_verify.sweeps.cells import FinishedRun, SweepCell, find_baseline_cell, read_sweep_cells
from singer_verify.sweeps.comparison import Leaderboard, build_leaderboard, compare_cells
from singer_verify.sweeps.jobs import SweepPlan, write_sweep_plan
from singer_verify.sweeps.shared_trials import build_shared_trials, require_same_trials
from singer_verify.sweeps.split_embeddings import (
    SplitEmbeddings,
    load_split_embeddings,
    require_one_corpus,
)

SINGERS = np.repeat([f"singer{number}" for number in range(8)], 6)
PATHS = np.array([f"val/{singer}/{number}.wav" for number, singer in enumerate(SINGERS)])


def cell(name: str, num_seeds: int = 2) -> SweepCell:
    runs = tuple(
        FinishedRun(Path(f"{name}/{seed}"), frozenset({name}), seed, {}, 60.0) for seed in range(1, num_seeds + 1)
    )
    return SweepCell(frozenset({name}), (name,), runs)


def noisy_embeddings(seed: int, noise: float) -> SplitEmbeddings:
    """Of every singer a direction, and around it as much noise."""
    directions = np.random.default_rng(0).standard_normal((8, 12)).repeat(6, axis=0)
    rows = directions + noise * np.random.default_rng(seed).standard_normal(directions.shape)
    return SplitEmbeddings(rows / np.linalg.norm(rows, axis=1, keepdims=True), PATHS, SINGERS, 1_400_000, 40)


def board_of(noises: dict[str, float], labels: dict[str, np.ndarray] | None = None) -> Leaderboard:
    """Two seeds of a cell for each name; equal noises make equal embeddings. The first is the baseline."""
    cells = [cell(name) for name in noises]
    embeddings = {
        str(run.path): noisy_embeddings(run.seed, noises[sweep_cell.name])
        for sweep_cell in cells
        for run in sweep_cell.runs
    }
    return compare_cells(cells, embeddings, build_shared_trials(SINGERS, labels or {}, 400), cells[0], "val")


@pytest.fixture(scope="module")
def board() -> Leaderboard:
    """Three cells, one equal to the baseline and one far better, and labels for conditions."""
    song = np.tile(["a", "a", "a", "b", "b", ""], 8)
    rare = np.where(np.arange(48) < 3, "x", "")
    return board_of(
        {"features=mel40": 2.5, "features=a_&_b%": 2.5, "features=<world>": 0.8}, {"song": song, "rare": rare}
    )


def test_rates_are_means_over_seeds_of_plain_error_rates(board: Leaderboard) -> None:
    singer_index = np.unique(SINGERS, return_inverse=True)[1]
    trials = build_all_pairs(singer_index)
    plain = [
        compute_eer(compute_cosine_scores(noisy_embeddings(seed, 2.5).embeddings, trials), trials.is_target)[0]
        for seed in (1, 2)
    ]
    standing = next(entry for entry in board.entries if entry.name == "features=mel40")
    assert standing.eer.value == pytest.approx(np.mean(plain), abs=1e-12)
    assert standing.seed_eers == pytest.approx(plain, abs=1e-12)
    assert standing.eer.low < standing.eer.value < standing.eer.high


def test_equal_cells_differ_by_nothing_and_a_better_one_stands_first(board: Leaderboard) -> None:
    best, *others = board.entries
    by_name = {entry.name: entry for entry in others}
    same, baseline = by_name["features=a_&_b%"], by_name["features=mel40"]
    assert best.name == "features=<world>"
    assert (same.difference.value, same.difference.low, same.difference.high) == (0.0, 0.0, 0.0)
    assert (same.p, same.p_holm) == (1.0, 1.0)
    assert best.difference.high < 0
    assert best.p == pytest.approx(2 / 2**8)  # of eight singers
    assert best.p_holm == pytest.approx(4 / 2**8)
    assert (baseline.difference, baseline.p) == (None, None)


def test_conditions_need_thirty_trials_of_either_kind(board: Leaderboard) -> None:
    counts = {condition.name: (condition.num_targets, condition.num_nontargets) for condition in board.conditions}
    assert counts["same song"] == (8 * 4, 28 * (9 + 4))
    assert counts["same rare"] == (3, 0)
    assert set(board.entries[0].condition_eers) == {"same song", "cross song"}
    assert "same rare (3 target, 0 non-target)" in format_leaderboard_markdown(board)


def test_csv_holds_all_figures(board: Leaderboard) -> None:
    rows = list(csv.DictReader(io.StringIO(format_leaderboard_csv(board))))
    assert [row["cell"] for row in rows] == [entry.name for entry in board.entries]
    first = board.entries[0]
    assert float(rows[0]["eer"]) == first.eer.value
    assert float(rows[0]["difference_high"]) == first.difference.high
    assert float(rows[0]["min_dcf_0.01"]) == first.metrics["min_dcf_0.01"].value
    assert float(rows[0]["eer cross song"]) == first.condition_eers["cross song"].value
    assert (rows[0]["num_seeds"], rows[0]["seeds"], rows[0]["eer same rare"]) == ("2", "1 2", "")
    json.dumps(build_leaderboard_records(board), allow_nan=False)


def test_latex_is_booktabs_with_every_special_character_escaped(board: Leaderboard) -> None:
    text = format_leaderboard_latex(board)
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert text.count(rule) == 1
    assert r"a\_\&\_b\%" in text
    assert r"$<$world$>$ & 14.1 [6.2, 22.2] & \textbf{$-$29.0 [" in text  # significant
    assert r"\textbf{$<$world$>$}" in format_leaderboard_latex(board, ["eer"])  # where no difference is shown
    assert text.isascii()
    rows = text.partition(r"\midrule")[2].partition(r"\bottomrule")[0].strip().splitlines()
    assert [len(re.findall(r"(?<!\\)&", row)) for row in rows] == [3, 3, 3]
    required, _, rest = text.partition("\n")
    assert required == r"% requires \usepackage{booktabs}"
    assert not re.search(r"(?<!\\)[%#]", rest)
    assert "Difference: from mel40, in points" in text


@pytest.mark.parametrize(
    ("columns", "environment"),
    [
        (None, "table"),
        (["eer"], "table"),
        (["eer", "min_dcf_0.01", "difference", "p", "cross song", "params"], "table*"),
    ],
)
def test_latex_fits_a_column_or_spans_two(board: Leaderboard, columns: list[str] | None, environment: str) -> None:
    text = format_leaderboard_latex(board, columns)
    opened, closed = (re.findall(rf"\\{name}{{(.*?)}}", text) for name in ("begin", "end"))
    assert opened == closed[::-1] == [environment, "tabular"]
    assert text.count("{") == text.count("}")
    if environment == "table":
        rows = re.sub(r"\\textbf|[{}$\\]", "", text.partition(r"\toprule")[2].partition(r"\bottomrule")[0]).split("\n")
        assert max(map(len, rows)) <= 70
    assert len(re.search(r"\\caption\[.*?\]{(.*)}", text)[1]) < 280
    if columns:
        heading = text.partition(r"\toprule")[2].partition(r"\\")[0]
        assert len(re.findall("&", heading)) == len(columns)


def test_latex_names_the_corpus_and_what_a_condition_shows(board: Leaderboard) -> None:
    named = format_leaderboard_latex(replace(board, corpus="vocal_set+damp"), ["eer", "cross song"])
    assert r"vocal\_set+damp: 8 singers, split val, on which best steps were chosen; in brackets" in named
    assert r"& EER \%, cross song" in named
    many = format_leaderboard_latex(replace(board, corpus="+".join(f"corpus{number}" for number in range(9))))
    assert "; 9 corpora: 8 singers" in many
    (caption,) = re.findall(r"\\caption\[.*?\]{(.*)}", named)
    assert len(caption) < 280


def test_latex_refuses_a_column_that_is_not_there(board: Leaderboard) -> None:
    with pytest.raises(Exception, match=r"--columns=ear: expected one of .*eer.*, difference, p, .*cross song"):
        format_leaderboard_latex(board, ["ear"])


@pytest.mark.slow
@pytest.mark.parametrize("columns", [None, ["eer", "min_cllr", "difference", "p", "cross song", "train_s", "seeds"]])
def test_latex_compiles(board: Leaderboard, tmp_path: Path, columns: list[str] | None) -> None:
    command = next(filter(shutil.which, ("tectonic", "pdflatex")), None)
    if command is None:
        pytest.skip("neither tectonic nor pdflatex is installed")
    table = format_leaderboard_latex(board, columns)
    document = "\\documentclass[twocolumn]{article}\n\\usepackage{booktabs}\n\\begin{document}\n%s\\end{document}\n"
    (tmp_path / "paper.tex").write_text(document % table)
    options = ["-interaction=nonstopmode", "-halt-on-error"] if command == "pdflatex" else []
    done = subprocess.run([command, *options, "paper.tex"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Overfull" not in done.stdout + done.stderr


def test_cells_are_grouped_by_encoder_in_figures(board: Leaderboard) -> None:
    """A group's names leave out what its cells share; a cell of its own encoder needs no title."""
    encoders = dict(zip((entry.name for entry in board.entries), ("lstm", "campplus", "lstm"), strict=True))
    grouped = replace(board, entries=tuple(replace(entry, encoder=encoders[entry.name]) for entry in board.entries))
    groups = group_entries(grouped)
    assert list(groups) == ["lstm", "campplus"]
    assert [name for _, name in groups["lstm"]] == ["<world>", board.entries[2].varied[0].partition("=")[2]]
    figure = plot_leaderboard(grouped)
    assert figure.get_size_inches()[0] == pytest.approx(3.4)
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert shown == ["lstm", "campplus"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        name for entries in groups.values() for _, name in entries
    ]
    for line in figure.axes[0].lines:  # readable without colours
        red, green, blue = matplotlib.colors.to_rgb(line.get_color())
        assert red == green == blue
    page = render_leaderboard_page(grouped)
    assert page.count("<circle ") == 3
    assert 'font-style="italic">campplus' in page


def test_markdown_has_a_line_per_cell_and_says_what_limits_it(board: Leaderboard) -> None:
    text = re.sub(r" {2,}", " ", format_leaderboard_markdown(board))  # columns are padded
    table = text.partition("\n\n")[0].splitlines()
    assert [line.count("|") for line in table] == [10] * 5
    assert table[0].startswith("| features | seeds | EER % |")
    assert "| mel40 | 2 |" in text
    assert "8 singers" in text
    assert "The best step of each run was chosen on this split" in text


def test_terminal_table_fits_a_hundred_columns(board: Leaderboard) -> None:
    console = Console(width=MIN_TABLE_COLUMNS, record=True, file=io.StringIO())
    console.print(build_leaderboard_table(board))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= MIN_TABLE_COLUMNS
    best = next(line for line in lines if "<world>" in line)
    assert best.split()[:2] == ["<world>", "2"]
    assert best.split()[-2:] == ["1.4M", "40"]
    assert re.search(r"\d\.\d \[\d+\.\d, \d+\.\d\]", best)


def test_hard_trials_are_in_sight() -> None:
    narrow_columns = 80
    song, gender = np.tile(["a", "a", "a", "b", "b", "b"], 8), np.repeat(["f", "m"], 24)
    hard = board_of({"features=mel40": 2.5, "features=world": 0.8}, {"song": song, "gender": gender})
    console = Console(width=narrow_columns, record=True, file=io.StringIO())
    console.print(build_leaderboard_table(hard, width=narrow_columns))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= narrow_columns
    assert next(line for line in lines if "EER %" in line).split("difference")[0].split() == [
        *("features", "EER", "%", "hard", "EER", "%")
    ]
    best = hard.entries[0]
    assert f"{100 * best.condition_eers['hard'].value:.1f} [" in next(line for line in lines if "world" in line)
    rows = format_leaderboard_markdown(hard).splitlines()
    assert "| hard EER % |" in re.sub(" +", " ", rows[0])
    assert list_conditions(hard)[0].name == "hard"
    parser = Parser()
    parser.feed(render_leaderboard_page(hard))
    assert parser.open == []


class Parser(HTMLParser):
    """Collects elements, and fails where an element is closed that is not open."""

    VOID = ("meta", "link", "line", "rect", "circle", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_whole_and_needs_nothing_else(board: Leaderboard) -> None:
    page = render_leaderboard_page(board)
    parser = Parser()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    assert not re.search(r"https?:|//[a-z]|@import|url\(", page)
    assert all(dict(attrs).get("src") is None for _, attrs in parser.tags)
    assert "&lt;world&gt;" in page
    assert "<world>" not in page
    curves = [attrs["points"].split() for tag, attrs in parser.tags if tag == "polyline"]
    assert len(curves) == 3
    for curve in curves:
        assert len(curve) <= 200
        assert all(0 <= float(number) <= 520 for pair in curve for number in pair.split(","))
    tables = [attrs["id"] for tag, attrs in parser.tags if tag == "table"]
    assert tables == ["leaderboard", "conditions"]


def test_folder_holds_every_form(board: Leaderboard, tmp_path: Path) -> None:
    write_leaderboard(board, tmp_path / "out")
    sizes = {path.suffix: path.stat().st_size for path in (tmp_path / "out").iterdir()}
    assert set(sizes) == {".csv", ".md", ".tex", ".html", ".png", ".svg", ".pdf"}
    assert all(sizes.values())


def test_numbers_of_parameters_are_short() -> None:
    assert [format_count(number) for number in (940, 3984, 12_300, 1_440_000)] == ["940", "4.0k", "12k", "1.4M"]


def test_runs_of_other_trials_are_refused() -> None:
    ours = noisy_embeddings(1, 1.0)
    fewer = SplitEmbeddings(ours.embeddings[1:], ours.paths[1:], ours.singers[1:], 1, 40)
    with pytest.raises(Exception, match=r"b cannot be compared with a.*lacks 1 utterances \(val/singer0/0.wav\)"):
        require_same_trials({"a": ours, "b": fewer})
    others = np.where(PATHS[3] == PATHS, "singer7", SINGERS)
    renamed = SplitEmbeddings(ours.embeddings, ours.paths, others, 1, 40)
    with pytest.raises(Exception, match=r"another singer for 1 utterances \(val/singer0/3.wav\)"):
        require_same_trials({"a": ours, "b": renamed})


def test_a_cell_gathers_the_seeds_of_its_settings(tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    for seed in (2, 10, 1):
        write_run(sweep, "features=mel40", f"seed={seed}", "trainer.max_steps=4")
    write_run(sweep, "features=mel40", "seed=11", "trainer.max_steps=4", "data.num_workers=2", "+logger.x=1")
    write_run(sweep, "features=mel80", "seed=1", "trainer.max_steps=4")
    write_run(sweep, "features=mel80", "seed=2", "trainer.max_steps=4", stopped=None)
    write_run(sweep, "features=mel80", "seed=3", "trainer.max_steps=4", stopped="interrupted")
    cells, left_out = read_sweep_cells(sweep)
    assert [(sweep_cell.name, [run.seed for run in sweep_cell.runs]) for sweep_cell in cells] == [
        ("features=mel40", [1, 2, 10, 11]),
        ("features=mel80", [1]),
    ]
    assert left_out == {
        "features=mel80,seed=2,trainer.max_steps=4": "crashed",
        "features=mel80,seed=3,trainer.max_steps=4": "interrupted",
    }
    write_run(sweep / "again", "features=mel80", "seed=1", "trainer.max_steps=4")
    assert "have the same settings and the same seed 1" in refusal("leaderboard", sweep)


def test_a_run_inside_that_of_a_job_is_no_cell_of_the_sweep(tmp_path: Path) -> None:
    """It has the job's settings, seed and all, and init_from is what tells it from the job."""
    sweep = tmp_path / "sweep"
    job = write_run(sweep, "features=mel40", "seed=1")
    write_run(job, "features=mel40", "seed=1", "init_from=sweep")
    assert len(read_sweep_cells(sweep)[0]) == 2  # a folder of runs
    assert [cell.name for cell in read_sweep_cells(job)[0]] == ["as configured", "init_from=sweep"]
    write_sweep_plan(sweep, SweepPlan([job.name], 1, 1, 0.0, identify_process()))
    cells, left_out = read_sweep_cells(sweep)
    assert [run.path for cell in cells for run in cell.runs] == [job]
    child = "features=mel40,seed=1/features=mel40,seed=1,init_from=sweep"
    assert left_out == {child: "a run inside features=mel40,seed=1, no job of the sweep"}


def test_a_cell_is_called_by_what_tells_it_from_others(tmp_path: Path) -> None:
    """Trained cells, and baselines for which fewer settings were typed."""
    for recipe in ("mel40", "mel80"):
        write_run(tmp_path, f"features={recipe}", "seed=1", "optimizer.lr=3e-4", "trainer.max_steps=4")
        write_run(tmp_path, "encoder=statistics", f"features={recipe}", "seed=1")
    names = [cell.name for cell in read_sweep_cells(tmp_path)[0]]
    both = ["features=mel40", "features=mel80"]
    assert names == [*(f"encoder=statistics,{recipe}" for recipe in both), *both]


def test_some_of_the_runs_are_chosen_by_their_settings(tmp_path: Path) -> None:
    for bins in (10, 20, 30):
        for seed in (1, 2):
            write_run(tmp_path, f"features=mel{bins}", f"seed={seed}", corpus=tmp_path)

    def choose(*only: str) -> list[tuple[str, int]]:
        cells, left_out = read_sweep_cells(tmp_path, only)
        assert left_out == {}
        return [(cell.name, len(cell.runs)) for cell in cells]

    assert len(choose()) == 3
    assert choose("features=mel10,mel30") == [("features=mel10", 2), ("features=mel30", 2)]
    assert choose("features=mel10,mel30,seed=2") == [("features=mel10", 1), ("features=mel30", 1)]
    assert choose("features=mel10", "features=mel20,seed=1") == [("features=mel10", 2), ("features=mel20", 1)]
    with pytest.raises(SingerVerifyError, match=r"--only features=mel50: fits no finished run of .*mel10 and 2 others"):
        choose("features=mel50")
    for text in ("mel10", "features=", "=mel10"):
        with pytest.raises(SingerVerifyError, match=f"--only {text}: expected name=value"):
            choose(text)


def test_of_several_normalisations_the_default_baseline_is_without() -> None:
    cells = [
        SweepCell(frozenset({"features=mel40", f"features.normalise={name}"}), (), ())
        for name in ("global_bins", "none")
    ]
    assert find_baseline_cell(cells, None) is cells[1]


def test_the_baseline_is_the_one_cell_that_has_its_settings() -> None:
    def make(*settings: str) -> SweepCell:
        return SweepCell(frozenset(settings), settings, ())

    cells = [make("features=mel40", "normalise=none"), make("features=mel40", "normalise=cmvn"), make("loss=[a,b]")]
    assert find_baseline_cell(cells, "features=mel40,normalise=cmvn") is cells[1]
    assert find_baseline_cell(cells, "loss=[a,b]") is cells[2]
    assert find_baseline_cell(cells[1:], None) is cells[1]
    assert find_baseline_cell(cells[2:], None) is None
    message = r"fits 2 of 3 cells, expected one; name one of these: features=mel40,normalise=none; features=mel40,norm"
    with pytest.raises(Exception, match=message):
        find_baseline_cell(cells, None)
    with pytest.raises(Exception, match=r"--baseline seed=1: fits 0 of 3 cells.*; loss=\[a,b\]"):
        find_baseline_cell(cells, "seed=1")


@pytest.mark.slow
def test_a_sweep_on_disk_from_end_to_end(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    corpus, sweep = make_corpus(val=3, utterances=3), tmp_path / "sweep"
    runs = [
        write_run(sweep, f"features=mel{bins}", f"seed={seed}", corpus=corpus) for bins in (40, 80) for seed in (1, 2)
    ]
    write_run(sweep, "features=mel80", "seed=3", corpus=corpus, stopped=None)
    (sweep / "features=cqt,seed=1").mkdir()
    (sweep / "features=cqt,seed=1/failure.json").write_text('{"reason": "it would not."}')
    write_sweep_plan(sweep, SweepPlan([*(run.name for run in runs), "features=cqt,seed=2"], 5, 1, 0.0, {}))
    printed = call("leaderboard", sweep, "--json", "--out", tmp_path / "out")
    rows = json.loads(printed[printed.index("[\n") :])  # after a progress bar, which the command sends elsewhere
    expected = json.loads(call("evaluate", runs[0], corpus, "--json"))["metrics"]["eer"]["value"]
    other = json.loads(call("evaluate", runs[1], corpus, "--json"))["metrics"]["eer"]["value"]
    row_by_cell = {row["cell"]: row for row in rows}
    mean = (expected + other) / 2
    assert row_by_cell["features=mel40"]["eer"] == pytest.approx(mean, abs=0.06)  # frames in half precision
    assert (row_by_cell["features=mel80"]["num_seeds"], row_by_cell["features=mel80"]["num_bins"]) == (2, 80)
    said = (tmp_path / "out/leaderboard.md").read_text(encoding="utf-8")
    for skipped in ("mel80,seed=3 (crashed)", "cqt,seed=1 (failed: it would not.)", "cqt,seed=2 (not begun)"):
        assert f"features={skipped}" in said


def test_embeddings_are_kept_until_the_model_or_the_corpus_changes(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    corpus, sweep = make_corpus(), tmp_path / "sweep"
    run = write_run(sweep, "features=mel40", "seed=1", corpus=corpus)
    kept = run / "embeddings-val.npz"
    ((cell,), _) = read_sweep_cells(sweep)

    def embed() -> SplitEmbeddings:
        return load_split_embeddings(cell.runs[0], "val", read_corpus(corpus), "")

    first = embed()
    written = kept.stat().st_mtime_ns
    np.testing.assert_array_equal(embed().embeddings, first.embeddings)
    assert kept.stat().st_mtime_ns == written
    soundfile.write(corpus / "val/val_singer0/song0.flac", sing(9), SAMPLE_RATE)
    assert not np.array_equal(embed().embeddings, first.embeddings)
    assert (again := kept.stat().st_mtime_ns) > written
    content = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    torch.save(content | {"step": 5}, run / "checkpoints/best.ckpt")
    embed()
    assert kept.stat().st_mtime_ns > again
    kept.write_bytes(kept.read_bytes()[: os.path.getsize(kept) // 2])  # damaged
    embed()
    with np.load(kept, allow_pickle=False) as stored:
        assert stored["embeddings"].shape == (6, 4)


def test_a_leaderboard_embeds_nothing_a_second_time_and_names_a_file_it_skips_once(
    make_corpus: MakeCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    corpus, sweep = make_corpus(), tmp_path / "sweep"
    (corpus / "val/val_singer0/broken.flac").write_bytes(b"nothing")
    for recipe in ("mel40", "mel80"):
        write_run(sweep, f"features={recipe}", "seed=1", corpus=corpus)
    first = json.loads(call("leaderboard", sweep, "--json"))
    assert caplog.text.count("Skipped: ") == 1
    embedded = []
    forward = LSTMEncoder.forward
    monkeypatch.setattr(LSTMEncoder, "forward", lambda *given: embedded.append(given) or forward(*given))
    assert json.loads(call("leaderboard", sweep, "--json")) == first
    assert embedded == []
    content = torch.load(sweep / "features=mel40,seed=1/checkpoints/best.ckpt", weights_only=True)
    content["state_dict"] = {name: -tensor for name, tensor in content["state_dict"].items()}
    torch.save(content, sweep / "features=mel40,seed=1/checkpoints/best.ckpt")
    call("leaderboard", sweep, "--json")
    assert {encoder.settings["num_bins"] for encoder, *_ in embedded} == {40}


def test_runs_of_several_corpora_need_one_to_be_evaluated_on() -> None:
    run = FinishedRun(Path("run"), frozenset(), 1, {"root": ["a", "b"]}, 60.0)
    with pytest.raises(Exception, match=r"data.root=\['a', 'b'\] is not one corpus; choose the one .* with --corpus"):
        require_one_corpus([run], None)
    assert require_one_corpus([run], Path("a")) == Path("a")
    assert require_one_corpus([replace(run, data={"root": ["a"]})], None) == Path("a")
    distilled = replace(run, data={"root": "unlabelled", "val_root": "labelled"})
    assert require_one_corpus([distilled], None) == Path("labelled")


def test_imported_weights_are_compared_with_trained_ones(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    corpus, folder = make_corpus(), tmp_path / "compared"
    write_run(folder, "features=mel40", "seed=1", corpus=corpus)
    for name in ("speech", "alone/elsewhere"):
        run = write_run(tmp_path, "features=mel80", corpus=corpus, stopped=None).rename(tmp_path / "made")
        record = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps(record | {"imported": {"step": 0}}))
        config = yaml.safe_load((run / "config.yaml").read_text())
        (run / "config.yaml").write_text(yaml.safe_dump({**config, "data": {"num_frames": 30}}))
        (folder.parent / name if "/" in name else folder / name).parent.mkdir(exist_ok=True)
        run.rename(folder.parent / name if "/" in name else folder / name)
    rows = {row["cell"]: row for row in json.loads(call("leaderboard", folder, "--json"))}
    assert set(rows) == {"as configured", "imported=speech"}
    assert (rows["imported=speech"]["train_seconds"], rows["imported=speech"]["num_bins"]) == (None, 80)
    assert rows["imported=speech"]["difference"] is not None
    assert "imported=speech" in (folder / "leaderboard/leaderboard.md").read_text(encoding="utf-8")
    assert all(row["speed"] is None for row in rows.values())
    timed = json.loads(call("leaderboard", folder, "--json", "--speed"))
    assert all(row["speed"] > 1 for row in timed)
    written = (folder / "leaderboard/leaderboard.md").read_text(encoding="utf-8")
    assert "× real time |" in written.splitlines()[0]
    assert "on one core" in written
    with pytest.raises(Exception, match=r"imported weights have no corpus of their own; choose one .* with --corpus"):
        build_leaderboard(tmp_path / "alone", None, "val", None)


def test_runs_of_other_corpora_are_refused_whatever_the_names_in_them(tmp_path: Path) -> None:
    runs = [FinishedRun(Path(name), frozenset(), 1, {"root": str(tmp_path / name)}, 60.0) for name in "ab"]
    with pytest.raises(
        Exception, match=r"b cannot be compared with a, because their trials differ: .* evaluate all on"
    ):
        require_one_corpus(runs, None)
    assert require_one_corpus(runs, tmp_path) == tmp_path
    assert require_one_corpus(runs[:1] * 2, None) == tmp_path / "a"


def test_refusals(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    corpus, sweep = make_corpus(), tmp_path / "sweep"
    assert "no such folder" in refusal("leaderboard", sweep)
    sweep.mkdir()
    assert "holds no finished run (no run at all)" in refusal("leaderboard", sweep)
    run = write_run(sweep, "features=mel40", "seed=1", corpus=corpus)
    assert "has no folder test" in refusal("leaderboard", sweep, "--split", "test")
    write_run(sweep, "features=mel80", "seed=1", corpus=corpus)
    assert "fits 0 of 2 cells" in refusal("leaderboard", sweep, "--baseline", "features=mfcc")
    (tmp_path / "file").write_text("")
    assert "--out" in refusal("leaderboard", sweep, "--out", tmp_path / "file")
    (run / "overrides.yaml").write_text("{")
    assert "overrides.yaml: cannot be read" in refusal("leaderboard", sweep)
