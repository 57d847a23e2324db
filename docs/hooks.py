"""What the build of the site adds to MkDocs: generated pages, their navigation, and links to files outside docs/."""

import re
import runpy
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
GENERATED = "generated:"  # an entry of the navigation, and the folder whose pages stand there
OUTSIDE = re.compile(r"\]\((?:\.\./)+(examples|conf|scripts|tests|example_dataset|src|README\.md)\b([^)]*)\)")


def on_config(config: MkDocsConfig) -> None:
    """Make the generated pages, and name them in the navigation."""
    config.extra["generated"] = runpy.run_path(str(ROOT / "scripts/make_reference.py"))["make_pages"]()
    config.nav = _fill_in(config.nav, list(config.extra["generated"]))


def _fill_in(entry: Any, pages: list[str]) -> Any:
    if isinstance(entry, list):
        return [_fill_in(item, pages) for item in entry]
    if isinstance(entry, dict):
        return {title: _fill_in(item, pages) for title, item in entry.items()}
    if not entry.startswith(GENERATED):
        return entry
    folder = entry.removeprefix(GENERATED)
    found = [page for page in pages if page.startswith(f"{folder}/")]
    # A title for each but the index: their headings are code, which a navigation shows as it is typed.
    return [page if page.endswith("/index.md") or folder == "examples" else {Path(page).stem: page} for page in found]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for path, text in config.extra["generated"].items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to files of the repository to the page that shows them; name those that no page shows."""
    up = "../" * page.file.src_uri.count("/")

    def replace(match: re.Match[str]) -> str:
        top, rest = match.groups()
        if top == "examples" and rest.endswith(".py"):
            return f"]({up}examples/{rest[1:-3]}.md)"
        if top == "conf":
            group = rest.strip("/").split("/")[0]
            return f"]({up}reference/settings/{group or 'index'}.md)"
        if top == "README.md":
            return f"]({up}index.md)"
        raise ValueError(f"{page.file.src_uri}: no page shows {top}{rest}; name the file instead of linking it.")

    return OUTSIDE.sub(replace, markdown)
