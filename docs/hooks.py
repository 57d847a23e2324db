"""What the build of the site adds to MkDocs: generated pages, their navigation, and links to files outside docs/."""

import re
import runpy
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
GENERATED = "generated:"  # an entry of the navigation, and the folder whose pages stand there
OUTSIDE = re.compile(
    r"\[([^\]]*)\]\((?:\.\./)+((?:examples|conf|scripts|tests|example_dataset|src)(?:/[^)#]*)?|README\.md|train\.py)(#[^)]*)?\)"
)
IMAGE = re.compile(r'<img\b[^>]*?\bsrc="([^"#]+)[^>]*>')
INTERVAL = re.compile(r"\[[−-]?[\d.]+, [−-]?[\d.]+\]")
RELATIVE_LINK = re.compile(r"\[([^\]]*)\]\((?!\w+:|#)[^)]*\)")


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
    found = [page for page in pages if page.startswith(f"{folder}/") and page.endswith(".md")]
    # A short title for each but the index: headings are code, or the question that an example answers.
    titles = [re.sub(r"^\d+ ", "", Path(page).stem.replace("_", " ")) for page in found]
    if folder != "examples":
        titles = [Path(page).stem for page in found]
    return [page if title == "index" else {title: page} for title, page in zip(titles, found, strict=True)]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, and those of the repository's own Markdown files that pages link to."""
    for path, text in config.extra["generated"].items():
        files.append(File.generated(config, path, content=text))
    pages = [file.content_string for file in files.documentation_pages()]
    for path in sorted({match[2] for page in pages for match in OUTSIDE.finditer(page)}):
        if path.endswith(".md") and path != "README.md":
            text = RELATIVE_LINK.sub(r"\1", (ROOT / path).read_text(encoding="utf-8"))
            page = File.generated(config, f"files/{path}", content=text, inclusion=InclusionLevel.NOT_IN_NAV)
            files.append(page)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to files of the repository to the pages that show them; name files that no page shows."""
    up = "../" * page.file.src_uri.count("/")

    def replace(match: re.Match[str]) -> str:
        text, path, anchor = match[1], match[2].rstrip("/"), match[3] or ""
        folder, *rest = path.split("/")
        if folder == "conf":
            target = f"reference/settings/{rest[0] if rest and '.' not in rest[0] else 'index'}.md"
        elif folder == "examples" and rest:
            target = f"examples/{Path(path).stem}.md"
        elif path == "README.md":
            target = "index.md"
        elif path.endswith(".md"):
            target = f"files/{path}{anchor}"
        else:
            return text if path in text else f"{text} (`{path}`)"
        return f"[{text}]({up}{target})"

    return OUTSIDE.sub(replace, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead each picture to its file, which a phone can enlarge, and keep each interval on one line."""
    html = IMAGE.sub(lambda match: f'<a href="{match[1]}">{match[0]}</a>', html)
    return INTERVAL.sub(lambda match: f'<span class="interval">{match[0]}</span>', html)
