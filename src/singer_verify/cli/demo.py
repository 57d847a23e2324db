"""The command that opens the page."""

from pathlib import Path
from typing import Annotated

import typer

from singer_verify.cli.models import ModelArgument
from singer_verify.cli.recognition import ScoringOption, ThresholdOption
from singer_verify.entry import LOGGER

OPEN_TO_OTHERS = (
    "--host %s: whoever reaches this machine reaches the page, which asks for no password; browsers let it record from "
    "other machines only through https."
)


def demo(
    model: ModelArgument,
    gallery: Annotated[Path | None, typer.Option(help="Of enrolled singers: adds the question who sings.")] = None,
    scoring: ScoringOption = None,
    threshold: ThresholdOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on; one beyond loopback opens the page to others.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=1, max=65535)] = 7860,
    max_mb: Annotated[float, typer.Option(min=0.1, help="The largest clip, in MB.")] = 20.0,
) -> None:
    """A page in the browser: are two clips of one singer, and who of a gallery sings? Ctrl-C ends it."""
    from singer_verify.demo.server import (
        application,
        clips_folder,
        is_loopback,
        listening,
        require_gradio,
        serve,
        url,
    )

    require_gradio()
    with listening(host, port) as taken, clips_folder() as clips:
        from singer_verify.demo.about import about
        from singer_verify.demo.answers import Answers
        from singer_verify.demo.checks import Limits
        from singer_verify.demo.page import page
        from singer_verify.recognition import Embedder, Gallery, scoring_of

        embedder, scored = Embedder.load(model), scoring_of(model, scoring, threshold)
        known = None if gallery is None else Gallery.load(gallery, embedder, scored)
        answers = Answers(embedder, scored, Limits(max_mb), known)
        app = application(page(answers, about(model)), host, max_mb, clips)
        if not is_loopback(host):
            LOGGER.warning(OPEN_TO_OTHERS, host)
        typer.echo(f"{url(host, port)} is ready; Ctrl-C ends it.")
        serve(app, taken)
