"""The command that writes the mean embedding of each singer of a corpus."""

import json
from pathlib import Path
from typing import Annotated

import typer

from singer_verify.cli.models import ModelArgument
from singer_verify.cli.recognition import JsonOption


def table(
    model: ModelArgument,
    corpus: Annotated[Path, typer.Argument(help="A corpus folder, <root>/<split>/<singer>/**/<utterance>.")],
    out: Annotated[Path, typer.Option(help="The .npz or .csv to write; without a suffix, both.")],
    split: Annotated[list[str] | None, typer.Option(help="A split to take; again for others (default: all)")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the look-up table of singers: name, split, number of utterances, mean embedding (of unit length).

    As .npz: arrays singers, splits, num_utterances, embeddings, and the fingerprint of the model. As .csv: a line for
    each singer.
    """
    from singer_verify.cli.embedding import embed_files
    from singer_verify.corpora.folder import SPLITS, read_corpus
    from singer_verify.errors import SingerVerifyError
    from singer_verify.recognition import Embedder
    from singer_verify.recognition.singer_table import as_csv, as_npz, singer_table
    from singer_verify.whole_files import write_files

    if out.suffix not in ("", ".npz", ".csv"):
        raise SingerVerifyError(f"--out {out}: expected a name that ends in .npz or .csv, or without a suffix: both.")
    splits = read_corpus(corpus, splits=tuple(split or SPLITS), required=tuple(split or ())).splits
    place_of = {
        corpus / utterance.path: (utterance.singer, name)
        for name, each in splits.items()
        for utterance in each.utterances
    }
    if not place_of:
        raise SingerVerifyError(f"{corpus}: has none of the folders {', '.join(SPLITS)}; name others with --split.")
    embedder = Embedder.load(model)
    files, embeddings = embed_files(embedder, list(place_of))
    found = singer_table((*place_of[file], row) for file, row in zip(files, embeddings, strict=True))
    contents = {".npz": as_npz(found, embedder.fingerprint), ".csv": as_csv(found)}
    wanted = {suffix: content for suffix, content in contents.items() if out.suffix in ("", suffix)}
    write_files({f"{out.stem}{suffix}": content for suffix, content in wanted.items()}, out.parent)
    written = [str(out.with_suffix(suffix)) for suffix in wanted]
    if as_json:
        counts = dict(zip(found.singers, found.num_utterances.tolist(), strict=True))
        typer.echo(json.dumps({"files": written, "num_utterances": counts}, indent=2))
    else:
        typer.echo(f"{' and '.join(written)}: {len(found.singers)} singers, {len(files)} utterances.")
