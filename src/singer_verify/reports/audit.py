"""An audit as console tables, csv, JSON and a page with players; reading back what a listener decided."""

import json
import math
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from singer_verify.atomic_files import write_files_atomically
from singer_verify.corpora.tables import read_table
from singer_verify.errors import SingerVerifyError
from singer_verify.inference.audit import AuditReport
from singer_verify.inference.audit_signals import KINDS, LABEL, Finding
from singer_verify.reports.evaluation.excerpts import EXCERPT_SECONDS, ExcerptEncoder
from singer_verify.reports.html import render_template

TEMPLATE = "audit.html.jinja"
TABLE_NAME, PAGE_NAME, RECORD_NAME = "audit.csv", "audit.html", "audit.json"
PATH_COLUMN, REFUSED_COLUMN = "utterance", "refused"
YES, NO = "yes", "no"
MAX_SIDES = 3
MAX_PLAYED = 150  # findings with players: a page of all would not open


def build_audit_tables(report: AuditReport, num_shown: int) -> Group:
    """Build the console tables: findings by kind, the first of them, and notes."""
    by_kind = Table(title=f"Audit of {report.root}", box=box.SIMPLE_HEAD, show_edge=False)
    by_kind.add_column("finding", no_wrap=True)
    by_kind.add_column("recordings", justify="right")
    by_kind.add_column("refused", justify="right")
    by_kind.add_column("")
    for kind, number, refused in count_findings(report):
        by_kind.add_row(name_kind(kind), str(number), str(refused or ""), KINDS[kind])
    parts: list[Table | Text] = [by_kind]
    if not report.findings:
        parts = [Text(f"{report.root}: nothing was found in {len(report.utterances)} recordings.")]
    elif num_shown:
        first = Table(title="First by rank", box=box.SIMPLE_HEAD, show_edge=False)
        for heading, style in (("", {"justify": "right"}), ("finding", {}), ("recording, and what was found", {})):
            first.add_column(heading, overflow="fold", **style)  # type: ignore[arg-type]
        for rank, finding in enumerate(report.findings[:num_shown], 1):
            text = Text(describe_subject(finding))
            text.append(f"\n{finding.detail}", style="dim")
            first.add_row(str(rank), name_kind(finding.kind), text)
        parts.append(first)
    return Group(*parts, *(Text(f"* {note}") for note in build_audit_notes(report)))


def name_kind(kind: str) -> str:
    """Return the name of a kind of finding as readers see it."""
    return kind.replace("_", " ")


def count_findings(report: AuditReport) -> list[tuple[str, int, int]]:
    """Count the recordings, or pairs of singers, of each kind that was found, and how many of them are refused."""
    pairs = {(finding.kind, finding.path or f"{finding.singer}\0{finding.other}") for finding in report.findings}
    refused = {(finding.kind, finding.path) for finding in report.findings if finding.is_refused}
    numbers, refusals = (Counter(kind for kind, _ in which) for which in (pairs, refused))
    return [(kind, numbers[kind], refusals[kind]) for kind in KINDS if numbers[kind]]


def describe_subject(finding: Finding) -> str:
    """Name what a finding is about: a recording, two recordings or two singers."""
    own = finding.path or finding.singer
    return f"{own} and {finding.other}" if finding.other and finding.kind != LABEL else own


def build_audit_notes(report: AuditReport) -> list[str]:
    """Build the notes that a reader must know."""
    num_found = len({finding.path for finding in report.findings if finding.path})
    return [
        f"{num_found} of {len(report.utterances)} recordings have findings; {len(report.refused)} are refused.",
        *report.notes,
    ]


def build_finding_record(rank: int, finding: Finding) -> dict[str, Any]:
    """Build the row of a finding."""
    return {
        "rank": rank,
        "kind": finding.kind,
        PATH_COLUMN: finding.path,
        "singer": finding.singer,
        "other": finding.other,
        "value": _plain(finding.value),
        "limit": _plain(finding.limit),
        "excess": _plain(finding.excess),
        "precision": _plain(finding.precision),
        "at_s": None if finding.at_s is None else round(finding.at_s, 2),
        "detail": finding.detail,
        REFUSED_COLUMN: YES if finding.is_refused else NO,
    }


