"""The page itself: its tabs, fields and buttons, and what each of them calls."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from singer_verify.demo.checks import READABLE
from singer_verify.demo.panels import panel
from singer_verify.demo.words import singers_words

if TYPE_CHECKING:  # gradio takes seconds to import, and is an extra
    import gradio

    from singer_verify.demo.answers import Answers

STYLES = (files(__package__) / "page.css").read_text(encoding="utf-8")
TITLE = "Who is singing?"
SECONDS_KEPT, SECONDS_BETWEEN_CLEANINGS = 900, 60  # a clip is gone after the first of them, at the latest
NOTHING = "() => ''"
WAVE_COLOUR, PLAYED_COLOUR = "#8fb8d6", "#0072B2"


def page(answers: Answers, about: str) -> gradio.Blocks:
    """The page, ready to be served.

    Args:
        answers: what it shows.
        about: HTML of what the model is.
    """
    import gradio

    cleaning = (SECONDS_BETWEEN_CLEANINGS, SECONDS_KEPT - SECONDS_BETWEEN_CLEANINGS)
    with gradio.Blocks(title=TITLE, analytics_enabled=False, delete_cache=cleaning) as blocks:
        _html(f"<h1>{TITLE}</h1>")
        with gradio.Tab("Same singer?"):
            _comparison(answers)
        if answers.gallery is not None:
            with gradio.Tab("Who is it?"):
                _identification(answers, singers_words(list(answers.gallery.singers)))
        _html(about)
    return blocks


def _comparison(answers: Answers) -> None:
    import gradio

    words = f"Record or upload two clips ({READABLE}), best some seconds of one voice alone: does one singer sing both?"
    _html(panel("lead", words=words))
    with gradio.Row():
        with gradio.Column(min_width=320):
            left = _clip("First clip", answers)
        with gradio.Column(min_width=320):
            right = _clip("Second clip", answers)
    _question("Compare", answers.compare, [left, right])


def _identification(answers: Answers, singers: str) -> None:
    import gradio

    _html(panel("lead", words=f"Record or upload a clip ({READABLE}): which of these sings, if any? {singers}"))
    with gradio.Row():
        with gradio.Column(min_width=320):
            clip = _clip("Clip", answers)
        with gradio.Column(min_width=320):
            _question("Who is it?", answers.identify, [clip])


def _clip(label: str, answers: Answers) -> gradio.Audio:
    """A field for a clip, and its picture below it."""
    import gradio

    colours = gradio.WaveformOptions(waveform_color=WAVE_COLOUR, waveform_progress_color=PLAYED_COLOUR)
    clip = gradio.Audio(
        label=label,
        sources=["upload", "microphone"],
        type="filepath",
        buttons=[],
        waveform_options=colours,
        elem_id=label.lower().replace(" ", "-"),
    )
    picture = _html()
    _call(clip.change, answers.show, [clip], picture)
    return clip


def _question(label: str, answer: Callable[..., str], clips: list[Any]) -> None:
    """A button and the place of its answer, which the browser empties as soon as a clip is another."""
    import gradio

    button = gradio.Button(label, variant="primary", elem_classes="question-button")
    place = _html()
    _call(button.click, answer, clips, place)
    for clip in clips:
        clip.change(None, None, place, js=NOTHING)


def _call(event: Callable[..., Any], answer: Callable[..., str], clips: list[Any], place: gradio.HTML) -> None:
    """A question and its answer in one request, not offered to programs.

    Gradio's queue answers over a connection of its own, and loses a question that is put as that closes (6.31), for
    instance the second of two clips that are taken away at once. That answers come one at a time is their own affair.
    """
    event(answer, clips, place, api_visibility="private", queue=False, show_progress="minimal")


def _html(content: str = "") -> gradio.HTML:
    """A place for HTML of ours, which runs no script."""
    import gradio

    return gradio.HTML(content, js_on_load=None, elem_classes="plain")
