"""The report of an evaluation: what its page, figures and files hold, and that names from outside cannot harm it."""

import base64
import csv
import errno
import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO, StringIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile
from rich.console import Console
from support.audio import SAMPLE_RATE, sing
from support.evaluations import build_evaluated_utterances, build_evaluation_result, build_robustness_result

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.embedding_map import map_utterances
from singer_verify.evaluation.metrics.bootstrap import Estimate
from singer_verify.evaluation.results import EvaluatedUtterances, EvaluationResult
from singer_verify.evaluation.seen_singers import MODEL_SELECTION, THRESHOLD, TRAINING, SingerOverlap
from singer_verify.inference.evaluation_context import EvaluationContext
from singer_verify.plotting import escape_figure_text, order_by_similarity
from singer_verify.reports.det_figure import AXIS_LENGTH, MAX_OTHER_CURVES, compute_axis_position, plot_det
from singer_verify.reports.evaluation.excerpts import EXCERPT_SECONDS, ExcerptEncoder, find_loudest_excerpt
from singer_verify.reports.evaluation.figures import plot_singer_eers
from singer_verify.reports.evaluation.files import write_evaluation_report
from singer_verify.reports.evaluation.robustness import build_robustness_table
from singer_verify.reports.evaluation.text import build_conditions_table, build_evaluation_table

HOSTILE = ("<script>alert(1)</script>", "$x_{$", "_hidden", "name\x01\udcff", "名前", "plain")
ABOUT = EvaluationContext(
    "mel80",
    "<b>corpus</b>",
    "val",
    "cosine, $a cohort_{$",
    calibrated_threshold=0.4,
    fingerprint="a" * 64,
    overlaps={TRAINING: None, MODEL_SELECTION: SingerOverlap(6, 6, 0), THRESHOLD: SingerOverlap(6, 0, 2)},
)


@pytest.fixture(scope="module")
def utterances() -> EvaluatedUtterances:
    """With names that break what is not careful; the files of the first two singers are there, the others not."""
    clean = build_evaluated_utterances(HOSTILE)
    return replace(clean, paths=np.array([f"{number}.flac" for number in range(len(clean.paths))], object))


@pytest.fixture(scope="module")
def result(utterances: EvaluatedUtterances) -> EvaluationResult:
    return build_evaluation_result(utterances)


