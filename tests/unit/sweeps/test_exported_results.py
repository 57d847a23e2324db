"""Exported results: small files of a sweep's runs from which its leaderboard is drawn again, to the last digit."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from support.audio import SAMPLE_RATE, sing
from support.cli import call, refusal
from support.sweep_runs import write_run

from singer_verify.data.degradations import parse_degradations
from singer_verify.errors import SingerVerifyError
from singer_verify.inference.probing import ProbeOptions
from singer_verify.reports.leaderboard.files import format_leaderboard_csv, format_leaderboard_markdown
from singer_verify.reports.leaderboard.robustness import format_robustness_csv
from singer_verify.reports.probes import build_probe_records
from singer_verify.runs.settings import strip_folders
from singer_verify.sweeps import comparison
from singer_verify.sweeps.comparison import build_leaderboard
from singer_verify.sweeps.exported_results import export_measured_labels, read_utterance_table
from singer_verify.sweeps.probing import probe_sweep

NUM_FOLDS = 3


def write_corpus(root: Path, seed: int) -> Path:
    """Six singers of two splits, two utterances each, with labels."""
    rows = ["utterance,gender,song"]
    for singer in range(6):
        for song in range(2):
            path = f"{'train' if singer < 4 else 'val'}/{root.name[0]}{singer}/take {song}.flac"
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(root / path, sing(100 * seed + 10 * singer + song, 0.6), SAMPLE_RATE)
            rows.append(f'{path},{"female" if singer % 2 else "male"},"la, {song}"')
    (root / "corpus.csv").write_text("\n".join(rows) + "\n")
    return root


def write_fold_runs(
    sweep: Path, corpora: list[Path], features: str = "mel40", folds: tuple[int, ...] = (0, 1, 2), seed: int = 1
) -> None:
    roots = f"data.root=[{','.join(map(str, corpora))}]"
    for fold in folds:
        settings = f"features={features}", f"data.fold={fold}", f"seed={seed}"
        run = write_run(sweep, *settings, corpus=corpora, folds=NUM_FOLDS, fold=fold)
        (run / "overrides.yaml").write_text(yaml.safe_dump([*settings, "sweep=folds", roots, "logger=none"]))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two corpora in different folders, a sweep of two recipes over three folds, and an unseen corpus."""
    folder = tmp_path_factory.mktemp("world")
    corpora = [write_corpus(folder / "here/first", 1), write_corpus(folder / "there/second", 2)]
    write_corpus(folder / "unseen/third", 3)
    for features in ("mel40", "mel80"):
        write_fold_runs(folder / "sweep", corpora, features)
    return folder


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "MIN_RESAMPLES", 40)
    monkeypatch.setattr(comparison, "NUM_RESAMPLES_PER_CELL", 20)
    monkeypatch.setattr(comparison, "NUM_CONDITION_RESAMPLES", 20)


def build_tables(sweep: Path, results: Path | None = None, unseen: tuple[Path, ...] = ()) -> tuple[str, str]:
    """The leaderboard of a folder as csv and Markdown; its results are exported as well where a folder is given."""
    board = build_leaderboard(sweep, None, None, None, export_to=results, unseen=unseen)
    return format_leaderboard_csv(board), format_leaderboard_markdown(board)


def test_small_files_give_the_same_table(world: Path, tmp_path: Path) -> None:
    """Without checkpoints, audio and corpora, and without a folder of the machine in any of the files."""
    results = tmp_path / "results"
    unseen = (world / "unseen/third",)
    shown = build_tables(world / "sweep", results, unseen)
    assert build_tables(world / "sweep", unseen=unseen) == shown
    names = {path.name for path in results.rglob("*") if path.is_file()}
    assert names == {
        *("utterances-folds.csv", "exported-folds.npz", "utterances-unseen-third.csv", "exported-unseen-third.npz"),
        *("config.yaml", "overrides.yaml", "metrics.json", "run.json"),
    }
    for path in results.rglob("*"):
        assert not path.is_file() or str(world).encode() not in path.read_bytes()
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as stored:
                assert stored["embeddings"].dtype == np.float16
                roots = ("train/", "val/") if "unseen" in path.name else ("first/", "second/")
                assert all(name.startswith(roots) for name in stored["paths"].tolist())
    hidden = world.rename(world.parent / "hidden")
    try:
        assert build_tables(results) == shown
        assert call("runs", results).count("finished") == 6
    finally:
        hidden.rename(world)
    assert "same song" in shown[0]
    assert all(f"eer on {corpus}" in shown[0] for corpus in ("first", "second", "third"))
    for path in results.glob("*mel80*/exported-unseen-third.npz"):
        path.unlink()
    assert "eer on third" not in build_tables(results)[0]  # on which not all were evaluated


