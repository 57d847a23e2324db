"""Measure how the code is divided into files, and check its rules of naming and documentation.

python scripts/house.py                     the working tree
python scripts/house.py --against REVISION  an earlier commit as well, side by side
python scripts/house.py --check             exit with status 1 if a limit is exceeded, and list each violation
"""

import argparse
import ast
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "singer_verify"
MAX_FILES, MAX_SINGLE_IMPORTER_FILES, MAX_LINES = 330, 55, 400
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class House:
    """Measurements of one source tree.

    Attributes:
        lines: number of lines of each source file below src/, by path.
        single_importer: source files that exactly one other file of src/, scripts/ or train.py imports.
        test_lines: number of lines of all Python files below tests/.
        functions_named_of: functions and methods named `of` or `*_of`.
        without_summary: modules, classes and functions whose docstring does not start with a summary line.
    """

    lines: dict[str, int]
    single_importer: list[str]
    test_lines: int
    functions_named_of: list[str]
    without_summary: list[str]

    def compute_rows(self) -> dict[str, int | float]:
        """Compute the rows of the table, by name."""
        return {
            "source files": len(self.lines),
            "median lines of a source file": statistics.median(self.lines.values()),
            "lines of the longest source file": max(self.lines.values()),
            "source files imported by exactly one other": len(self.single_importer),
            "lines of src": sum(self.lines.values()),
            "lines of tests": self.test_lines,
            "functions named *_of": len(self.functions_named_of),
            "docstrings without a summary line": len(self.without_summary),
        }


def measure_tree(root: Path) -> House:
    """Measure the package below `root`/src and the tests below `root`/tests."""
    package = root / "src" / PACKAGE
    files = sorted(package.rglob("*.py"))
    importers = [*files, root / "train.py", *sorted((root / "scripts").glob("*.py"))]
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in importers if path.is_file()}
    modules = {_module_name(path, package): path for path in files}
    imported_by = Counter(
        imported
        for path, tree in trees.items()
        for imported in {target for target in _imported_modules(tree, modules) if modules[target] != path}
    )
    named = [(path, name, node) for path in files for name, node in _definitions(trees[path])]
    return House(
        lines={str(path.relative_to(root)): len(path.read_text(encoding="utf-8").splitlines()) for path in files},
        single_importer=sorted(
            str(modules[name].relative_to(root)) for name, count in imported_by.items() if count == 1
        ),
        test_lines=sum(len(path.read_text(encoding="utf-8").splitlines()) for path in (root / "tests").rglob("*.py")),
        functions_named_of=[
            f"{path.relative_to(root)}:{name}"
            for path, name, node in named
            if not isinstance(node, ast.ClassDef) and (node.name.endswith("_of") or node.name == "of")
        ],
        without_summary=[
            f"{path.relative_to(root)}:{name}"
            for path, name, node in [*((path, "", trees[path]) for path in files), *named]
            if (docstring := ast.get_docstring(node)) is not None and not _has_summary_line(docstring)
        ],
    )


def measure_commit(revision: str) -> House:
    """Measure the tree of a commit, unpacked into a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "tree.tar")
        subprocess.run(["git", "archive", "-o", str(archive), revision], cwd=ROOT, check=True)
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        return measure_tree(Path(folder))


def find_violations(house: House) -> list[str]:
    """Return a line for each violated limit or rule."""
    violations = [
        f"{path}: {lines} lines, at most {MAX_LINES}" for path, lines in house.lines.items() if lines > MAX_LINES
    ]
    if len(house.lines) > MAX_FILES:
        violations.append(f"{len(house.lines)} source files, at most {MAX_FILES}")
    if len(house.single_importer) > MAX_SINGLE_IMPORTER_FILES:
        files = " ".join(house.single_importer)
        violations.append(
            f"{len(house.single_importer)} files imported by one other, at most {MAX_SINGLE_IMPORTER_FILES}: {files}"
        )
    violations += [f"{name}: a function named *_of; begin with a verb" for name in house.functions_named_of]
    violations += [f"{name}: docstring without a summary line" for name in house.without_summary]
    return violations


def _module_name(path: Path, package: Path) -> str:
    parts = [PACKAGE, *path.relative_to(package).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported_modules(tree: ast.AST, modules: dict[str, Path]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if name in modules:
                    yield name
                elif node.module in modules:
                    yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)


def _definitions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, Definition]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Definition):
            yield f"{prefix}{node.name}", node
            yield from _definitions(node, f"{prefix}{node.name}.")


def _has_summary_line(docstring: str) -> bool:
    """Return whether a docstring starts with a sentence or phrase, not with a section such as `Args:`."""
    first = docstring.split("\n", 1)[0].strip()
    return bool(first) and first not in ("Args:", "Returns:", "Raises:", "Attributes:", "Shape:")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", metavar="REVISION", help="a commit to measure as well")
    parser.add_argument("--check", action="store_true", help="exit with status 1 where a limit is exceeded")
    arguments = parser.parse_args()
    house = measure_tree(ROOT)
    columns = [house.compute_rows()]
    if arguments.against:
        columns.insert(0, measure_commit(arguments.against).compute_rows())
    for name in columns[-1]:
        print(f"{name:44}" + "".join(f"{column[name]:>10g}" for column in columns))
    if arguments.check and (violations := find_violations(house)):
        sys.exit("\n".join(violations))


if __name__ == "__main__":
    main()
