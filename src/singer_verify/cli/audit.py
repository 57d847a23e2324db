"""The command that looks for recordings of a corpus whose label or sound is wrong."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from singer_verify.cli.application import (
    CorpusArgument,
    DeviceOption,
    DomainOption,
    JsonOption,
    ScoringOption,
    app,
    show_progress,
    takes_trust,
)
from singer_verify.cli.console import print_result, tell_page
from singer_verify.cli.model_argument import choose_packaged_model

NO_MODEL = Path("none")  # as --model


@app.command()
@takes_trust
def audit(
    corpus: CorpusArgument,
    model_path: Annotated[
        Path | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="Checks labels: a run folder, .ckpt or saved_model.pt (default: the model that comes with the "
            "package, if there is one), or none to look at the sound alone.",
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="The split to look at (default: train, val and test).")] = None,
    false_alarms: Annotated[
        float, typer.Option(help="Share of right recordings that a check with the model may name.")
    ] = 0.01,
    refuse: Annotated[
        str | None,
        typer.Option(
            help="Kinds of findings that a recording is refused for, separated by commas, all or none (default: "
            "unreadable, label, copy, excerpt, voices, silence)."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for audit.csv, measures.csv, audit.json and audit.html.")
    ] = None,
    apply: Annotated[
        Path | None,
        typer.Option(help="A corpus folder to create, of links and a corpus.csv, without what was refused."),
    ] = None,
    copy: Annotated[bool, typer.Option("--copy", help="With --apply: copy the files instead of linking them.")] = False,
    decisions: Annotated[
        Path | None,
        typer.Option(help="With --apply: an edited audit.csv, whose column refused decides; nothing is measured."),
    ] = None,
    top: Annotated[int, typer.Option(help="Number of findings to print.")] = 20,
    scoring: ScoringOption = None,
    domain: DomainOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the findings as csv.")] = False,
) -> None:
    """Find recordings with wrong labels, copies, second voices, damaged or unusual sound."""
    from singer_verify.errors import SingerVerifyError, require_at_least
    from singer_verify.inference.audit import (
        DEFAULT_REFUSED,
        AuditSettings,
        audit_corpus,
        read_audio_corpus,
    )
    from singer_verify.inference.audit_signals import KINDS, SAME_SINGER
    from singer_verify.reports.audit import (
        PAGE_NAME,
        build_audit_record,
        build_audit_tables,
        format_audit_csv,
        read_decisions,
        write_audit,
    )
    from singer_verify.reports.evaluation.files import require_report_folder
    from singer_verify.runs.packaged_model import find_packaged_model
    from singer_verify.runs.provenance import format_provenance

    require_at_least(0, **{"--top": top})
    if as_json and as_csv:
        raise SingerVerifyError("--json, --csv: print one form each; give one of them, or --out for all.")
    if apply is None and (decisions is not None or copy):
        raise SingerVerifyError(f"{'--copy' if copy else '--decisions'}: has no effect without --apply FOLDER.")
    is_sound_alone = model_path == NO_MODEL or (model_path is None and find_packaged_model() is None)
    if is_sound_alone and (scoring is not None or domain is not None):
        raise SingerVerifyError(f"{'--domain' if scoring is None else '--scoring'}: has no effect without --model.")
    for folder, name in ((out, "--out"), (apply, "--apply")):
        if folder is not None:
            require_report_folder(folder, name)
    if apply is not None:
        _require_new_corpus(apply, corpus)
    if decisions is not None:
        if any(option is not None for option in (model_path, scoring, domain, out, refuse)):
            raise SingerVerifyError(
                "--decisions: nothing is audited; leave --model, --scoring, --domain, --out and --refuse out."
            )
        utterances = read_audio_corpus(corpus, split)
        refused = read_decisions(decisions)
    else:
        named = {"all": tuple(kind for kind in KINDS if kind != SAME_SINGER), "none": ()}
        given = DEFAULT_REFUSED if refuse is None else tuple(part.strip() for part in refuse.split(",") if part.strip())
        settings = AuditSettings(false_alarms, named.get(refuse or "", given), split)
        model = fitted = None
        if not is_sound_alone:
            from singer_verify.cli.verify import load_model_and_scoring

            read_audio_corpus(corpus, split)  # whose mistakes are found sooner than a model is loaded
            path = choose_packaged_model() if model_path is None else model_path
            model, fitted = load_model_and_scoring(path, scoring, None, False, None, device, domain)
        report = audit_corpus(corpus, model, fitted, settings, show_progress)
        provenance = format_provenance(None if model is None else model.checkpoint)
        report = replace(report, notes=(*report.notes, *provenance.splitlines()))
        if as_json:
            typer.echo(json.dumps(build_audit_record(report), indent=2, allow_nan=False))
        elif as_csv:
            typer.echo(format_audit_csv(report), nl=False)
        else:
            print_result(build_audit_tables(report, top))
        if out is not None:  # after the results were printed: a full disk does not take them
            write_audit(report, out)
            if not (as_json or as_csv):
                tell_page(out / PAGE_NAME)
        utterances, refused = report.utterances, set(report.refused)
    if apply is not None:
        from singer_verify.corpora.preparation import prepare_corpus, select_accepted

        accepted = select_accepted(corpus, utterances, refused)
        prepare_corpus(accepted, apply, copy, lambda items: show_progress(items, "Writing"))
        num_refused = len(utterances) - len(accepted)
        summary = f"{apply}: {len(accepted)} of {len(utterances)} recordings; {num_refused} were refused."
        typer.echo(summary, err=as_json or as_csv)


def _require_new_corpus(folder: Path, corpus: Path) -> None:
    """Refuse to write into the corpus, or over anything, before an hour's work is begun."""
    from singer_verify.errors import SingerVerifyError

    if folder.absolute() == corpus.absolute() or corpus.absolute() in folder.absolute().parents:
        raise SingerVerifyError(
            f"--apply {folder}: is the corpus or lies in it, which stays as it is; give a new folder."
        )
    if folder.is_dir() and any(folder.iterdir()):
        raise SingerVerifyError(f"--apply {folder}: already holds files, which are not overwritten; give a new folder.")
