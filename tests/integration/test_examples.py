"""Every script of examples/ runs with a model that was hardly trained, prints what it promises, and writes to --out."""

import ast
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from singer_verify.training.run import train

PROJECT = Path(__file__).parents[2]
SCRIPTS = sorted((PROJECT / "examples").glob("*.py"))
ONNXRUNTIME_SESSION = ".ses"  # which it writes to the temporary folder when torchmetrics imports it
INTERVAL = r"\[[-+.\d]+, [-+.\d]+\]"
EXPECTED = {
    "01_score_conversions": [
        *(rf"^{system} +[-+.\d]+ {INTERVAL}, \d+% of 18 pairs" for system in ("own voice", "shifted", "stranger")),
        rf"^\S.* minus .*: [-+.\d]+ {INTERVAL}, p = [.\d]+$",
        r"^listen: ",
    ],
    "02_find_who_sings_when": [
        r"^70 s, \d+ windows, 3 singers in 9 turns\.$",
        *(rf"^{name}: \d singers, error rate [.\d]+% \(missed" for name in ("estimated", "given", "gallery")),
    ],
    "03_audit_corpus": [
        *(r"^49 recordings, \d+ findings", r"^label of .*found$"),
        *(r"^copy of val/male8/again\.flac: found$", r"^clipping of .*: found$", r"^Clean corpus: \d+ of 49"),
    ],
    "04_search_catalogue": [
        r"^shard 1/2: 39 files embedded, 0 before, 0 not usable$",
        r"^shard 1/2: 0 files embedded, 39 before, 0 not usable$",
        *(r"^84 recordings imported; 12 singers in the gallery\.$", r"^\d+ of 12 looked up right"),
    ],
    "05_enrol_choir": [
        *(r"^choir: 84 recordings of 12 singers enrolled\.$", r"^guests: 42 recordings of 6 singers enrolled\.$"),
        *(r"^Of the choir alone: \d+ of 12 right", r"^Among all 18, of the guests: \d of 6 right"),
        r"^female7 was removed",
    ],
    "06_compare_encoders": [
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


def list_files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_it_runs(
    script: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "out"
    elsewhere.mkdir()
    # A short path: workers hand over arrays by sockets there, whose paths may have 107 characters.
    temporary = Path(tempfile.mkdtemp(dir="/tmp"))
    request.addfinalizer(lambda: shutil.rmtree(temporary))
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    kept = [PROJECT / "example_dataset", PROJECT / "examples", trained]
    before = [list_files(folder) for folder in kept]
    called = subprocess.run(
        [sys.executable, str(script), str(trained), "--out", str(out)],
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
    assert {path.name for path in (*elsewhere.iterdir(), *temporary.iterdir())} <= {ONNXRUNTIME_SESSION}
    assert [list_files(folder) for folder in kept] == before


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_it_says_what_it_is_and_its_page_leads_to_it(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    said = ast.get_docstring(ast.parse(text)) or ""
    assert said.split("\n", 1)[0].endswith("?")
    assert f"python examples/{script.name} MODEL" in said
    assert "\n# %% " in text
    pages = re.findall(r"docs/\w+\.md", said)
    assert pages
    assert f"](../examples/{script.name})" in (PROJECT / pages[0]).read_text(encoding="utf-8")
