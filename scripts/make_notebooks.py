"""Make a notebook of each script of examples/: the same cells, without outputs.

python scripts/make_notebooks.py            examples/notebooks
python scripts/make_notebooks.py FOLDER     another folder

A script is in the percent format: `# %% [markdown]` begins a cell of text in comments, `# %%` one of code, whose title,
if it has one, becomes a heading. The docstring is the first cell, what stands before the first `# %%` the second.
"""

import argparse
import ast
import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
NOTEBOOKS = EXAMPLES / "notebooks"
MARKDOWN, CODE = "markdown", "code"
CELL_START = re.compile(r"^# %% ?(.*)\n", re.MULTILINE)


def read_cells(path: Path) -> list[tuple[str, str]]:
    """Read the cells of a script: their kind, `markdown` or `code`, and their source."""
    text = path.read_text(encoding="utf-8")
    module = ast.parse(text)
    title, _, said = (ast.get_docstring(module) or "").partition("\n\n")
    after_docstring = "".join(text.splitlines(keepends=True)[module.body[0].end_lineno :])
    head, *parts = CELL_START.split(after_docstring)
    cells = [(MARKDOWN, f"# {title}\n\n{said}"), (CODE, head)]
    for marker, source in zip(parts[::2], parts[1::2], strict=True):
        if marker == "[markdown]":
            cells.append((MARKDOWN, re.sub(r"^# ?", "", source, flags=re.MULTILINE)))
        else:
            cells += [(MARKDOWN, f"## {marker}"), (CODE, source)] if marker else [(CODE, source)]
    return [(kind, source.strip()) for kind, source in cells]


def make_notebook(path: Path) -> str:
    """Make the notebook of a script, as JSON of nbformat 4.5."""
    cells: list[dict[str, Any]] = []
    for number, (kind, source) in enumerate(read_cells(path), start=1):
        if kind == MARKDOWN:
            source = re.sub(r"docs/([\w/]+)\.md", r"[\g<0>](../../\g<0>)", source)
        cell: dict[str, Any] = {
            "cell_type": kind,
            "id": f"cell-{number}",
            "metadata": {},
            "source": source.splitlines(keepends=True),
        }
        cells.append(cell if kind == MARKDOWN else cell | {"execution_count": None, "outputs": []})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    notebook = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def make_notebooks() -> dict[str, str]:
    """Make all notebooks, by their file names."""
    return {f"{path.stem}.ipynb": make_notebook(path) for path in sorted(EXAMPLES.glob("*.py"))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=NOTEBOOKS, help="folder to write the notebooks to")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    notebooks = make_notebooks()
    for path in folder.glob("*.ipynb"):
        if path.name not in notebooks and folder == NOTEBOOKS:
            path.unlink()  # of a script that is no longer there
    for name, text in notebooks.items():
        (folder / name).write_text(text, encoding="utf-8")
    print(f"{len(notebooks)} notebooks written to {folder}.")


if __name__ == "__main__":
    main()
