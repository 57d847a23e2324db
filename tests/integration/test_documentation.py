"""README and docs/: links lead somewhere, code compiles, commands have the options and settings that they name."""

import ast
import itertools
import json
import re
import runpy
import tomllib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from support.documents import (
    PAGES,
    PROGRAMS,
    ROOT,
    SHELLS,
    TOOLS,
    Command,
    find_anchors,
    read_blocks,
    read_commands,
    read_inline_code,
    read_links,
)

from singer_verify.cli import app
from singer_verify.training.overrides import OVERRIDE, quote_path_overrides

CONF = ROOT / "conf"
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands
YOURS = ("my_package", "my_recipe")  # packages that a reader would write
SETTING = re.compile(r"(?<!\S)~?(\w+(?:\.\w+)+)(=?)")
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


@pytest.fixture(scope="module")
def maker() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts/make_reference.py"))


@pytest.fixture(scope="module")
def generated(maker: dict[str, Any]) -> dict[Path, str]:
    return {ROOT / "docs" / path: text for path, text in maker["make_pages"]().items()}


@pytest.fixture(scope="module")
def settings(maker: dict[str, Any]) -> set[str]:
    """The names of all settings of all choices, and of the parts that they belong to."""
    full_name, names = maker["_get_full_name"], set()
    for file in maker["read_config_files"]():
        for setting in file.settings:
            parts = full_name(file, setting).split(".")
            names |= {".".join(parts[:number]) for number in range(1, len(parts) + 1)}
    return names


@by_page
def test_links_lead_somewhere(page: Path, generated: dict[Path, str]) -> None:
    dead = []
    for file, anchor in read_links(page):
        target = (page.parent / file).resolve() if file else page
        if target not in generated and not target.exists():
            dead.append(file)
        elif anchor and target.suffix == ".md":
            text = generated[target] if target in generated else target.read_text(encoding="utf-8")
            if anchor not in find_anchors(text):
                dead.append(f"{file}#{anchor}")
    assert dead == []


def test_every_page_is_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    missing = [page.relative_to(ROOT / "docs").as_posix() for page in PAGES if ROOT / "docs" in page.parents]
    assert [page for page in missing if f": {page}\n" not in text] == []


def test_links_and_images_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "[a](a.md#b) ![c](c.png) <https://d.org> `[no](no.md)`\n\n| e |\n| - |\n| [f](f.md) |\n\n"
        '<picture>\n<source srcset="g.png">\n<img src="h.png">\n</picture>\n\nand <a href="#i">i</a>\n',
        encoding="utf-8",
    )
    assert read_links(page) == [
        *(("a.md", "b"), ("c.png", ""), ("f.md", ""), ("g.png", ""), ("h.png", ""), ("", "i")),
    ]