@pytest.fixture(scope="module")
def folder(result: EvaluationResult, utterances: EvaluatedUtterances, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sounds")
    for trial in result.worst_misses:
        soundfile.write(root / f"{trial.left}.flac", sing(trial.left, seconds=9.0), SAMPLE_RATE)
    out = tmp_path_factory.mktemp("report") / "new" / "folder"
    maps = [map_utterances(utterances.embeddings)]
    write_evaluation_report(result, utterances, ABOUT, out, root, maps, build_robustness_result())
    return out


class Parser(HTMLParser):
    """Collects elements and texts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())

    def sources(self, tag: str) -> list[str]:
        return [str(attrs["src"]) for name, attrs in self.tags if name == tag and "src" in attrs]


@pytest.fixture(scope="module")
def page(folder: Path) -> Parser:
    parser = Parser()
    parser.feed((folder / "report.html").read_text(encoding="utf-8"))
    parser.close()
    return parser


def test_folder_holds_every_form_and_nothing_half_written(folder: Path) -> None:
    figures = ("det", "scores", "map_tsne", "similarity", "singers", "robustness")
    assert {path.name for path in folder.iterdir()} == {
        *("report.html", "evaluation.json", "conditions.csv", "singers.csv", "worst_trials.csv"),
        *("robustness.csv", "robustness.tex"),
        *(f"{name}.{suffix}" for name in figures for suffix in ("png", "svg")),
    }
    assert all(path.stat().st_size for path in folder.iterdir())


def test_page_may_not_load_anything(folder: Path, page: Parser) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv"))
    assert policy == (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; media-src data:"
    )
    assert not re.search(r"https?:|@import|url\(", text)
    addresses = [*page.sources("img"), *page.sources("audio")]
    assert len(addresses) > 5
    assert all(address.startswith(("data:image/svg+xml;base64,", "data:audio/ogg;base64,")) for address in addresses)


def test_names_are_texts_never_markup(folder: Path, page: Parser) -> None:
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not any(tag == "b" for tag, _ in page.tags)
    assert {"<script>alert(1)</script>", "$x_{$", "名前"} <= set(page.texts)
    assert "mel80 on <b>corpus</b>, val split" in page.texts
    for path in folder.glob("*.svg"):
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.parse(path).iter()}
        assert not {"script", "foreignObject"} & tags, path
    drawn = "".join(ElementTree.parse(folder / "singers.svg").getroot().itertext())
    assert "score (cosine, $a cohort_{$)" in "".join(ElementTree.parse(folder / "scores.svg").getroot().itertext())
    for name in ("<script>alert(1)…", "$x_{$", "_hidden", "名前"):
        assert name[:8] in drawn


def test_too_few_trials_are_said_never_a_number(folder: Path, result: EvaluationResult, page: Parser) -> None:
    place = page.texts.index("cross gender")
    cells = [text for text in page.texts[place : place + 12] if text]
    assert cells[:5] == ["cross gender", "no target trials", "–", "0", str(result.conditions[1].num_nontargets)]
    console = Console(width=120, record=True, file=StringIO())
    console.print(build_conditions_table(result.conditions))
    line = next(line for line in console.export_text().splitlines() if "cross gender" in line)
    assert "no target trials" in line
    assert "%" not in line
    rows = {row["condition"]: row for row in csv.DictReader(StringIO((folder / "conditions.csv").read_text()))}
    assert (rows["cross gender"]["eer"], rows["cross gender"]["eer_low"]) == ("", "")
    assert float(rows["hard"]["eer"]) == result.conditions[2].eer.value
    singers = list(csv.DictReader(StringIO((folder / "singers.csv").read_text(errors="surrogateescape"))))
    assert singers[-1]["singer"] == HOSTILE[0]
    assert singers[-1]["eer"] == ""
    rates = [float(row["eer"]) for row in singers[:-1]]
    assert rates == sorted(rates, reverse=True)


def test_figures_are_there_for_programs(
    folder: Path, result: EvaluationResult, utterances: EvaluatedUtterances
) -> None:
    record = json.loads((folder / "evaluation.json").read_text())
    assert (record["model"], record["split"], record["scoring"]) == ("mel80", "val", "cosine, $a cohort_{$")
    assert record["fingerprint"] == "a" * 64
    assert record["seen_singers"] == {
        "training": None,
        "model_selection": {"num_singers": 6, "num_recognised": 6, "num_namesakes": 0},
        "threshold": {"num_singers": 6, "num_recognised": 0, "num_namesakes": 2},
    }
    assert len(record["remarks"]) == 3
    assert record["fitted_metrics"] == []
    assert (record["num_singers"], record["num_utterances"], record["num_trials"]) == (6, 36, 630)
    assert record["num_targets"] == result.conditions[0].num_targets == 6 * 15
    assert record["metrics"]["eer"]["value"] == result.metrics["eer"].value
    assert record["metrics"]["top_1"] == {"value": 1.0, "low": None, "high": None}
    assert [condition["condition"] for condition in record["conditions"]] == ["all", "cross gender", "hard"]
    assert record["conditions"][1]["eer"] is None
    assert record["conditions"][2]["min_dcf_0.01"] == {"value": 0.9, "low": 0.8, "high": 1.0}
    trials = list(csv.DictReader(StringIO((folder / "worst_trials.csv").read_text(errors="surrogateescape"))))
    first = result.worst_false_alarms[0]
    assert trials[0]["left"] == utterances.paths[first.left]
    assert [row["kind"] for row in trials] == ["false alarm"] * 3 + ["miss"] * 3 + ["confused singers"] * 3


def test_worst_trials_can_be_heard(page: Parser) -> None:
    sounds = page.sources("audio")
    assert sounds
    for address in sounds:
        samples, sample_rate = soundfile.read(BytesIO(base64.b64decode(address.partition(",")[2])))
        assert sample_rate == 16_000
        assert abs(len(samples) / sample_rate - EXCERPT_SECONDS) < 0.1
        assert np.abs(samples).max() > 0.05
    assert "no audio" in page.texts


def test_limits_are_said(page: Parser, result: EvaluationResult, utterances: EvaluatedUtterances) -> None:
    said = " ".join(page.texts)
    assert "With fewer than 30 singers, expect the EER to vary by several percentage points" in said
    assert "The best step of the model was chosen on exactly these singers" in said
    assert "Which singers the model was trained on is not recorded" in said
    assert "2 of 6 singers have the names of singers the threshold was fitted to. This may be coincidence" in said
    console = Console(width=120, record=True, file=StringIO())
    console.print(build_evaluation_table(result, utterances, replace(ABOUT, overlaps={})))
    printed = console.export_text()
    assert "fewer than 30 singers" in printed
    assert not re.search("was chosen|not recorded|fitted to", printed)
    assert re.search(r"EER .* \d+\.\d\d % .* \d+\.\d to \d+\.\d %", printed)


def test_of_very_many_singers_no_pairs_are_shown(
    result: EvaluationResult, utterances: EvaluatedUtterances, tmp_path: Path
) -> None:
    whole = replace(result, singer_scores=None, by_singer=(), confused=())
    write_evaluation_report(whole, utterances, ABOUT, tmp_path, tmp_path)
    assert not (tmp_path / "similarity.svg").exists()
    assert not (tmp_path / "singers.png").exists()
    assert 'id="singers"' not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_same_result_makes_the_same_files(
    result: EvaluationResult, utterances: EvaluatedUtterances, folder: Path, tmp_path: Path
) -> None:
    maps = [map_utterances(utterances.embeddings)]
    write_evaluation_report(result, utterances, ABOUT, tmp_path, tmp_path, maps, build_robustness_result())
    for path in folder.iterdir():
        if path.suffix in (".svg", ".csv", ".json"):
            assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(
    result: EvaluationResult, utterances: EvaluatedUtterances, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "report.html").write_text("before")
    write_bytes = Path.write_bytes

    def refuse(path: Path, content: bytes) -> int:
        if path.name == "scores.svg.part":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write_bytes(path, content)

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(SingerVerifyError, match=r"--out .*: cannot be written \(No space left on device\); free some"):
        write_evaluation_report(result, utterances, ABOUT, tmp_path, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text() == "before"
    with pytest.raises(SingerVerifyError, match=r"report\.html: is a file; expected a folder"):
        write_evaluation_report(result, utterances, ABOUT, tmp_path / "report.html", tmp_path)


def test_an_excerpt_is_the_loudest_part() -> None:
    samples = np.zeros(20 * 16_000, np.float32)
    samples[10 * 16_000 : 13 * 16_000] = 0.5
    excerpt = find_loudest_excerpt(samples)
    assert len(excerpt) == EXCERPT_SECONDS * 16_000
    assert np.count_nonzero(excerpt) == 3 * 16_000


@pytest.mark.parametrize(
    ("middle_s", "is_heard"), [(None, True), (15.0, False), (9.0, True), (0.0, False), (99.0, False)]
)
def test_an_excerpt_around_a_place(tmp_path: Path, middle_s: float | None, is_heard: bool) -> None:
    samples = np.zeros(20 * SAMPLE_RATE, np.float32)
    samples[10 * SAMPLE_RATE : 11 * SAMPLE_RATE] = sing(1)
    soundfile.write(tmp_path / "a.flac", samples, SAMPLE_RATE)
    address = ExcerptEncoder(tmp_path).address("a.flac", middle_s)
    assert address is not None
    excerpt, _ = soundfile.read(BytesIO(base64.b64decode(address.partition(",")[2])))
    assert len(excerpt) == EXCERPT_SECONDS * SAMPLE_RATE
    assert (np.abs(excerpt) > 0.02).any() == is_heard


def test_sounds_end_where_the_page_would_become_too_large(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", sing(1), SAMPLE_RATE)
    address = ExcerptEncoder(tmp_path).address("a.flac")
    assert address is not None
    excerpts = ExcerptEncoder(tmp_path, max_bytes=2 * len(address) + 1)
    assert [excerpts.address("a.flac") is None for _ in range(3)] == [False, False, True]
    assert [excerpts.address(name) for name in ("a.npy", "missing.wav", "\udcff.wav")] == [None] * 3


def test_singers_alike_stand_together() -> None:
    matrix = np.eye(6)
    for pair in ((0, 3), (1, 4), (2, 5)):
        matrix[pair], matrix[pair[::-1]] = 0.9, 0.9
    matrix[0, 1] = np.nan
    order = order_by_similarity(matrix).tolist()
    assert {frozenset(order[place : place + 2]) for place in (0, 2, 4)} == {
        frozenset(pair) for pair in ((0, 3), (1, 4), (2, 5))
    }


@pytest.mark.parametrize("name", ["same", "pitch within 2 semitones", "a condition of quite a long name, which is cut"])
def test_det_figure_has_room_for_its_axes_names(result: EvaluationResult, name: str) -> None:
    named = replace(result.conditions[0], condition=name, metrics={"eer": Estimate(0.1247, 0.0694, 0.1681)})
    figure = plot_det((*result.conditions, named))
    figure.savefig(BytesIO(), format="png")  # which lays it out
    for text in (figure.axes[0].yaxis.label, figure.axes[0].xaxis.label, *figure.legends[0].get_texts()):
        extent = text.get_window_extent()
        assert 0 <= extent.x0 < extent.x1 <= figure.bbox.width
        assert 0 <= extent.y0 < extent.y1 <= figure.bbox.height


def test_det_figure_has_the_few_curves_that_differ_most(result: EvaluationResult) -> None:
    all_trials = result.conditions[0]
    assert all_trials.miss is not None
    moved = [
        replace(all_trials, condition=f"same label{number}", miss=np.clip(all_trials.miss + 0.09 * number, 0.0, 1.0))
        for number in range(7)
    ]
    axes = plot_det((*result.conditions, *moved)).axes[0]
    named = {line.get_label().strip(): line for line in axes.get_lines() if not line.get_label().startswith("_")}
    names = [name.split("  ")[0] for name in named]
    assert names[:2] == ["all", "hard"]
    assert "same label6" in names
    assert "same label0" not in names  # lies on that of all trials
    assert len(names) == 2 + MAX_OTHER_CURVES + 1
    assert names[-1] == "3 more in the table of conditions"
    widths = {name.split("  ")[0]: line.get_linewidth() for name, line in named.items()}
    assert widths["all"] == widths["hard"] > 1.5 * widths["same label6"]
    eer = all_trials.eer
    assert f"all  {100 * eer.value:.1f} [{100 * eer.low:.1f}, {100 * eer.high:.1f}] %" in named
    x, y = named[next(name for name in named if name.startswith("all"))].get_data()
    assert compute_axis_position(eer.value) == pytest.approx(
        np.interp(compute_axis_position(eer.value), x, y), abs=0.02 * AXIS_LENGTH
    )  # on the diagonal


def test_worst_singers_stand_on_top_with_their_nearest(
    result: EvaluationResult, utterances: EvaluatedUtterances
) -> None:
    axes = plot_singer_eers(result.by_singer, utterances.singers, 0.2).axes[0]
    dots = axes.get_lines()[0].get_xdata()
    assert dots.tolist() == sorted((100 * singer.eer for singer in result.by_singer if singer.eer), reverse=True)
    names = [text.get_text() for text in axes.get_yticklabels()]
    worst = max(result.by_singer, key=lambda singer: singer.eer or 0.0)
    assert names[0] == escape_figure_text(utterances.singers[worst.singer])
    assert axes.texts[0].get_text() == f"most like {escape_figure_text(utterances.singers[worst.nearest])}"
    assert axes.get_title() == "too few trials for an EER: 1"


def test_robustness_is_a_table_a_figure_and_a_section_of_the_page(folder: Path) -> None:
    rows = list(csv.DictReader(StringIO((folder / "robustness.csv").read_text())))
    assert [(row["degradation"], row["strength"]) for row in rows] == [
        *(("noise", "20.0"), ("noise", "0.0"), ("pitch_shift", "-2.0"), ("pitch_shift", "2.0"), ("reverb", "9.0")),
    ]
    assert [rows[1][name] for name in ("eer", "clean_eer", "num_unusable", "auc_low")] == ["0.2", "0.15", "1", ""]
    assert float(rows[1]["eer_difference_low"]) == pytest.approx(0.05)
    assert rows[4]["eer"] == ""
    latex = (folder / "robustness.tex").read_text()
    assert r"pitch\_shift & -2 semitones & 20.00 [10.0, 30.0] & +5.00 [+5.0, +5.0] & 0 \\" in latex
    assert r"\toprule" in latex
    page = (folder / "report.html").read_text()
    assert "<h2>After degradation</h2>" in page
    assert "reverb 9 s: not evaluated: 0 target trials" in page
    drawing = (folder / "robustness.svg").read_text()
    assert all(f">{text}<" in drawing for text in ("noise", "pitch shift", "semitones", "EER in %"))
    record = json.loads((folder / "evaluation.json").read_text())["robustness"]
    assert record["degradations"][1]["unusable"] == {"0.flac": "0.flac: holds no voice"}
    assert record["mean_eer"] is None  # one of them could not be evaluated


def test_the_table_of_robustness_fits_80_columns() -> None:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(build_robustness_table(build_robustness_result("both")))
    printed = capture.get()
    assert "pitch_shift  -2 semitones  20.00 [10.0, 30.0]  +5.00 [+5.0, +5.0]     0" in printed
    assert "Both recordings of every trial are degraded." in printed
    assert "at most 1 (noise 0 dB)" in " ".join(printed.split())
