"""Make the reference pages of the documentation: commands, settings, Python API and examples, from what they describe.

python scripts/make_reference.py FOLDER     write the pages below FOLDER, to look at them

The build of the site calls `make_pages`, see docs/hooks.py. Every setting of conf/ needs a comment.
"""

import argparse
import ast
import re
import runpy
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer
import yaml

ROOT = Path(__file__).parents[1]
CONF, PACKAGE, EXAMPLES = ROOT / "conf", ROOT / "src/singer_verify", ROOT / "examples"
HYDRAS_OWN = "hydra"  # conf/hydra: the help text and the log, no settings of a training
INHERITED = ("monitor", "mode")  # the run's own, see train.yaml
SELF_EXPLANATORY = ("_target_", "_partial_", "_recursive_", "_convert_", *INHERITED)
OVERLAYS = ("experiment", "sweep", "debug")  # choices that change settings of other groups
API_FOLDER, COMMANDS_FOLDER, SETTINGS_FOLDER, EXAMPLES_FOLDER = (
    *("reference/api", "reference/commands", "reference/settings"),
    "examples",
)

API_BOOST = 0.0001  # of a page of classes and functions among the results of a search


@dataclass(frozen=True)
class Setting:
    """A key of a yaml file: its dotted name, its value as the file has it, and the comment that explains it."""

    name: str
    value: str
    comment: str


@dataclass(frozen=True)
class ConfigFile:
    """A yaml file of conf/.

    Attributes:
        group: folder below conf/, for instance `features` or `experiment/study`; "" for train.yaml.
        choice: name that is typed.
        header: lines of the comment at its beginning.
        is_global: whether it changes settings of any group.
        defaults: what it takes over, as its defaults list has it.
        settings: its keys that hold values, without what it sets of Hydra.
        swept: choices of a sweep by the name of the setting.
    """

    group: str
    choice: str
    header: list[str]
    is_global: bool
    defaults: list[Any]
    settings: list[Setting]
    swept: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """The file, from the folder of the project."""
        return "/".join(["conf", *([self.group] if self.group else []), f"{self.choice}.yaml"])

    @property
    def target(self) -> str | None:
        """Import path of the class, without the one of a nested part."""
        names = {"_target_", f"{self.group}._target_"}
        return next((setting.value for setting in self.settings if setting.name in names), None)