def _plain(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


def format_audit_csv(report: AuditReport) -> str:
    """Format a row per finding, ranked."""
    columns = list(build_finding_record(0, Finding("", "", "", 0.0, 0.0, 0.0, "")))
    rows = [build_finding_record(rank, finding) for rank, finding in enumerate(report.findings, 1)]
    return str(pd.DataFrame(rows, columns=columns).to_csv(index=False, lineterminator="\n"))


def format_measures_csv(report: AuditReport) -> str:
    """Format a row per recording: what was measured, and the margin of its label."""
    rows = [
        {
            PATH_COLUMN: utterance.path,
            "singer": utterance.singer,
            "seconds": round(m.duration_s, 3),
            "sample_rate": m.sample_rate,
            "channels": m.num_channels,
            "voice_s": round(m.voice_s, 2),
            "level_db": round(m.level_db, 1),
            "noise_db": round(m.noise_db, 1),
            "hum_db": _plain(m.hum_db),
            "clipped_share": float(f"{m.clipped_share:.2g}"),
            "cutoff_hz": m.cutoff_hz,
            "cutoff_db": round(m.cutoff_db, 1),
            "label_margin": _plain(report.margins.get(utterance.path, np.nan)),
        }
        for utterance in report.utterances
        if (m := report.measures.get(utterance.path)) is not None
    ]
    return str(pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))


def build_audit_record(report: AuditReport) -> dict[str, Any]:
    """Build the contents of audit.json."""
    return {
        "corpus": str(report.root),
        "num_recordings": len(report.utterances),
        "false_alarms": report.false_alarms,
        "counts": {kind: {"found": number, "refused": refused} for kind, number, refused in count_findings(report)},
        "findings": [build_finding_record(rank, finding) for rank, finding in enumerate(report.findings, 1)],
        "refused": list(report.refused),
        "notes": build_audit_notes(report),
    }


def render_audit_page(report: AuditReport) -> str:
    """Render a self-contained HTML page of the findings, the first of them with players."""
    excerpts = ExcerptEncoder(report.root)
    paths_by_singer: dict[str, list[str]] = defaultdict(list)
    for utterance in report.utterances:
        if utterance.path in report.measures:
            paths_by_singer[utterance.singer].append(utterance.path)
    example_by_singer = {singer: paths[0] for singer, paths in paths_by_singer.items()}
    rows = []
    for rank, finding in enumerate(report.findings, 1):
        sides = {finding.path or example_by_singer.get(finding.singer, finding.singer): finding.at_s}
        if finding.other:
            sides[example_by_singer.get(finding.other, finding.other)] = finding.other_at_s
        if finding.kind == LABEL:
            sides |= {path: None for path in paths_by_singer[finding.singer] if path != finding.path}
        is_played = rank <= MAX_PLAYED
        rows.append(
            {
                "rank": rank,
                "kind": name_kind(finding.kind),
                "refused": YES if finding.is_refused else "",
                "detail": finding.detail,
                "singer": finding.singer,
                "excess": finding.excess,
                "sides": [
                    {"path": path, "sound": excerpts.address(path, at_s) if is_played else None}
                    for path, at_s in list(sides.items())[:MAX_SIDES]
                ],
            }
        )
    return render_template(
        TEMPLATE,
        title=f"Audit of {report.root.name}",
        counts=[(name_kind(kind), number, refused, KINDS[kind]) for kind, number, refused in count_findings(report)],
        notes=build_audit_notes(report),
        rows=rows,
        seconds=f"{EXCERPT_SECONDS:g}",
        max_played=MAX_PLAYED,
    )


def write_audit(report: AuditReport, folder: Path) -> None:
    """Write audit.csv, measures.csv, audit.json and audit.html.

    Raises:
        SingerVerifyError: the folder cannot be written to.
    """
    contents = {
        TABLE_NAME: format_audit_csv(report),
        "measures.csv": format_measures_csv(report),
        RECORD_NAME: json.dumps(build_audit_record(report), indent=2, allow_nan=False),
        PAGE_NAME: render_audit_page(report),
    }
    write_files_atomically({name: text.encode("utf-8", "surrogateescape") for name, text in contents.items()}, folder)


def read_decisions(path: Path) -> set[str]:
    """Read from an `audit.csv`, perhaps edited by a listener, which recordings are refused.

    Args:
        path: a table with the columns utterance and refused.

    Raises:
        SingerVerifyError: it cannot be read, lacks a column, or says anything but yes and no.
    """
    option = "--decisions "
    table = read_table(path, option, (PATH_COLUMN, REFUSED_COLUMN))
    if missing := {PATH_COLUMN, REFUSED_COLUMN} - set(table.columns):
        raise SingerVerifyError(f"{option}{path}: has no column {missing.pop()}; expected an audit.csv.")
    answers = table[REFUSED_COLUMN].str.strip().str.lower()
    if len(wrong := table[~answers.isin([YES, NO, ""])]):
        found = wrong.iloc[0]
        raise SingerVerifyError(
            f"{option}{path}: {found[PATH_COLUMN]} has {REFUSED_COLUMN}={found[REFUSED_COLUMN]!r}; expected {YES} or "
            f"{NO}."
        )
    return set(table[PATH_COLUMN][(answers == YES) & (table[PATH_COLUMN] != "")])
