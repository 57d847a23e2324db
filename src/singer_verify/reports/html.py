"""HTML pages from the templates of this package."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render_template(template: str, **values: Any) -> str:
    """Render a template; its values are text and are escaped, because names come from outside.

    Undecodable bytes of a file name, which Python keeps as lone surrogates, become question marks.
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
