"""Every script of examples/ runs, prints what it promises, and writes to --out, and so does the notebook made of it."""

import ast
import json
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from singer_verify.training.run import train

PROJECT = Path(__file__).parents[2]
SCRIPTS, NOTEBOOKS = sorted((PROJECT / "examples").glob("*.py")), PROJECT / "examples/notebooks"
RUN_NOTEBOOK = """
import json, re, sys, types
cells = json.loads(open(sys.argv[1], encoding="utf-8").read())["cells"]
sys.argv, sys.modules["ipykernel"] = ["ipykernel_launcher.py", "-f", "kernel.json"], types.ModuleType("ipykernel")
for code in ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"):
    exec(re.sub(r'("--steps", type=int, default=)\\d+', r"\\g<1>6", code), globals())
"""  # in a process of its own, as a kernel has it, with few steps
ONNXRUNTIME_SESSION = ".ses"  # which it writes to the temporary folder when torchmetrics imports it
INTERVAL = r"\[[-+.\d]+, [-+.\d]+\]"
ARGUMENTS = {  # of scripts that take others, few enough steps to be quick
    "01_train_and_verify": ["--steps", "16"],
    "02_compare_features": ["--steps", "4"],
    "03_own_recipe": ["--steps", "10"],
    "04_own_encoder_and_loss": ["--steps", "10"],
    "06_encoder_inside_another_training": ["--steps", "6", "--judge", "MODEL"],
}
EXPECTED = {
    "01_train_and_verify": [
        *(r"^12 singers, 16 steps in \d+ s; step limit\.$", r"^untrained: EER [.\d]+% at step 0$"),
        rf"^EER [.\d]+ % {INTERVAL}, 1128 trials$",
        *(
            rf"^{title}: f7_\w+ and {other}_\w+: [-.\d]+, threshold [-.\d]+: "
            for title in ("new", "packaged")
            for other in ("f7", "f8")
        ),
    ],
    "02_compare_features": [
        *(r"^6 trainings finished\.$", r"^18 singers, 144 recordings, 504 target trials$"),
        *(rf"^features={name} +\d+ bins  EER % [.\d]+ {INTERVAL}$" for name in ("mel40", "mfcc")),
        *(
            rf"^features=mfcc minus features=mel40: [-+.\d]+ {INTERVAL} points, p = [.\d]+$",
            r"to see 2 points, it takes ",
        ),
    ],
    "03_own_recipe": [
        *(r"^f7_\w+: 62400 samples, 391 frames of 6 bins; the law holds\.$", r"^Without trust: .* is not trusted"),
        *(
            r"^EER [.\d]+% untrained, ",
            r"^Model\(LSTMEncoder, OctaveLevels of 6 bins",
            r"^Mean similarity of .* two singers ",
        ),
    ],
    "04_own_encoder_and_loss": [
        r"^Uniformity of embeddings that point everywhere: -\d\.\d+, that are all alike: 0\.00$",
        *(rf"^{name}: step \d+, ge2e [.\d]+, uniformity -[.\d]+, EER " for name in ("untrained", "best", "last")),
        *(r"^Model\(DilatedEncoder, MelSpectrogram of 40 bins", r"^f7_\w+: an embedding of 64 values$"),
    ],
    "06_encoder_inside_another_training": [
        r"^loss of the next 2 steps: [.\d]+$",
        *(
            rf"^the {name}: similarity to the target singer [-.\d]+ before, [-.\d]+ after$"
            for name in ("model itself", "judge")
        ),
        r"^Similarity of the trained encoder's embeddings .*: 0\.\d+$",
    ],
    "05_score_conversions": [
        *(rf"^{system} +[-+.\d]+ {INTERVAL}, \d+% of 18 pairs" for system in ("own voice", "shifted", "stranger")),
        rf"^\S.* minus .*: [-+.\d]+ {INTERVAL}, p = [.\d]+$",
        r"^listen: ",
    ],
    "07_find_who_sings_when": [
        r"^70 s, \d+ windows, 3 singers in 9 turns\.$",
        *(rf"^{name}: \d singers, error rate [.\d]+% \(missed" for name in ("estimated", "given", "gallery")),
    ],
    "08_audit_corpus": [
        *(r"^49 recordings, \d+ findings", r"^label of .*found$"),
        *(r"^copy of val/male8/again\.flac: found$", r"^clipping of .*: found$", r"^Clean corpus: \d+ of 49"),
    ],
    "09_search_catalogue": [
        r"^shard 1/2: 39 files embedded, 0 before, 0 not usable$",
        r"^shard 1/2: 0 files embedded, 39 before, 0 not usable$",
        *(r"^84 recordings imported; 12 singers in the gallery\.$", r"^\d+ of 12 looked up right"),
    ],
    "10_enrol_choir": [
        *(r"^choir: 84 recordings of 12 singers enrolled\.$", r"^guests: 42 recordings of 6 singers enrolled\.$"),
        *(r"^Of the choir alone: \d+ of 12 right", r"^Among all 18, of the guests: \d of 6 right"),
        r"^female7 was removed",
    ],
    "11_compare_encoders": [
        *(rf"^{name}: EER [.\d]+ % {INTERVAL}, 300 trials$" for name in ("old", "new")),
        rf"^new minus old: [-+.\d]+ % {INTERVAL}, p = [.\d]+$",
    ],
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    overrides = (
        *(f"data.root={PROJECT / 'example_dataset'}", f"data.store_root={folder / 'store'}"),
        *("encoder.hidden_size=64", "trainer.max_steps=20", "trainer.val_check_interval=20", "trainer.accelerator=cpu"),
        *("data.num_extraction_workers=0", "~callbacks.pictures", f"hydra.run.dir={folder / 'run'}"),
    )
    return train(list(overrides), conf=PROJECT / "conf").run


@pytest.fixture
def short_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give called programs one thread, and a short path: workers' sockets there may have 107 characters."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield folder
    shutil.rmtree(folder)


def list_files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_it_runs(script: Path, trained: Path, tmp_path: Path, short_temporary_folder: Path) -> None:
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "out"
    elsewhere.mkdir()
    kept = [PROJECT / "example_dataset", PROJECT / "examples", trained]
    before = [list_files(folder) for folder in kept]
    given = ARGUMENTS.get(script.stem, ["MODEL"])
    arguments = [str(trained) if word == "MODEL" else word for word in given]
    called = subprocess.run(
        [sys.executable, str(script), *arguments, "--out", str(out)],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert called.returncode == 0, called.stderr
    assert "Traceback" not in called.stderr
    for pattern in [*EXPECTED.get(script.stem, []), rf"^Written to {re.escape(str(out))}\.$"]:
        assert re.search(pattern, called.stdout, re.MULTILINE), f"{pattern}\n{called.stdout}"
    assert any(out.iterdir())
    assert {path.name for path in (*elsewhere.iterdir(), *short_temporary_folder.iterdir())} <= {ONNXRUNTIME_SESSION}
    assert [list_files(folder) for folder in kept] == before


def test_the_notebooks_are_those_of_the_scripts() -> None:
    expected = runpy.run_path(str(PROJECT / "scripts/make_notebooks.py"))["make_notebooks"]()
    found = {path.name: path.read_text(encoding="utf-8") for path in NOTEBOOKS.iterdir()}
    assert found == expected, "run python scripts/make_notebooks.py"
    for text in found.values():
        cells = json.loads(text)["cells"]
        assert len({cell["id"] for cell in cells}) == len(cells)
        for cell in cells:
            if cell["cell_type"] == "code":
                ast.parse("".join(cell["source"]))


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_its_notebook_runs(script: Path, tmp_path: Path, short_temporary_folder: Path) -> None:
    kept = [PROJECT / "example_dataset", PROJECT / "examples"]
    before = [list_files(folder) for folder in kept]
    called = subprocess.run(
        [sys.executable, "-c", RUN_NOTEBOOK, str(NOTEBOOKS / f"{script.stem}.ipynb")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert called.returncode == 0, called.stderr
    written = re.search(r"^Written to (.+)\.$", called.stdout, re.MULTILINE)
    assert written
    assert Path(written[1]).is_relative_to(short_temporary_folder)
    assert not any(tmp_path.iterdir())
    assert [list_files(folder) for folder in kept] == before


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_it_says_what_it_is_and_its_page_leads_to_it(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    said = ast.get_docstring(ast.parse(text)) or ""
    assert said.split("\n", 1)[0].endswith("?")
    assert f"python examples/{script.name} [" in said
    assert "\n# %% " in text
    pages = re.findall(r"docs/[\w/]+\.md", said)
    assert pages
    assert f"/examples/{script.name})" in (PROJECT / pages[0]).read_text(encoding="utf-8")
    assert script.stem[:2] == f"{1 + SCRIPTS.index(script):02}"
