"""The command that serves the demo page."""

from pathlib import Path
from typing import Annotated

import typer

from singer_verify.cli.application import (
    DeviceOption,
    DomainOption,
    ModelArgument,
    ScoringOption,
    ThresholdOption,
    app,
    takes_trust,
)
from singer_verify.cli.console import LOGGER

PUBLIC_HOST_WARNING = (
    "--host %s: whoever reaches this machine reaches the page, which asks for no password; browsers let it record from "
    "other machines only through https."
)


@app.command()
@takes_trust
def demo(
    model_path: ModelArgument,
    gallery: Annotated[
        Path | None, typer.Option(help="A gallery of enrolled singers: the page can identify them as well.")
    ] = None,
    scoring: ScoringOption = None,
    threshold: ThresholdOption = None,
    domain: DomainOption = None,
    device: DeviceOption = "auto",
    host: Annotated[str, typer.Option(help="Address to listen on; one beyond loopback opens the page to others.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port that the page listens at.")] = 7860,
    max_mb: Annotated[float, typer.Option(min=0.1, help="The largest clip, in MB.")] = 20.0,
) -> None:
    """Serve a page that compares two clips and finds the singer of a clip in a gallery; Ctrl-C ends it."""
    from singer_verify.demo.server import (
        bind_socket,
        build_app,
        create_clip_folder,
        format_url,
        is_loopback,
        require_gradio,
        serve,
    )

    require_gradio()
    with bind_socket(host, port) as listener, create_clip_folder() as clips:
        from singer_verify.demo.answers import DemoHandlers
        from singer_verify.demo.clips import ClipLimits
        from singer_verify.demo.page import build_page
        from singer_verify.demo.words import render_about
        from singer_verify.inference import Gallery, load_model, load_model_scoring

        model = load_model(model_path, device)
        scored = load_model_scoring(model, scoring, threshold, domain)
        if scored.centring is not None:
            scored.centring.require_known(None)
        enrolled = None if gallery is None else Gallery.load(gallery, model, scored)
        answers = DemoHandlers(model, scored, ClipLimits(max_mb), enrolled)
        app = build_app(build_page(answers, render_about(model)), host, max_mb, clips)
        if not is_loopback(host):
            LOGGER.warning(PUBLIC_HOST_WARNING, host)
        typer.echo(f"{format_url(host, port)} is ready; Ctrl-C ends it.")
        serve(app, listener)