@pytest.mark.slow
def test_results_are_put_together_part_by_part(world: Path, tmp_path: Path) -> None:
    """Two machines, whose corpora lie in other folders, export to one folder; the same runs again change nothing."""
    for number, features in enumerate(("mel40", "mel80")):
        moved = tmp_path / f"machine{number}"
        shutil.copytree(world / "here", moved / "data/here")
        shutil.copytree(world / "there/second", moved / "second")
        write_fold_runs(moved / "sweep", [moved / "data/here/first", moved / "second"], features)
        for _ in range(2):
            build_leaderboard(moved / "sweep", f"features={features}", None, None, export_to=tmp_path / "parts")
    assert build_tables(tmp_path / "parts") == build_tables(world / "sweep")


@pytest.mark.slow
def test_degraded_recordings_of_two_corpora_are_found_again(world: Path, tmp_path: Path) -> None:
    degradations = parse_degradations("gain=-6,noise=10")
    shown = build_leaderboard(
        world / "sweep", None, None, None, export_to=tmp_path / "results", degradations=degradations
    )
    again = build_leaderboard(tmp_path / "results", None, None, None)
    assert len(again.degradations) == 2
    assert format_leaderboard_csv(again) == format_leaderboard_csv(shown)
    assert format_robustness_csv(again) == format_robustness_csv(shown)


@pytest.mark.slow
def test_what_probes_measured_is_exported_with_the_results(world: Path, tmp_path: Path) -> None:
    results, options = tmp_path / "results", ProbeOptions(("pitch",), None, None, 2, 20)
    build_leaderboard(world / "sweep", None, None, None, export_to=results)
    with pytest.raises(SingerVerifyError, match="there is no sound to measure it in"):
        probe_sweep(results, options)
    paths = read_utterance_table(results, "folds").paths
    export_measured_labels(results, "folds", paths, {"duration": np.where(np.arange(24) == 3, np.nan, 0.5)})
    shown = probe_sweep(world / "sweep", options, export_to=results)
    assert build_probe_records(probe_sweep(results, options)) == build_probe_records(shown)
    assert [(probe.task.label, probe.task.is_number) for probe in shown.probes] == [("pitch", True)]
    lines = (results / "measured-folds.csv").read_text().splitlines()
    assert lines[0] == "utterance,duration,pitch"
    assert [line.split(",")[1] for line in lines[1:6]] == ["0.5", "0.5", "0.5", "", "0.5"]
    with pytest.raises(SingerVerifyError, match="nothing is measured; give runs whose corpus is there"):
        probe_sweep(results, options, export_to=tmp_path / "again")
    (results / "measured-folds.csv").write_text("\n".join(lines[:-1]))
    with pytest.raises(SingerVerifyError, match=r"measured-folds.csv: has no row for second/"):
        probe_sweep(results, options)


@pytest.mark.slow
def test_a_later_seed_is_averaged_with_the_first(world: Path, tmp_path: Path) -> None:
    """Trained elsewhere and exported days later, fold by fold, to the folder that holds the first seed."""
    corpora, results = [world / "here/first", world / "there/second"], tmp_path / "results"
    first = build_leaderboard(world / "sweep", None, None, None, export_to=results)
    before = {path: path.read_bytes() for path in results.rglob("*.npz")}
    write_fold_runs(tmp_path / "later", corpora, folds=(0, 1), seed=2)
    write_fold_runs(tmp_path / "both", corpora, folds=(0, 1, 2), seed=2)
    for run in (world / "sweep").glob("*mel40*"):
        shutil.copytree(run, tmp_path / "both" / run.name)
    for path in (tmp_path / "both").glob("*fold=2*seed=2*"):
        shutil.copytree(path, tmp_path / "later" / path.name)
    second = build_leaderboard(tmp_path / "later", None, None, None, export_to=results)
    assert {path: path.read_bytes() for path in before} == before
    board = build_leaderboard(results, None, None, None)
    entries = {entry.name: entry for entry in board.entries}
    averaged, alone = entries["features=mel40"], entries["features=mel80"]
    assert (averaged.seeds, alone.seeds) == ((1, 2), (1,))
    of_first = next(entry for entry in first.entries if entry.name == "features=mel40")
    assert averaged.seed_eers == (of_first.eer.value, second.entries[0].eer.value)
    assert averaged.eer.value == pytest.approx(np.mean(averaged.seed_eers))
    assert "Fewer than 2 seeds: features=mel80 (1)." in format_leaderboard_markdown(board)
    (both,) = build_leaderboard(tmp_path / "both", None, None, None).entries
    (only,) = build_leaderboard(results, None, None, None, only=["features=mel40"]).entries
    assert (only.eer, only.seeds) == (both.eer, both.seeds)  # with its interval: the seeds in the same resamples
    (seed,) = build_leaderboard(results, None, None, None, only=["features=mel40,seed=1"]).entries
    assert (seed.eer.value, seed.seeds) == (of_first.eer.value, (1,))
    next(results.glob("*fold=1*seed=2*/exported-folds.npz")).unlink()
    board = build_leaderboard(results, None, None, None)
    assert {entry.seeds for entry in board.entries} == {(1,)}
    assert "seed 2 has not been trained for fold 1" in format_leaderboard_markdown(board)


