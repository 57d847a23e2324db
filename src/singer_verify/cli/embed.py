"""Commands that write embeddings, of files or of the singers of a corpus."""

import json
from pathlib import Path
from typing import Annotated

import typer

from singer_verify.cli.application import (
    CorpusArgument,
    DeviceOption,
    JsonOption,
    ModelArgument,
    app,
    show_progress,
    takes_trust,
)
from singer_verify.cli.console import require_output_file


@app.command()
@takes_trust
def embed(
    model_path: ModelArgument,
    paths: Annotated[list[Path], typer.Argument(help="Audio files, or folders searched recursively.")],
    out: Annotated[
        Path,
        typer.Option(help="The .npz file to write; or, without a suffix, a folder of Parquet parts, for many files."),
    ],
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Parquet: embed the I-th of N shares of the files only.")
    ] = None,
    by_window: Annotated[
        bool, typer.Option("--windows", help="Parquet: a row for each window of a recording, with its times.")
    ] = False,
    files_per_part: Annotated[
        int | None, typer.Option(help="Parquet: files of a part, which a kill can lose (default: 1000).")
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Write an .npz of `paths` (strings) and `embeddings` (float32, files × embedding, rows of unit length).

    Example: singer-verify embed runs/first songs/ --out songs.npz

    A folder of Parquet parts has the columns path, start_s, end_s, content (the same for files that sound the same),
    embedding and model (its fingerprint). The same call again goes on where an earlier one stopped.
    """
    import numpy as np

    from singer_verify.atomic_files import atomic_write
    from singer_verify.errors import SingerVerifyError
    from singer_verify.inference import load_model
    from singer_verify.inference.evaluation import embed_files

    if not out.suffix:
        _embed_into_parts(model_path, paths, out, shard, files_per_part, by_window, device)
        return
    if out.suffix != ".npz":
        raise SingerVerifyError(
            f"--out {out}: expected a file name that ends in .npz, or, for Parquet parts, that of a folder, without a "
            f"suffix."
        )
    for option, is_given in (
        ("--shard", shard is not None),
        ("--windows", by_window),
        ("--files-per-part", files_per_part is not None),
    ):
        if is_given:
            raise SingerVerifyError(
                f"{option}: has no effect on an .npz; give --out a name without a suffix, of a folder."
            )
    require_output_file("--out", out, ".npz")
    model = load_model(model_path, device)
    files, embeddings = embed_files(model, model.find_files(paths), show_progress)
    with atomic_write(out, "--out") as part, open(part, "wb") as file:
        np.savez(file, paths=np.array([str(path) for path in files]), embeddings=embeddings)
    typer.echo(f"{out}: {len(files)} embeddings of {embeddings.shape[1]} dimensions.")


def _embed_into_parts(
    model_path: Path,
    paths: list[Path],
    out: Path,
    shard: str | None,
    files_per_part: int | None,
    by_window: bool,
    device: str,
) -> None:
    from singer_verify.errors import SingerVerifyError, require_at_least
    from singer_verify.inference import load_model
    from singer_verify.inference.embedding_parts import (
        ALL_FILES,
        DEFAULT_FILES_PER_PART,
        embed_into_parts,
        parse_shard,
        require_parquet,
        select_shard_files,
    )

    share = ALL_FILES if shard is None else parse_shard(shard)
    files_per_part = DEFAULT_FILES_PER_PART if files_per_part is None else files_per_part
    require_at_least(1, **{"--files-per-part": files_per_part})
    if not out.absolute().parent.is_dir():
        raise SingerVerifyError(f"--out {out}: no such folder {out.absolute().parent}; create it first.")
    require_parquet()
    model = load_model(model_path, device)
    files = select_shard_files(model.find_files(paths), paths, share)
    outcome = embed_into_parts(model, files, out, share, files_per_part, by_window, show_progress)
    typer.echo(
        f"{out}: shard {share}: files embedded: {outcome.added}; embedded before: {outcome.present}; not usable: "
        f"{outcome.skipped}."
    )


@app.command()
@takes_trust
def table(
    model_path: ModelArgument,
    corpus: CorpusArgument,
    out: Annotated[Path, typer.Option(help="The .npz or .csv to write; both without a suffix.")],
    split: Annotated[list[str] | None, typer.Option(help="A split to include; may be repeated (default: all).")] = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Write a table of singers: name, split, number of utterances, mean embedding (of unit length).

    The .npz has arrays singers, splits, num_utterances, embeddings, and the fingerprint of the model; the .csv has one
    line per singer.
    """
    from singer_verify.atomic_files import write_files_atomically
    from singer_verify.corpora.corpus import SPLITS, read_corpus
    from singer_verify.errors import SingerVerifyError
    from singer_verify.inference import load_model
    from singer_verify.inference.evaluation import embed_files
    from singer_verify.inference.singer_table import (
        build_singer_table,
        format_singer_table_csv,
        format_singer_table_npz,
    )

    if out.suffix not in ("", ".npz", ".csv"):
        raise SingerVerifyError(f"--out {out}: expected a name that ends in .npz or .csv, or without a suffix: both.")
    splits = read_corpus(corpus, splits=tuple(split or SPLITS), required=tuple(split or ())).splits
    split_of = {
        corpus / utterance.path: (utterance.singer, name)
        for name, listed in splits.items()
        for utterance in listed.utterances
    }
    if not split_of:
        raise SingerVerifyError(f"{corpus}: has none of the folders {', '.join(SPLITS)}; name others with --split.")
    model = load_model(model_path, device)
    files, embeddings = embed_files(model, list(split_of), show_progress)
    singers = build_singer_table((*split_of[file], row) for file, row in zip(files, embeddings, strict=True))
    contents = {".npz": format_singer_table_npz(singers, model.fingerprint), ".csv": format_singer_table_csv(singers)}
    wanted = {suffix: content for suffix, content in contents.items() if out.suffix in ("", suffix)}
    write_files_atomically({f"{out.stem}{suffix}": content for suffix, content in wanted.items()}, out.parent)
    written = [str(out.with_suffix(suffix)) for suffix in wanted]
    if as_json:
        counts = dict(zip(singers.singers, singers.num_utterances.tolist(), strict=True))
        typer.echo(json.dumps({"files": written, "num_utterances": counts}, indent=2))
    else:
        typer.echo(f"{' and '.join(written)}: {len(singers.singers)} singers, {len(files)} utterances.")
