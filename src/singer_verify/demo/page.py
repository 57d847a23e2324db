"""The page: its tabs, fields and buttons, and the handler that each of them calls."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from singer_verify.demo.clips import MAX_CLIP_AGE_S, READABLE_FORMATS
from singer_verify.demo.words import format_singer_names, render_panel

if TYPE_CHECKING:  # gradio takes seconds to import, and is an extra
    import gradio

    from singer_verify.demo.answers import DemoHandlers

STYLES = (files(__package__) / "page.css").read_text(encoding="utf-8")
PAGE_TITLE = "Who is singing?"
CLEANUP_INTERVAL_S = 60  # how often clips that are old enough are deleted
CLEAR_JS = "() => ''"
PLAYER_WAVE_COLOUR, PLAYER_PROGRESS_COLOUR = "#8fb8d6", "#0072B2"


def build_page(answers: DemoHandlers, about: str) -> gradio.Blocks:
    """Build the page, ready to be served.

    Args:
        answers: the event handlers.
        about: HTML of what the model is.
    """
    import gradio

    cleaning = (CLEANUP_INTERVAL_S, MAX_CLIP_AGE_S - CLEANUP_INTERVAL_S)
    with gradio.Blocks(title=PAGE_TITLE, analytics_enabled=False, delete_cache=cleaning) as blocks:
        _add_html(f"<h1>{PAGE_TITLE}</h1>")
        with gradio.Tab("Same singer?"):
            _add_comparison(answers)
        if answers.gallery is not None:
            with gradio.Tab("Who is it?"):
                _add_identification(answers, format_singer_names(list(answers.gallery.singers)))
        _add_html(about)
    return blocks


def _add_comparison(answers: DemoHandlers) -> None:
    import gradio

    words = (
        f"Record or upload two clips ({READABLE_FORMATS}), ideally several seconds of one voice alone: does the same "
        f"singer sing both?"
    )
    _add_html(render_panel("lead", words=words))
    with gradio.Row():
        with gradio.Column(min_width=320):
            left = _add_clip_field("First clip", answers)
        with gradio.Column(min_width=320):
            right = _add_clip_field("Second clip", answers)
    _add_question_button("Compare", answers.compare, [left, right])


def _add_identification(answers: DemoHandlers, singers: str) -> None:
    import gradio

    _add_html(
        render_panel(
            "lead",
            words=f"Record or upload a clip ({READABLE_FORMATS}): which of these singers is it, if any? {singers}",
        )
    )
    with gradio.Row():
        with gradio.Column(min_width=320):
            clip = _add_clip_field("Clip", answers)
        with gradio.Column(min_width=320):
            _add_question_button("Who is it?", answers.identify, [clip])


def _add_clip_field(label: str, answers: DemoHandlers) -> gradio.Audio:
    """Add a field for a clip, and its picture below."""
    import gradio

    colours = gradio.WaveformOptions(waveform_color=PLAYER_WAVE_COLOUR, waveform_progress_color=PLAYER_PROGRESS_COLOUR)
    clip = gradio.Audio(
        label=label,
        sources=["upload", "microphone"],
        type="filepath",
        buttons=[],
        waveform_options=colours,
        elem_id=label.lower().replace(" ", "-"),
    )
    picture = _add_html()
    _bind_event(clip.change, answers.show, [clip], picture)
    return clip


def _add_question_button(label: str, answer: Callable[..., str], clips: list[Any]) -> None:
    """Add a button and a place for its answer, which the browser clears as soon as a clip changes."""
    import gradio

    button = gradio.Button(label, variant="primary", elem_classes="question-button")
    place = _add_html()
    _bind_event(button.click, answer, clips, place)
    for clip in clips:
        clip.change(None, None, place, js=CLEAR_JS)


def _bind_event(event: Callable[..., Any], answer: Callable[..., str], clips: list[Any], place: gradio.HTML) -> None:
    """Bind a handler to an event, answered in the same request and not offered to programs.

    Gradio's queue answers over a second connection and loses an event that arrives while that closes (6.31), for
    instance the second of two clips that are cleared at once. The handlers take care of running one at a time.
    """
    event(answer, clips, place, api_visibility="private", queue=False, show_progress="minimal")


def _add_html(content: str = "") -> gradio.HTML:
    """Add a place for HTML, which runs no script."""
    import gradio

    return gradio.HTML(content, js_on_load=None, elem_classes="plain")