@pytest.mark.slow
def test_a_split_is_exported_as_it_was_evaluated(world: Path, tmp_path: Path) -> None:
    """In single precision, so that the error rates stay those of `evaluate`."""
    sweep, corpus = tmp_path / "sweep", world / "here/first"
    for features in ("mel40", "mel80"):
        write_run(sweep, f"features={features}", "seed=1", corpus=corpus)
    shown = json.loads(call("leaderboard", sweep, "--json", "--speed", "--export-results", tmp_path / "results"))
    assert all(row["speed"] > 1 for row in shown)
    again = call("leaderboard", tmp_path / "results", "--json", "--power", "--columns", "eer,min_cllr")
    assert json.loads(again) == shown
    written = {path.name for path in (tmp_path / "results/leaderboard").iterdir()}
    assert {"power.csv", "power.png", "power.svg", "power.pdf", "leaderboard.pdf"} <= written
    assert "minimum Cllr" in (tmp_path / "results/leaderboard/leaderboard.tex").read_text()
    assert "Singers needed for 80 % power" in (tmp_path / "results/leaderboard/leaderboard.md").read_text()
    assert "expected percentage points above 0" in refusal("leaderboard", tmp_path / "results", "--effects", "1,x")
    other = refusal("leaderboard", tmp_path / "results", "--split", "test")
    assert "holds exported results on val, but not on test" in other


@pytest.mark.slow
def test_what_cannot_be_exported_or_put_together_is_refused(world: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    call("leaderboard", world / "sweep", "--out", tmp_path / "a", "--export-results", results)
    assert "exported results hold no models" in refusal("leaderboard", results, "--speed")
    again = refusal("leaderboard", results, "--export-results", tmp_path / "again")
    assert "holds exported results already; copy the folder" in again
    assert "compared on the corpora that they hold" in refusal(
        "leaderboard", results, "--unseen", world / "unseen/third"
    )
    trained = refusal("leaderboard", world / "sweep", "--unseen", world / "here/first")
    assert "was trained on it; give one of other singers" in trained
    own = refusal("leaderboard", world / "sweep", "--export-results", world / "sweep")
    assert "is the folder of the runs; give another one" in own
    table = results / "utterances-folds.csv"
    table.write_text(table.read_text().replace("female", "contralto"))
    said = refusal("leaderboard", world / "sweep", "--out", tmp_path / "a", "--export-results", results)
    assert "utterances-folds.csv: holds other utterances or labels than the runs to export" in said
    table.write_text("\n".join(table.read_text().splitlines()[:-2]))
    assert "has no row for" in refusal("leaderboard", results)
    write_fold_runs(results, [world / "here/first", world / "there/second"], "mel24")
    assert "expected exported results only, or none" in refusal("leaderboard", results, "--baseline", "features=mel24")
    shutil.rmtree(results)
    results.mkdir()
    call("leaderboard", world / "sweep", "--out", tmp_path / "a", "--export-results", results)
    file = next(results.rglob("*.npz"))
    file.write_bytes(file.read_bytes()[:1000])
    assert "is damaged" in refusal("leaderboard", results)


@pytest.mark.slow
def test_several_sweeps_are_compared_from_folders_of_their_own(world: Path, tmp_path: Path) -> None:
    """Their runs may have the same names; in one folder, one would take the place of another, which is refused."""
    (other := tmp_path / "other").mkdir()
    for run in (world / "sweep").glob("*mel40*"):
        shutil.copytree(run, other / run.name)
        overrides = yaml.safe_load((run / "overrides.yaml").read_text())
        (other / run.name / "overrides.yaml").write_text(yaml.safe_dump([*overrides, "encoder=lstm"]))
    results = tmp_path / "results"
    for number, sweep in enumerate((world / "sweep", other)):
        build_leaderboard(sweep, "features=mel40", None, None, export_to=results / f"sweep{number}")
    board = build_leaderboard(results, "features=mel40,encoder=lstm", None, None)
    assert [len(entry.seeds) for entry in board.entries] == [1, 1, 1]
    assert len({entry.name for entry in board.entries}) == 3
    with pytest.raises(
        Exception, match=r"holds the results of another run of that name \(encoder=lstm is not a setting"
    ):
        build_leaderboard(other, None, None, None, export_to=results / "sweep0")
    table = results / "sweep1/utterances-folds.csv"
    table.write_text(table.read_text().replace("female", "contralto"))
    assert "hold other utterances or labels" in refusal("leaderboard", results, "--baseline", "features=mel80")


@pytest.mark.parametrize(
    ("setting", "kept"),
    [
        ("data.root=[/work/a b/first,'/x/second']", "data.root=[first,'second']"),
        ("init_from=/work/runs/r1", "init_from=r1"),
        ("features=conf/mine.yaml", "features=conf/mine.yaml"),
        ("+x={a: /b/c, d: e/f}", "+x={a: c, d: e/f}"),
        ("note=https://example.org/a", "note=https://example.org/a"),
        ("optimizer.lr=3e-4", "optimizer.lr=3e-4"),
        ({"root": ["/a/b"], "n": 1, "none": None}, {"root": ["b"], "n": 1, "none": None}),
    ],
)
def test_folders_of_the_machine_are_left_out_of_settings(setting: object, kept: object) -> None:
    assert strip_folders(setting) == kept
