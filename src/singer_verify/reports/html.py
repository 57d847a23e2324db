"""Pages of html from the templates beside this file."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render_template(template: str, **values: Any) -> str:
    """A template with its values, which are texts, never markup: names come from outside.

    Bytes of a file name that are no text, which Python keeps as lone surrogates, become question marks.
    """
    environment = Environment(
        loader=PackageLoader("singer_verify", "reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(template).render(values)
    return page.encode("utf-8", "replace").decode("utf-8")
