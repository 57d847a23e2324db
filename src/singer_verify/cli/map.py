"""The command that draws a map of a split: its embeddings in two dimensions."""

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


@app.command("map")
@takes_trust
def draw_corpus_map(
    model_path: ModelArgument,
    corpus: CorpusArgument,
    out: Annotated[
        Path, typer.Option(help="The .png to write; an .svg, and a .csv of the coordinates, are written next to it.")
    ],
    split: Annotated[str, typer.Option(help="The split to draw.")] = "val",
    by: Annotated[
        str | None, typer.Option(help="Colour by singer, gender, ... (default: singer, and up to five labels).")
    ] = None,
    method: Annotated[str, typer.Option(help="tsne, or umap if it is installed.")] = "tsne",
    seed: Annotated[int, typer.Option(help="Seed of the method; the same seed draws the same map.")] = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Draw the embeddings of a split in two dimensions, coloured by singer and by labels."""
    from singer_verify.corpora.labels import read_utterance_labels
    from singer_verify.evaluation.embedding_map import map_utterances
    from singer_verify.inference import load_model
    from singer_verify.inference.evaluation import embed_split
    from singer_verify.reports.embedding_map import (
        build_corpus_map,
        check_map_options,
        parse_label_names,
        write_corpus_map,
    )
    from singer_verify.runs.provenance import format_provenance

    check_map_options(out, method, seed)
    names = None if by is None else parse_label_names(by, ["singer", *read_utterance_labels([], corpus)])
    model = load_model(model_path, device)
    utterances = embed_split(model, corpus, split, show_progress)
    title = f"{model_path.resolve().name} on {corpus.resolve().name}, {split} split: "
    drawn = build_corpus_map(utterances, map_utterances(utterances.embeddings, method, seed), names, title)
    write_corpus_map(drawn, out, format_provenance(model.checkpoint))
    if as_json:
        typer.echo(json.dumps(drawn.to_records(), indent=2))
    else:
        typer.echo(f"{out}: {len(drawn.paths)} utterances by {', '.join(drawn.labels)}; also .svg and .csv.")
