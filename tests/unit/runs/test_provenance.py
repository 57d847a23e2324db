"""Checksums of files in records of runs and galleries, and what pages and figures tell of their making."""

import json
import re
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from singer_verify.inference.enrolment import compute_recording_sha256
from singer_verify.plotting import render_figure_files
from singer_verify.runs.checkpoints import Checkpoint
from singer_verify.runs.provenance import compute_file_sha256, format_provenance, format_runs_provenance


def test_worked_example_of_a_checksum(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert compute_file_sha256(tmp_path / "abc") == compute_recording_sha256(tmp_path / "abc") == expected


def test_lines_of_provenance_tell_model_runs_and_command(
    monkeypatch: pytest.MonkeyPatch, model: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["/bin/singer-verify", "evaluate", "my run", "\udcff"])
    told, made = format_provenance(Checkpoint.read(model)).splitlines()
    assert told.startswith("Model run: mel40, LSTMEncoder, fingerprint ")
    assert re.match(r"Made \d{4}-\d\d-\d\d \d\d:\d\d by singer_verify \d", made)
    assert made.endswith(": singer-verify evaluate 'my run' '?'")
    record = {"process": {"id": 1, "host": "there", "began": 0.0}}
    for name, bins in (("a", 40), ("b", 80)):
        (tmp_path / "sweep" / name).mkdir(parents=True)
        (tmp_path / "sweep" / name / "run.json").write_text(json.dumps(record))
        features = {"_target_": "singer_verify.features.mel.MelSpectrogram", "num_bins": bins}
        config = {"features": features, "data": {"root": "/corpora/jvs"}, "loss": {"terms": {"ge2e": {}}}}
        (tmp_path / "sweep" / name / "config.yaml").write_text(json.dumps(config))
    told = format_runs_provenance(tmp_path / "sweep")
    assert told == "Runs in sweep: corpus jvs; features mel40, mel80; loss ge2e."


def test_a_png_has_it_in_a_footer_and_what_a_paper_takes_in_only_in_its_metadata() -> None:
    footer, files = "Model a: mel40.\nMade 2026-11-28: singer-verify \udcff $x$", []
    for said in ("", footer):
        figure = Figure(figsize=(6, 3), layout="constrained")
        figure.subplots().plot([0, 1])
        files.append(render_figure_files(figure, ("png", "svg", "pdf"), said))
    without, stamped = files
    assert list(stamped) == ["png", "svg", "pdf"]
    assert without["png"] != stamped["png"]
    about = "Model a: mel40.\nMade 2026-11-28: singer-verify \N{REPLACEMENT CHARACTER} $x$"
    svg = stamped["svg"].decode()
    assert f"<dc:description>{about}</dc:description>" in svg
    drawing = [re.sub(r"<metadata>.*</metadata>", "", text, flags=re.DOTALL) for text in (without["svg"].decode(), svg)]
    assert drawing[0] == drawing[1]
    assert b"/Subject" in stamped["pdf"]
    assert b"/Subject" not in without["pdf"]
