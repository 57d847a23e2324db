"""The command that writes a list of trials: a balanced draw, all pairs, or another list without its faults."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from singer_verify.cli.application import CorpusArgument, JsonOption, app, show_comparing
from singer_verify.cli.console import LOGGER
from singer_verify.errors import SingerVerifyError

if TYPE_CHECKING:  # pandas takes a while to import
    import pandas as pd

    from singer_verify.evaluation.trials.trial_list import TrialList
    from singer_verify.evaluation.trials.validation import TrialListValidation

DEFAULT_SPLIT = "val"


@app.command()
def trials(
    corpus: CorpusArgument,
    out: Annotated[Path, typer.Option(help="The list to write: .csv, .txt (voxceleb) or .trials (kaldi).")],
    split: Annotated[str | None, typer.Option(help="Split of the utterances (default: val; with --list, all).")] = None,
    num: Annotated[int | None, typer.Option(help="Trials of either kind (default: all, at most 10000).")] = None,
    take_all: Annotated[bool, typer.Option("--all", help="All pairs instead of a balanced draw.")] = False,
    hard: Annotated[
        bool, typer.Option("--hard", help="Only pairs of different songs, by singers of the same gender.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    source: Annotated[Path | None, typer.Option("--list", help="Check and convert this list, in any format.")] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="csv, voxceleb, kaldi or sony (default: by suffix).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a balanced, seeded list of trials without repetitions; or check and convert an existing list."""
    from singer_verify.corpora.duplicates import find_copies
    from singer_verify.evaluation.trials.formats import infer_format, write_trials
    from singer_verify.evaluation.trials.trial_list import add_labels

    _check_trial_options(out, source, num, take_all, hard)
    name = form or infer_format(out)
    utterances = _read_utterances(corpus, split or (None if source else DEFAULT_SPLIT))
    singer_by_path = dict(zip(utterances.index, utterances["singer"], strict=True))
    diagnosis = None
    if source is not None:
        made, diagnosis = _read_usable_trials(source, corpus, singer_by_path)
    else:
        copies = find_copies(corpus, singer_by_path, show_comparing)
        utterances = utterances.drop(index=list(copies))
        for copy, original in copies.items():
            LOGGER.warning("%s: the same recording as %s; left out.", corpus / copy, original)
        made = _build_trial_list(utterances, num, take_all, hard, seed)
    write_trials(out, add_labels(made, utterances), name)
    record = {"out": str(out), "format": name, **_count_trials(made, utterances), **_build_findings_record(diagnosis)}
    typer.echo(json.dumps(record, indent=2) if as_json else _format_trials_record(record))


def _check_trial_options(out: Path, source: Path | None, num: int | None, take_all: bool, hard: bool) -> None:
    if source is not None and (take_all or hard or num is not None):
        raise SingerVerifyError("--list checks a list as it is; --num, --all and --hard are for a new one.")
    if take_all and num is not None:
        raise SingerVerifyError(f"--all takes every pair; leave out --num {num}, or --all.")
    if source is not None and source.resolve() == out.resolve():
        raise SingerVerifyError(f"--out {out}: is the list itself; expected another file.")


def _read_utterances(corpus: Path, split: str | None) -> "pd.DataFrame":
    """Read the singer and labels of each utterance of a split, or of all splits, indexed by path."""
    import pandas as pd

    from singer_verify.corpora.corpus import SPLITS, read_corpus
    from singer_verify.corpora.labels import read_utterance_labels

    present = tuple(name for name in SPLITS if (corpus / name).is_dir()) or (DEFAULT_SPLIT,)
    splits = (split,) if split else present
    read = read_corpus(corpus, splits=splits, required=splits).splits.values()
    singer_of = {utterance.path: utterance.singer for part in read for utterance in part.utterances}
    columns = {"singer": list(singer_of.values())} | read_utterance_labels(list(singer_of), corpus)
    return pd.DataFrame(columns, index=pd.Index(singer_of, dtype=object), dtype=object)


def _build_trial_list(
    utterances: "pd.DataFrame", num: int | None, take_all: bool, hard: bool, seed: int
) -> "TrialList":
    from singer_verify.evaluation.trials.sampling import (
        build_full_pool,
        build_hard_pool,
        compute_default_num_trials,
        draw_trials,
        list_all_trials,
    )
    from singer_verify.evaluation.trials.trial_list import build_trial_list, require_both_kinds

    columns = {str(name): utterances[name].to_numpy(object) for name in utterances.columns}
    singers = columns.pop("singer")
    pool = build_hard_pool(singers, columns) if hard else build_full_pool(singers)
    chosen = (
        list_all_trials(pool)
        if take_all
        else draw_trials(pool, compute_default_num_trials(pool) if num is None else num, seed)
    )
    made = build_trial_list(chosen, utterances.index.to_numpy(object))
    require_both_kinds(made, "--all" if take_all else "the draw")
    return made


def _read_usable_trials(
    source: Path, corpus: Path, singer_by_path: dict[str, str]
) -> "tuple[TrialList, TrialListValidation]":
    """Read a list, and leave out what cannot be evaluated; only the files that it names are decoded."""
    from singer_verify.corpora.duplicates import find_copies
    from singer_verify.evaluation.trials.formats import read_trials
    from singer_verify.evaluation.trials.validation import select_valid_trials, validate_trials

    listed = read_trials(source)
    diagnosis = validate_trials(listed, corpus, singer_by_path)
    if diagnosis.singer_side is not None:
        raise SingerVerifyError(
            f"--list {source}: its {diagnosis.singer_side} side names singers, and only pairs of recordings can be "
            f"converted; singer-verify evaluate MODEL {corpus} --trials {source} reads it as it is."
        )
    named = {*diagnosis.left, *diagnosis.right}
    compared = {path: singer for path, singer in singer_by_path.items() if path in named}
    if copies := find_copies(corpus, compared, show_comparing):
        diagnosis = validate_trials(listed, corpus, singer_by_path, copies)
    return select_valid_trials(listed, diagnosis), diagnosis


def _count_trials(made: "TrialList", utterances: "pd.DataFrame") -> dict[str, int]:
    used = utterances["singer"][utterances.index.isin(made.left) | utterances.index.isin(made.right)]
    counts = {"num_trials": len(made), "num_targets": made.num_targets}
    return {**counts, "num_singers": used.nunique(), "num_utterances": len(used)}


def _build_findings_record(diagnosis: "TrialListValidation | None") -> dict[str, Any]:
    from singer_verify.evaluation.trials.validation import count_faults
    from singer_verify.inference.evaluation import collect_fault_examples, format_fault_messages

    if diagnosis is None:
        return {}
    return {
        "findings": count_faults(diagnosis),
        "examples": collect_fault_examples(diagnosis),
        "sentences": format_fault_messages(diagnosis),
    }


def _format_trials_record(record: dict[str, Any]) -> str:
    written = (
        f"{record['out']}: {record['num_trials']} trials, {record['num_targets']} of them target trials, of "
        f"{record['num_utterances']} utterances of {record['num_singers']} singers; format {record['format']}."
    )
    return "\n".join([*(record.get("sentences", []) or ["No fault found."] * ("findings" in record)), written])
