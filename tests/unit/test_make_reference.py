"""The generated reference has every command, option, group, choice and key; a key without a comment is named."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from singer_verify.cli import app

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
SCRIPT = ROOT / "scripts/make_reference.py"
NOT_SHOWN = ("_partial_", "_recursive_", "_convert_", "monitor", "mode", "_target_")


@pytest.fixture(scope="module")
def maker() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def pages(maker: dict[str, Any]) -> dict[str, str]:
    return maker["make_pages"]()


def flatten(settings: dict[str, Any], prefix: str = "") -> list[str]:
    """The dotted names of all values, written independently of the generator."""
    return [
        name
        for key, value in settings.items()
        for name in (flatten(value, f"{prefix}{key}.") if isinstance(value, dict) and value else [f"{prefix}{key}"])
    ]


def test_every_command_and_option_is_there(pages: dict[str, str]) -> None:
    index = pages["reference/commands/index.md"]
    commands = typer.main.get_command(app).commands
    assert len(commands) > 20
    for name, command in commands.items():
        page = pages[f"reference/commands/{name}.md"]
        assert f"({name}.md)" in index
        for parameter in command.params:
            assert parameter.help, f"{name} {parameter.name}: no help"
            typed = [*parameter.opts, *parameter.secondary_opts] if parameter.param_type_name == "option" else []
            assert [option for option in typed if f"`{option}`" not in page] == []


def test_every_group_choice_and_key_is_there(pages: dict[str, str]) -> None:
    index = pages["reference/settings/index.md"]
    for path in CONF.rglob("*.yaml"):
        parts = path.relative_to(CONF).with_suffix("").parts
        if parts[0] == "hydra":
            continue
        page = pages[f"reference/settings/{parts[0] if len(parts) > 1 else 'index'}.md"]
        text = path.read_text(encoding="utf-8")
        if len(parts) > 1:
            assert f"## `{'/'.join(parts[1:])}` {{" in page
            assert f"[`{'/'.join(parts[1:])}`]({parts[0]}.md#" in index
        settings = yaml.safe_load(text) or {}
        swept = settings.pop("hydra", {}).get("sweeper", {}).get("params", {})
        settings.pop("defaults", None)
        prefix = "" if "@package _global_" in text or len(parts) == 1 else f"{parts[0]}."
        for name in flatten(settings, prefix):
            last = name.rpartition(".")[2]
            if last not in NOT_SHOWN and not isinstance(settings.get(name.rpartition(".")[0]), dict):
                parent = name.rpartition(".")[0]
                # A value in braces, such as weights: {ge2e: 1.0}, is one row.
                assert f"| `{name}` |" in page or f"| `{parent}` | `{{" in page, f"{path}: {name}"
        assert [name for name in swept if f"* `{name}=" not in page] == []


def test_every_class_that_a_setting_names_is_documented(pages: dict[str, str]) -> None:
    documented = {module for page in pages.values() for module in re.findall(r"^::: ([\w.]+)$", page, re.MULTILINE)}
    assert "singer_verify.losses.ge2e" in documented
    for path in CONF.rglob("*.yaml"):
        for target in re.findall(r"_target_: (singer_verify\.[\w.]+)", path.read_text(encoding="utf-8")):
            assert target.rpartition(".")[0] in documented


def test_every_package_and_example_has_a_page(pages: dict[str, str]) -> None:
    packages = {path.parent.name for path in (ROOT / "src/singer_verify").glob("*/__init__.py")}
    assert {f"reference/api/{name}.md" for name in packages} <= set(pages)
    for path in (ROOT / "examples").glob("*.py"):
        page = pages[f"examples/{path.stem}.md"]
        for line in path.read_text(encoding="utf-8").partition('"""\n\n')[2].splitlines():
            assert re.sub(r"^# ?(%% ?)?(\[markdown\])?", "", line) in page
        assert f"[{path.stem}.ipynb]({path.stem}.ipynb)" in page
        assert f"]({path.stem}.md)" in pages["examples/index.md"]
        assert json.loads(pages[f"examples/{path.stem}.ipynb"])["nbformat"] == 4


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: 1 # said\nb: 2\n", ["b"]),
        ("a:\n  # said above\n  b: 1\n  c: x#y\n", ["a.c"]),
        ("a: # of the part\n  _target_: x.Y\n  b: [1, 2]\n", ["a.b"]),
        ("a: {b: 1, c: 2} # both\nd: '#' # said\n", []),
        ("# the file's own\n\na: null\n", ["a"]),
    ],
)
def test_a_key_without_a_comment_is_named(
    text: str, found: list[str], maker: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loss").mkdir()
    path = tmp_path / "loss/mine.yaml"
    path.write_text(text, encoding="utf-8")
    read = maker["read_config_file"]
    monkeypatch.setitem(read.__globals__, "CONF", tmp_path)
    named = maker["find_unexplained_settings"]([read(path)])
    assert named == [f"conf/loss/mine.yaml: {name}" for name in found]


def test_no_page_is_made_where_a_key_has_no_comment(
    maker: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.yaml").write_text("seed: 1\n", encoding="utf-8")
    monkeypatch.setitem(maker["make_pages"].__globals__, "CONF", tmp_path)
    with pytest.raises(ValueError, match=r"without a comment:\nconf/train\.yaml: seed"):
        maker["make_pages"]()


def test_an_overlay_is_explained_where_the_setting_is_defined(pages: dict[str, str]) -> None:
    page = pages["reference/settings/debug.md"].partition("## `limit`")[2]
    assert "| `trainer.max_steps` | `10` | training steps, unless" in page


def test_an_experiment_is_told_by_its_question_and_command(pages: dict[str, str]) -> None:
    page = pages["reference/settings/sweep.md"].partition("## `data_size`")[2]
    assert (
        "**Question.** How many singers do I need, and how many minutes of each?\n\n```text\npython train.py -m" in page
    )
    assert "**Result.** `singer-verify learning-curve runs/sweep_data_size --target-eer 5`\n" in page
