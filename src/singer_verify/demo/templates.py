"""Parts of the page as HTML; everything that comes from a user or a file is escaped."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

PANEL_ENVIRONMENT = Environment(
    loader=PackageLoader("singer_verify.demo"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render_panel(name: str, **content: Any) -> str:
    """Render one of the templates.

    Args:
        name: of the template, without its suffix.
        content: its variables.
    """
    return PANEL_ENVIRONMENT.get_template(f"{name}.html.jinja").render(content)