def read_config_file(path: Path) -> ConfigFile:
    """Read a yaml file with its comments."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    header = []
    for line in lines:
        if not line.startswith("#"):
            break
        header.append(line.removeprefix("#").removeprefix(" "))
    is_global = bool(header) and header[0].startswith("@package _global_")
    node, plain = yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text) or {}
    start = len(header)
    settings = list(_find_settings(node, lines, start)) if isinstance(node, yaml.MappingNode) else []
    hydra = plain.get("hydra") or {}
    group = path.parent.relative_to(CONF).as_posix()
    return ConfigFile(
        group="" if group == "." else group,
        choice=path.stem,
        header=[line for line in header if not line.startswith("@package")],
        is_global=is_global,
        defaults=plain.get("defaults", []),
        settings=settings,
        swept={str(name): str(value) for name, value in hydra.get("sweeper", {}).get("params", {}).items()},
    )


def read_config_files() -> list[ConfigFile]:
    """Read train.yaml and every choice of every group."""
    paths = [path for path in sorted(CONF.rglob("*.yaml")) if CONF / HYDRAS_OWN not in path.parents]
    return sorted(map(read_config_file, paths), key=lambda file: (file.group, file.choice))


def _find_settings(node: yaml.MappingNode, lines: list[str], start: int, prefix: str = "") -> Iterator[Setting]:
    for key, value in node.value:
        if not prefix and key.value in ("defaults", "hydra"):
            continue
        name, shown, end = f"{prefix}{key.value}", value.value, value.end_mark
        if isinstance(value, yaml.MappingNode) and not value.flow_style and value.value:
            comment = _find_comment(lines, start, key.start_mark, key.end_mark)
            parts = list(_find_settings(value, lines, start, f"{name}."))
            if parts[0].name == f"{name}._target_":  # what is said of a part as a whole
                parts[0] = Setting(parts[0].name, parts[0].value, parts[0].comment or comment)
            elif comment:
                yield Setting(name, "", comment)
            yield from parts
            continue
        if not isinstance(value, yaml.ScalarNode):
            shown = lines[value.start_mark.line][value.start_mark.column : end.column]
        yield Setting(name, shown, _find_comment(lines, start, key.start_mark, end))


def _find_comment(lines: list[str], start: int, key: Any, end: Any) -> str:
    """Join the comment lines right above a key, indented as it is, and the comment behind its value."""
    above: list[str] = []
    for number in range(key.line - 1, start - 1, -1):
        line = lines[number]
        if not line.strip().startswith("#") or len(line) - len(line.lstrip()) != key.column:
            break
        above.insert(0, line.strip().lstrip("# "))
    behind = re.match(r":?\s*#\s*(.*)", lines[end.line][end.column :] if end.line < len(lines) else "")
    return " ".join([*above, *([behind[1]] if behind else [])])


def find_comments(files: list[ConfigFile]) -> dict[str, str]:
    """Return the comments of the settings by their full names, from the files that define them."""
    comments: dict[str, str] = {}
    for file in [*(file for file in files if file.group.split("/")[0] not in OVERLAYS), *files]:
        for setting in file.settings:
            if setting.comment:
                comments.setdefault(_get_full_name(file, setting), setting.comment)
    return comments


def _get_full_name(file: ConfigFile, setting: Setting) -> str:
    return f"{file.group}.{setting.name}" if file.group and not file.is_global else setting.name


def find_unexplained_settings(files: list[ConfigFile]) -> list[str]:
    """Return the settings that no comment explains, neither where they stand nor where they are defined."""
    comments = find_comments(files)
    return [
        f"{file.path}: {setting.name}"
        for file in files
        for setting in file.settings
        if setting.name.rpartition(".")[2] not in SELF_EXPLANATORY and _get_full_name(file, setting) not in comments
    ]


def make_settings_pages(files: list[ConfigFile]) -> dict[str, str]:
    """Make a page of the settings of train.yaml, and one of each group."""
    comments, groups = find_comments(files), dict[str, list[ConfigFile]]()
    for file in files:
        groups.setdefault(file.group.split("/")[0], []).append(file)
    (train,) = groups.pop("")
    chosen = {group: choice for entry in train.defaults if isinstance(entry, dict) for group, choice in entry.items()}
    table = ["| group | default | choices |", "| --- | --- | --- |"]
    for group, choices in groups.items():
        names = " · ".join(f"[`{_get_typed(file)}`]({group}.md#{_make_anchor(_get_typed(file))})" for file in choices)
        table.append(f"| [`{group}`]({group}.md) | `{chosen.get(group) or 'null'}` | {names} |")
    parts = [
        "# Settings",
        "Every setting is a [Hydra](https://hydra.cc) key. `group=choice` takes a file of `conf/group/`, "
        "`key=value` changes a value, `+key=value` adds one, `~key` removes one. `python train.py --help` prints what "
        "stands here for the choices you type, `python train.py --cfg job` the settings as they would be used.",
        "## Groups",
        "\n".join(table),
        "## Settings of any training",
        "From `conf/train.yaml`. Those of `features` hold for every recipe.",
        _format_settings_table(train, comments),
    ]
    pages = {f"{SETTINGS_FOLDER}/index.md": "\n\n".join(parts) + "\n"}
    for group, choices in groups.items():
        text = [f"# `{group}`", f"Choices of `{group}=`; the default is `{chosen.get(group) or 'null'}`."]
        if group in OVERLAYS:
            text.append("They change settings of other groups; what you type beside them wins.")
        for file in choices:
            typed = _get_typed(file)
            text += [f"## `{typed}` {{ #{_make_anchor(typed)} }}", _format_choice(file, comments)]
        pages[f"{SETTINGS_FOLDER}/{group}.md"] = "\n\n".join(text) + "\n"
    return pages


def _get_typed(file: ConfigFile) -> str:
    """Return the name of a choice as it is typed, for instance `study/recipes`."""
    return "/".join([*file.group.split("/")[1:], file.choice])


def _make_anchor(name: str) -> str:
    return re.sub(r"[^a-z0-9_]+", "-", name.lower().replace("+", "-plus-"))


def _format_choice(file: ConfigFile, comments: Mapping[str, str]) -> str:
    parts = [_format_header(file.header)]
    taken = [entry for entry in file.defaults if isinstance(entry, str) and entry != "_self_"]
    overridden = [
        f"`{group.removeprefix('override ').lstrip('/')}={choice}`"
        for entry in file.defaults
        if isinstance(entry, dict)
        for group, choice in entry.items()
    ]
    if taken:
        parts.append("Takes over " + ", ".join(f"`{name.lstrip('/')}`" for name in taken) + ".")
    if overridden:
        parts.append("Chooses " + ", ".join(overridden) + ".")
    if file.target:
        parts.append(f"Class: {_format_target(file.target)}")
    if file.swept:
        parts.append("\n".join(["Sweeps over", "", *(f"* `{name}={value}`" for name, value in file.swept.items())]))
    if any(setting.name.rpartition(".")[2] not in SELF_EXPLANATORY[:4] for setting in file.settings):
        parts.append(_format_settings_table(file, comments))
    return "\n\n".join(part for part in parts if part)


def _format_target(target: str) -> str:
    name = target.rpartition(".")[2]
    return f"[`{name}`][{target}]" if target.startswith("singer_verify.") else f"`{target}`"


def _format_header(lines: list[str]) -> str:
    """Format the comment at the beginning of a file: prose, and lines such as `Question: ...` and `Command: ...`."""
    prose: list[str] = []
    fields: dict[str, list[str]] = {}
    for line in lines:
        if match := re.match(r"(Question|Size|Command|Time|Result): +(.*)", line):
            fields[match[1]] = [match[2]]
        elif fields and line.startswith("  "):
            fields[list(fields)[-1]].append(line.strip())
        elif line.strip():
            prose.append(line.strip())
    parts = [f"**{name}.** {_format_field(' '.join(values))}" for name, values in fields.items() if name != "Command"]
    if command := fields.get("Command"):
        parts.insert(1 if "Question" in fields else 0, "\n".join(["```text", *command, "```"]))
    if prose:
        parts.append(_escape(" ".join(prose)))
    return "\n\n".join(parts)


def _format_field(text: str) -> str:
    command = re.match(r"singer-verify [^:;,]*", text)
    if command is None and re.match(r"[a-z]+\b(?!/)", text):
        text = text[:1].upper() + text[1:]
    end = command.end() if command else 0
    return (f"`{text[:end]}`" if command else "") + _escape(text[end:])


def _format_settings_table(file: ConfigFile, comments: Mapping[str, str]) -> str:
    rows = ["| key | value | what it means |", "| --- | --- | --- |"]
    for setting in file.settings:
        name, last = _get_full_name(file, setting), setting.name.rpartition(".")[2]
        if last in INHERITED and not setting.comment:
            continue
        if last in SELF_EXPLANATORY[1:4] or (last == "_target_" and setting.name.count(".") <= int(file.is_global)):
            continue
        comment = setting.comment or comments.get(name, "")
        value = f"`{setting.value}`" if setting.value else ""
        if last == "_target_":
            value, comment = _format_target(setting.value), comment or "class"
        rows.append(f"| `{name}` | {_escape_cell(value)} | {_escape_cell(_escape(comment))} |")
    return "\n".join(rows)


def make_command_pages() -> dict[str, str]:
    """Make a page of each command of `singer-verify`, and one that lists them."""
    from singer_verify.cli import app

    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    rows = ["| command | what it does |", "| --- | --- |"]
    pages = {}
    for name, command in commands.items():
        summary, _, more = command.help.partition("\n\n")
        rows.append(f"| [`{name}`]({name}.md) | {_escape_cell(_escape(_join_lines(summary)))} |")
        arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
        options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
        usage = " ".join(["singer-verify", name, "[OPTIONS]", *map(_format_argument, arguments)])
        parts = [f"# `{name}`", _escape(_join_lines(summary)), f"```text\n{usage}\n```"]
        parts += [_escape(_join_lines(paragraph)) for paragraph in more.split("\n\n") if paragraph.strip()]
        if arguments:
            table = ["| argument | what it is |", "| --- | --- |"]
            table += [
                f"| `{_format_argument(item)}` | {_escape_cell(_escape(item.help or ''))} |" for item in arguments
            ]
            parts += ["## Arguments", "\n".join(table)]
        if options:
            table = ["| option | default | what it does |", "| --- | --- | --- |"]
            for option in options:
                typed = ", ".join(f"`{text}`" for text in [*option.opts, *option.secondary_opts])
                default = option.default
                shown = "" if default is None or default is False or callable(default) else f"`{default}`"
                more_than_once = " May be given several times." if option.multiple else ""
                table.append(f"| {typed} | {shown} | {_escape_cell(_escape(option.help or ''))}{more_than_once} |")
            parts += ["## Options", "\n".join(table)]
        pages[f"{COMMANDS_FOLDER}/{name}.md"] = "\n\n".join(parts) + "\n"
    intro = (
        "`singer-verify COMMAND --help` prints what stands here. Mistakes end with exit code 1 and one sentence, "
        "unknown options with 2; every command that prints figures has `--json`."
    )
    return {f"{COMMANDS_FOLDER}/index.md": "\n\n".join(["# Commands", intro, "\n".join(rows)]) + "\n", **pages}


def _format_argument(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    name = f"{name}..." if argument.nargs != 1 else name
    return name if argument.required else f"[{name}]"


def make_api_pages() -> dict[str, str]:
    """Make a page of each subpackage, with directives from which mkdocstrings documents its modules."""
    pages, rows = {}, ["| package | what it holds |", "| --- | --- |"]
    for package in sorted(path.parent for path in PACKAGE.glob("*/__init__.py")):
        modules = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in _find_modules(package)]
        said = _join_lines((_read_docstring(package / "__init__.py") or "").split("\n\n")[0])
        rows.append(f"| [`{package.name}`]({package.name}.md) | {_escape_cell(said)} |")
        text = [f"# singer_verify.{package.name}", said]
        pages[f"{API_FOLDER}/{package.name}.md"] = "\n\n".join([*text, *(f"::: {name}" for name in modules)]) + "\n"
    index = ["# Python", "::: singer_verify", "## Packages", "\n".join(rows)]
    return {f"{API_FOLDER}/index.md": "\n\n".join(index) + "\n", **pages}


def _find_modules(package: Path) -> list[Path]:
    """Find the modules of a package that document something: not an __init__.py, nor one of private names only."""
    public = re.compile(r"^(?:async )?(?:class|def) [A-Za-z]", re.MULTILINE)
    files = (path for path in sorted(package.rglob("*.py")) if not path.stem.startswith("__"))
    return [path for path in files if public.search(path.read_text(encoding="utf-8"))]


def _read_docstring(path: Path) -> str | None:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def make_example_pages() -> dict[str, str]:
    """Make a page of each script of examples/, what it says of itself and its cells, its notebook, and an index."""
    maker = runpy.run_path(str(ROOT / "scripts/make_notebooks.py"))
    pages, rows = {}, ["| | question | notebook |", "| --- | --- | --- |"]
    for path in sorted(EXAMPLES.glob("*.py")):
        (_, said), *cells = maker["read_cells"](path)
        notebook = f"[{path.stem}.ipynb]({path.stem}.ipynb)"
        # The docstring's indented command becomes a block of code, its page a link.
        said = re.sub(r"docs/([\w/]+)\.md", r"[\1](../\1.md)", said)
        parts = [said, f"From the repository: `examples/{path.name}`. As a notebook: {notebook}."]
        parts += [f"```python\n{source}\n```" if kind == maker["CODE"] else source for kind, source in cells]
        pages[f"{EXAMPLES_FOLDER}/{path.stem}.md"] = "\n\n".join(parts) + "\n"
        pages[f"{EXAMPLES_FOLDER}/{path.stem}.ipynb"] = maker["make_notebook"](path)
        rows.append(f"| {path.stem[:2]} | [{said.partition(chr(10))[0].lstrip('# ')}]({path.stem}.md) | {notebook} |")
    intro = (
        "Scripts from beginning to end, on the example data, without a network or a GPU. Each is a notebook as well, "
        "in which the `default=` of an argument takes the place of what is typed after the script's name."
    )
    return {f"{EXAMPLES_FOLDER}/index.md": "\n\n".join(["# Examples", intro, "\n".join(rows)]) + "\n", **pages}


def make_pages() -> dict[str, str]:
    """Make all generated pages, and the notebooks that they offer, by their paths below docs/.

    Raises:
        ValueError: a setting of conf/ has no comment.
    """
    files = read_config_files()
    if unexplained := find_unexplained_settings(files):
        raise ValueError("settings without a comment:\n" + "\n".join(unexplained))
    typed = make_command_pages() | make_settings_pages(files)
    pages = {path: f"---\nsearch: {{boost: 4}}\n---\n\n{text}" for path, text in typed.items()}  # found before classes
    return pages | _lower_in_search(make_api_pages()) | make_example_pages()


def _lower_in_search(pages: dict[str, str]) -> dict[str, str]:
    """Show pages of classes and functions after all others that have a word, but the one of the package itself.

    A word of a title counts a thousand times one of a text: `resume` would lead to `allow_resumed_settings` first.
    """
    index = f"{API_FOLDER}/index.md"
    return {
        path: text if path == index else f"---\nsearch: {{boost: {API_BOOST}}}\n---\n\n{text}"
        for path, text in pages.items()
    }


def _join_lines(text: str) -> str:
    return " ".join(text.split())


def _escape(text: str) -> str:
    """Keep what stands outside `code` from being read as Markdown or HTML."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else _escape_prose(part) for part in parts)


def _escape_prose(text: str) -> str:
    return re.sub(r"([\\*_\[\]#])", r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def _escape_cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder to write the pages to")
    folder = parser.parse_args().folder
    try:
        pages = make_pages()
    except ValueError as error:
        sys.exit(str(error))
    for path, text in pages.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    print(f"{len(pages)} pages written to {folder}.")


if __name__ == "__main__":
    main()
