"""The files around the code agree with each other: citation, changelog, hooks before a commit, templates, metadata."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CITATION: dict[str, Any] = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
TEMPLATES = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))
# The schema of CFF 1.2.0: https://github.com/citation-file-format/citation-file-format/blob/1.2.0/schema-guide.md
CITATION_KEYS = {
    *("abstract", "authors", "cff-version", "commit", "contact", "date-released", "doi", "identifiers", "keywords"),
    *("license", "license-url", "message", "preferred-citation", "references", "repository", "repository-artifact"),
    *("repository-code", "title", "type", "url", "version"),
}
REFERENCE_TYPES = {"article", "book", "conference-paper", "dataset", "generic", "software", "thesis"}
FORM_TYPES = {"markdown", "textarea", "input", "dropdown", "checkboxes"}


def test_the_citation_has_what_its_format_requires() -> None:
    assert {"cff-version", "message", "title", "authors"} <= set(CITATION) <= CITATION_KEYS
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION["type"] in ("software", "dataset")
    assert len(set(CITATION["keywords"])) == len(CITATION["keywords"]) > 0
    for work in [CITATION, *CITATION["references"]]:
        assert {"authors", "title", "type"} <= set(work)
        assert work["authors"]
        assert all("name" in author or {"family-names", "given-names"} <= set(author) for author in work["authors"])
    for reference in CITATION["references"]:
        assert reference["type"] in REFERENCE_TYPES
        if reference["type"] == "conference-paper":
            assert reference["conference"]["name"]


def test_the_citation_is_of_this_version() -> None:
    assert CITATION["title"] == PROJECT["name"]
    assert str(CITATION["version"]) == PROJECT["version"]
    assert CITATION["license"] == PROJECT["license"].split(" AND ")[0]  # that of the code: CFF has no AND
    assert CITATION["keywords"] == PROJECT["keywords"]
    assert CITATION["abstract"].startswith(PROJECT["description"])
    assert [author["name"] for author in CITATION["authors"]] == [author["name"] for author in PROJECT["authors"]]


def test_the_changelog_begins_with_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(.+)\] - (unreleased|\d{4}-\d{2}-\d{2})$", text, re.MULTILINE)
    assert len(versions) == text.count("\n## ")
    assert versions[0][0] == PROJECT["version"]
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_hooks_before_a_commit_are_the_linters_of_ci() -> None:
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    linters = script.partition('echo "== lint')[2].partition('echo "== the documentation')[0]
    commands = [line for line in linters.splitlines() if line.startswith(".venv/bin/")]
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert [repo["repo"] for repo in repos] == ["local"]  # whose versions are those of .venv
    hooks = repos[0]["hooks"]
    assert [hook["entry"] for hook in hooks] == commands != []
    assert len({hook["id"] for hook in hooks}) == len(hooks)
    assert all(hook["language"] == "system" and hook["always_run"] and not hook["pass_filenames"] for hook in hooks)


def test_contributing_names_every_linter() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    commands = [hook["entry"].removeprefix(".venv/bin/") for hook in repos[0]["hooks"]]
    assert [command for command in commands if f"`{command}`" not in text] == []


def test_there_is_a_form_for_each_kind_of_report() -> None:
    assert [path.stem for path in TEMPLATES] == ["bug", "corpus_reader", "question"]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_form_is_complete(path: Path) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(form) <= {"name", "description", "body", "labels", "title"}
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert {field["type"] for field in form["body"]} <= FORM_TYPES
    assert len({field["id"] for field in fields}) == len(fields) > 0
    assert all(field["attributes"]["label"] for field in fields)
    assert any(field.get("validations", {}).get("required") for field in fields)


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "src/singer_verify/py.typed").read_bytes() == b""
    assert "Typing :: Typed" in PROJECT["classifiers"]
