"""What README and docs/ hold: their links, their blocks of code, and the commands in these."""

import itertools
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = (*sorted(ROOT.glob("*.md")), ROOT / "example_dataset/README.md", *sorted((ROOT / "docs").rglob("*.md")))
MARK = re.compile(r"<!-- not checked: \S.* -->")
SHELLS = ("bash", "console", "")  # "": without a language, or indented
PROGRAMS = ("singer-verify", "python", "python3", "pip", "bash", "sbatch", "cd", "source", "tensorboard", "eval", "git")
TOOLS = ("pytest", "ruff", "mypy", "lint-imports", "mkdocs", "pre-commit", "export", "squeue", "scontrol", "ls", "cat")
WRAPPER = re.compile(r"\w+=\S*|taskset|time|/usr/bin/time|-\w|\d+|srun")
SEPARATORS = re.compile(r"&&|\|\|?|;|>>?")


@dataclass(frozen=True)
class Block:
    """A block of code: where it begins, its language, and whether a mark says why it is not checked."""

    where: str
    language: str
    text: str
    is_marked: bool


@dataclass(frozen=True)
class Command:
    """A command of a block or, where it may be a part of one, of the running text."""

    where: str
    words: tuple[str, ...]
    is_inline: bool = False


def read_blocks(path: Path) -> list[Block]:
    """Return the blocks of code of a page, those of lists too."""
    tokens = MarkdownIt().parse(path.read_text(encoding="utf-8"))
    blocks = []
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type in ("fence", "code_block"):
            where = f"{path.relative_to(ROOT)}:{(token.map or [0])[0] + 1}"
            is_marked = before is not None and before.type == "html_block" and bool(MARK.match(before.content.strip()))
            blocks.append(Block(where, (token.info.split() or [""])[0], token.content, is_marked))
    return blocks


def read_links(path: Path) -> list[tuple[str, str]]:
    """Return file and anchor of each relative link and image of a page, those written as HTML too."""
    targets = []
    for token in MarkdownIt().enable("table").parse(path.read_text(encoding="utf-8")):
        for part in (token, *(token.children or [])):
            targets.append(str(part.attrs.get("href") or part.attrs.get("src") or ""))
            if part.type in ("html_block", "html_inline"):
                targets += re.findall(r"""\b(?:src|srcset|href)=["']([^"' ]+)""", part.content)
    relative = [target.partition("#") for target in targets if target and not re.match(r"\w+:", target)]
    return [(file, anchor) for file, _, anchor in relative]


def find_anchors(text: str) -> set[str]:
    """Return the anchors of the headings of a page."""
    anchors = set()
    tokens = MarkdownIt().parse(text)
    for token, content in itertools.pairwise(tokens):
        if token.type == "heading_open":
            named = re.search(r"\{ *#([\w-]+) *\}$", content.content)
            plain = re.sub(r"[^\w\s-]", "", content.content.lower()).strip()
            anchors.add(named[1] if named else re.sub(r"[\s-]+", "-", plain))
    return anchors


def read_commands(path: Path) -> list[Command]:
    """Return the commands of the blocks of a page, and those named in its text."""
    commands = []
    for block in read_blocks(path):
        if block.language in SHELLS and not block.is_marked:
            commands += [Command(block.where, words) for words in _split_commands(block)]
    for token in MarkdownIt().enable("table").parse(path.read_text(encoding="utf-8")):
        for child in token.children or []:
            if child.type == "code_inline" and re.match(r"(singer-verify|python train\.py) \S", child.content):
                where = f"{path.relative_to(ROOT)}:{(token.map or [0])[0] + 1}"
                commands.append(Command(where, tuple(_strip_placeholders(child.content)), is_inline=True))
    return commands


def read_inline_code(path: Path) -> list[str]:
    """Return the `code` in the running text of a page."""
    tokens = MarkdownIt().enable("table").parse(path.read_text(encoding="utf-8"))
    return [child.content for token in tokens for child in token.children or [] if child.type == "code_inline"]


def _split_commands(block: Block) -> Iterator[tuple[str, ...]]:
    for line in block.text.replace("\\\n", " ").splitlines():
        if block.language == "console" or line.startswith("$ "):
            if not line.startswith("$ "):
                continue  # what the program prints
            line = line.removeprefix("$ ")
        elif block.language == "" and line.split(" ")[0] not in PROGRAMS and not re.match(r"[A-Z_]+=", line):
            continue  # a listing, or what the program prints
        for words in _split_at_separators(_strip_placeholders(line)):
            kept = list(words)
            while kept and WRAPPER.fullmatch(kept[0]):
                kept.pop(0)
            if kept:
                yield tuple(kept)


def _strip_placeholders(line: str) -> list[str]:
    """Split a command into words, without `...`, and with what [--may be left out]."""
    return [word for word in shlex.split(re.sub(r"\[(--[^]]*)\]", r"\1", line), comments=True) if word != "..."]


def _split_at_separators(words: list[str]) -> Iterator[list[str]]:
    segment: list[str] = []
    for word in words:
        if SEPARATORS.fullmatch(word):
            yield segment
            segment = []
        else:
            segment.append(word)
    yield segment