def check_python(text: str) -> None:
    for node in ast.walk(ast.parse(text)):
        names = [(alias.name, "") for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [(str(node.module), alias.name) for alias in node.names]
        for module, name in names:
            if module.split(".")[0] not in YOURS:
                spec = find_spec(module)
                assert spec is not None, f"{module} does not exist"
                if name and module.split(".")[0] == "singer_verify":
                    assert name in find_names(Path(str(spec.origin))) or find_spec(f"{module}.{name}"), f"no {name}"


def find_names(source: Path) -> set[str]:
    """Return what a module defines, imports or lists in __all__, without loading it, which may take seconds."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
        elif isinstance(node, ast.Constant) and source.name == "__init__.py":
            names.add(str(node.value))
    return names


def check_bibtex(text: str) -> None:
    """An entry says what CITATION.cff says."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    fields = dict(re.findall(r"^ +(\w+) += \{+(.*?)\}+,?$", text.replace("\\_", "_"), re.MULTILINE))
    told = {name: citation[name] for name in ("title", "version", "license")}
    assert fields == {"author": " and ".join(author["name"] for author in citation["authors"])} | told


LANGUAGES: dict[str, Callable[[str], Any]] = {
    "python": check_python,
    "yaml": lambda text: list(yaml.safe_load_all(text)),
    "toml": tomllib.loads,
    "json": json.loads,
    "text": str,
    "bibtex": check_bibtex,
    **dict.fromkeys(SHELLS, str),  # whose commands are checked below
}


@by_page
def test_blocks_are_what_they_say(page: Path) -> None:
    for block in read_blocks(page):
        if not block.is_marked:
            assert block.language in LANGUAGES, f"{block.where}: a language that is not checked; mark it, with why"
            try:
                LANGUAGES[block.language](block.text)
            except Exception as error:
                raise AssertionError(f"{block.where}: {error}") from error


@by_page
def test_commands_exist_with_their_options_and_settings(page: Path, settings: set[str]) -> None:
    wrong = [
        f"{command.where}: {' '.join(command.words)}: {mistake}"
        for command in read_commands(page)
        if (mistake := find_mistake(command, settings))
    ]
    assert wrong == []


EXECUTED = [page for page in PAGES if page.parent.name == "concepts" or page.stem == "adding"]


@pytest.mark.parametrize("page", EXECUTED, ids=lambda page: page.stem)
def test_the_code_of_concepts_runs(page: Path) -> None:
    for block in read_blocks(page):
        if block.language == "python":
            exec(compile(block.text, block.where, "exec"), {"__name__": page.stem})


@by_page
def test_settings_named_in_the_text_exist(page: Path, settings: set[str]) -> None:
    """`data.folds=5`, or `features.activity_db`; what + adds, and what is Hydra's or Python's, aside."""
    groups = {folder.name for folder in CONF.iterdir() if folder.is_dir()} - {"hydra"}
    named = {match[1]: match[2] for code in read_inline_code(page) for match in SETTING.finditer(code)}
    assert [
        name
        for name, equals in named.items()
        if name.split(".")[0] in groups and name not in settings and (equals or not name.startswith("trainer."))
    ] == []


def find_mistake(command: Command, settings: set[str]) -> str | None:
    program, *words = command.words
    program = Path(program).name
    if program == "singer-verify":
        return find_option_mistake(words, command.is_inline)
    if program in ("python", "python3", "bash", "sbatch") and words:
        if Path(words[0]).name == "train.py":
            return find_setting_mistake(words[1:], settings)
        script = next((word for word in words if not word.startswith("-")), "")
        is_ours = script.startswith(("scripts/", "examples/"))
        return f"{script} does not exist" if is_ours and not (ROOT / script).is_file() else None
    if program == "pip":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        extras = {extra for word in words for extra in re.findall(r"^\.\[([\w,-]+)\]$", word)}
        unknown = {name for extra in extras for name in extra.split(",")} - set(project["optional-dependencies"])
        return f"no extra {unknown}" if unknown else None
    return None if program in (*PROGRAMS, *TOOLS) else "an unknown program; mark the block with the reason"


def find_option_mistake(words: list[str], is_inline: bool) -> str | None:
    if not words or words[0].startswith("--"):
        return None
    name, *arguments = words
    if name not in COMMANDS:
        return None if name in ("COMMAND", name.upper()) else "no such command"
    if is_inline:  # of which parts may be missing
        options = {option for parameter in COMMANDS[name].params for option in parameter.opts} | {"--help"}
        unknown = {word.split("=")[0] for word in arguments if word.startswith("--")} - options
        return f"no option {unknown}" if unknown else None
    try:
        COMMANDS[name].make_context(name, arguments)
    except Exception as error:
        return str(error)
    return None


def find_setting_mistake(words: list[str], settings: set[str]) -> str | None:
    if strays := [word for word in words if not word.startswith("-") and word not in [*select_overrides(words), "job"]]:
        return f"{strays[0]} is no override"
    for word in quote_path_overrides(select_overrides(words)):
        override = OverridesParser.create().parse_override(word)
        name = str(override.key_or_group)
        if name.startswith("hydra") or word.startswith("+"):
            continue
        if (CONF / name).is_dir():
            typed = list(override.sweep_string_iterator()) if override.is_sweep_override() else [override.value()]
            choices = itertools.chain.from_iterable(item if isinstance(item, list) else [item] for item in typed)
            for choice in choices:
                if choice is not None and not (CONF / name / f"{choice}.yaml").is_file():
                    return f"{name} has no choice {choice}"
        elif name not in settings:
            return f"no setting {name}"
    return None


def select_overrides(words: list[str]) -> list[str]:
    """Return the overrides of a call of train.py, without options of Hydra's and what belongs to them."""
    return [word for word in words if OVERRIDE.fullmatch(word) or word.startswith("~")]


@pytest.mark.slow
@by_page
def test_trainings_compose(page: Path) -> None:
    """Each call of train.py composes with Hydra; a sweep with each of its values."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for command in read_commands(page):
            if "train.py" not in [Path(word).name for word in command.words[:2]] or "install=bash" in command.words:
                continue
            overrides = quote_path_overrides([word for word in command.words[2:] if word in select_overrides([word])])
            parsed = OverridesParser.create().parse_overrides(overrides)
            values = [
                [f"{item.get_key_element()}={value}" for value in item.sweep_string_iterator()]
                if item.is_sweep_override()
                else [str(item.input_line)]
                for item in parsed
            ]
            for number in range(max([1, *map(len, values)])):
                typed = [value[min(number, len(value) - 1)] for value in values]
                try:
                    compose("train", typed)
                except Exception as error:
                    raise AssertionError(f"{command.where}: {' '.join(command.words)}: {error}") from error


@pytest.mark.parametrize(
    ("words", "mistake"),
    [
        ("singer-verify verify MODEL a.wav b.wav", None),
        ("singer-verify prepare vocalset", "Missing parameter: source"),
        ("singer-verify verify MODEL a.wav b.wav --treshold 1", "No such option: --treshold"),
        ("singer-verify judge MODEL", "no such command"),
        ("python train.py loss=ge2e+ce data.folds=5 ~callbacks.pictures", None),
        ("python train.py -m loss=ge2e,ge3e", "loss has no choice ge3e"),
        ("python train.py data.rot=x", "no setting data.rot"),
        ("python train.py loss=ce a comment", "a is no override"),
        ("python scripts/benchmarks.py", "does not exist"),
        ("pip install -e .[all]", "no extra"),
        ("frobnicate", "an unknown program"),
    ],
)
def test_mistakes_are_found(words: str, mistake: str | None, settings: set[str]) -> None:
    found = find_mistake(Command("here", tuple(words.split())), settings)
    assert (found is None) == (mistake is None)
    assert mistake is None or mistake in str(found)
