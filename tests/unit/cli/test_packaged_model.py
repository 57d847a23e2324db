"""Commands that name no model use the one that comes with the package, and say so."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from support.audio import SAMPLE_RATE, MakeCorpus, sing
from support.cli import call, refusal
from support.untrained_model import make_run
from typer.testing import CliRunner

import singer_verify
from singer_verify.cli import app
from singer_verify.cli.model_argument import is_model_named
from singer_verify.demo.words import render_about
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.scoring.scoring import Scoring, Threshold
from singer_verify.export.model_file import write_model_file
from singer_verify.inference import load_model
from singer_verify.inference.scoring_file import save_scoring
from singer_verify.runs import packaged_model
from singer_verify.runs.settings import strip_folders

NOTICE = "Model: voice 2, which comes with the package."
MAX_BYTES = 6_000_000
SHIPPED = sorted((Path(singer_verify.__file__).parent / "models").glob("*.pt"))


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model in the package's folder, with its card and its scoring."""
    folder = tmp_path / "site-packages/models"
    folder.mkdir(parents=True)
    path = folder / "voice.pt"
    write_model_file(make_run(tmp_path / "trained"), path, "float32")
    path.with_suffix(".md").write_text("---\nlicense: cc-by-sa-4.0\nversion: '2'\n---\n\n# voice\n")
    monkeypatch.setattr(packaged_model, "MODELS_FOLDER", folder)
    return path


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a run, a run without a best model and a folder of recordings."""
    (tmp_path / "place/run/checkpoints").mkdir(parents=True)
    (tmp_path / "place/crashed").mkdir()
    (tmp_path / "place/crashed/run.json").touch()
    (tmp_path / "place/songs").mkdir()
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


@pytest.mark.usefixtures("places")
@pytest.mark.parametrize(
    ("typed", "least", "most", "named"),
    [
        ("run a.wav b.wav", 2, 2, True),
        ("crashed a.wav b.wav", 2, 2, True),
        ("no/such/run a.wav b.wav", 2, 2, True),
        ("songs a.wav b.wav", 2, 2, True),  # whose mistake is said: no run folder
        ("weights.bin a.wav b.wav", 2, 2, True),
        ("a.wav b.wav", 2, 2, False),
        ("a.wav", 2, 2, False),
        ("a.wav b.wav c.wav", 2, 2, False),  # whose mistake is said: an argument too many
        ("run a.wav", 2, 2, True),  # whose mistake is said: B is missing
        ("a.ckpt b.wav", 2, 2, True),
        ("recording other", 2, 2, False),
        ("choir.npz who.wav", 2, 2, False),
        ("run choir.npz", 1, None, True),
        ("choir.npz Anna a.wav", 1, None, False),
        ("CHOIR.SQLITE Anna a.wav", 1, None, False),
        ("saved_model.pt choir.npz Anna a.wav", 1, None, True),
        ("no/such/run choir.npz Anna a.wav", 1, None, True),
        ("songs a.wav", 1, None, False),
        ("songs", 1, None, False),
        ("run songs", 1, None, True),
        ("no_such_folder", 1, None, False),
        ("pairs.csv", 0, 1, False),
        ("run", 0, 1, True),
        ("run pairs.csv", 0, 1, True),
        ("no/such/run", 0, 1, True),
        ("anything", 0, 0, True),
        ("", 0, 0, False),
    ],
)
def test_the_first_argument_is_the_model_unless_it_is_plainly_another(
    typed: str, least: int, most: int | None, named: bool
) -> None:
    assert is_model_named(typed.split(), least, most) == named


def test_the_library_loads_it(packaged: Path) -> None:
    assert load_model().fingerprint == singer_verify.load_model(packaged).fingerprint


def test_without_one_there_is_one_message(make_corpus: MakeCorpus) -> None:
    root = make_corpus()
    file = root / "val/val_singer0/song0.flac"
    said = "no model comes with this installation; name one: a run folder"
    with pytest.raises(SingerVerifyError, match=said):
        load_model()
    for arguments in (("verify", file, file), ("embed", file, "--out", root / "e.npz"), ("bench",), ("probe", root)):
        assert said in refusal(*arguments)
    assert "No model comes with this installation." in call("models")


def test_verify_needs_no_model(packaged: Path, make_corpus: MakeCorpus) -> None:
    files = [str(path) for path in sorted(make_corpus().rglob("*.flac"))[:2]]
    named = CliRunner().invoke(app, ["verify", str(packaged), *files, "--json"], catch_exceptions=False)
    unnamed = CliRunner().invoke(app, ["verify", *files, "--json"], catch_exceptions=False)
    assert (named.stderr, named.exit_code, unnamed.exit_code) == ("", 4, 4)
    assert unnamed.stderr == f"{NOTICE}\n"
    assert json.loads(unnamed.stdout) == json.loads(named.stdout)


def test_its_scoring_lies_beside_it(packaged: Path, make_corpus: MakeCorpus) -> None:
    file = str(next(make_corpus().rglob("*.flac")))
    scoring = Scoring(threshold=Threshold(0.5, "singers of a test"))
    save_scoring(packaged.with_name("voice.scoring.npz"), scoring, load_model().fingerprint)
    assert json.loads(call("verify", file, file, "--json"))["threshold"]["origin"] == "singers of a test"


def test_galleries_name_it_by_its_fingerprint(packaged: Path, make_corpus: MakeCorpus, tmp_path: Path) -> None:
    root = make_corpus()
    gallery = tmp_path / "choir.npz"
    call("enrol", gallery, "Anna", root / "val/val_singer0")
    call("enrol", gallery, "--from", root, "--split", "val")
    assert json.loads(call("gallery", gallery, "--json"))["model"] == load_model(packaged).fingerprint
    file = root / "val/val_singer1/song0.flac"
    found = json.loads(call("identify", gallery, file, "--threshold", -1, "--json"))
    assert found["singer"] == "val_singer1"
    assert found == json.loads(call("identify", packaged, gallery, file, "--threshold", -1, "--json"))


def test_embed_takes_files_and_folders(packaged: Path, make_corpus: MakeCorpus, tmp_path: Path) -> None:
    root = make_corpus()
    for name, paths in (("a", [root / "val"]), ("b", [packaged, root / "val"])):
        call("embed", *paths, "--out", tmp_path / f"{name}.npz")
    with np.load(tmp_path / "a.npz") as unnamed, np.load(tmp_path / "b.npz") as named:
        np.testing.assert_array_equal(unnamed["embeddings"], named["embeddings"])
    assert "embed" in refusal("embed", tmp_path / "trained", tmp_path / "trained", "--out", tmp_path / "c.npz")


class LoadedError(Exception):
    """Carries the path of the model that a command loads, in place of the rest of the command."""


COMMANDS = {
    "audit": ["CORPUS"],
    "calibrate": ["CORPUS", "--out", "scoring.npz"],
    "card": [],
    "diarize": ["FILE", "--out", "diarized"],
    "evaluate": ["CORPUS"],
    "map": ["CORPUS", "--out", "map.png"],
    "probe": ["CORPUS", "--label", "singer"],
    "similarity": ["pairs.csv"],
    "table": ["CORPUS", "--out", "table"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("is_named", [False, True])
def test_every_command_uses_it(
    packaged: Path,
    make_corpus: MakeCorpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    is_named: bool,
) -> None:
    def refuse(path: Path, *_: object) -> None:
        raise LoadedError(path)

    root = make_corpus(val=3)
    file = root / "val/val_singer0/song0.flac"
    (tmp_path / "pairs.csv").write_text(f"generated,reference\n{file},{file}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("singer_verify.inference.load_model", refuse)
    expected, model = (tmp_path / "trained", ["trained"]) if is_named else (packaged, [])
    if is_named and command == "audit":
        model = ["--model", "trained"]
    filled = [{"CORPUS": str(root), "FILE": str(file)}.get(argument, argument) for argument in COMMANDS[command]]
    told = CliRunner().invoke(app, [command, *model, *filled])
    assert isinstance(told.exception, LoadedError), told.output
    assert tmp_path / told.exception.args[0] == expected
    assert told.stderr.count(NOTICE) == (not is_named)


def test_an_audit_can_do_without_it(packaged: Path, make_corpus: MakeCorpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("singer_verify.inference.load_model")
    told = CliRunner().invoke(app, ["audit", str(make_corpus()), "--model", "none"], catch_exceptions=False)
    assert (told.exit_code, NOTICE in told.stderr) == (0, False)


def test_mistakes_are_said_once(packaged: Path, places: Path) -> None:
    def complain(*arguments: str) -> str:
        told = CliRunner().invoke(app, list(arguments))
        assert told.exit_code == 2
        return " ".join(told.stderr.replace("│", " ").split())

    assert "Missing argument 'B'." in complain("verify", "a.wav")
    assert "Missing argument 'B'." in complain("verify", "run", "a.wav")
    assert "unexpected extra argument(s) (c.wav)" in complain("verify", "a.wav", "b.wav", "c.wav")
    assert "No such option: --thresold" in complain("verify", "a.wav", "b.wav", "--thresold", "1")
    assert "[MODEL]" in call("verify", "--help")
    assert "no such file" in refusal("embed", "no/such/run", "songs", "--out", "e.npz")
    assert "has no checkpoints/best.ckpt" in refusal("verify", "songs", "a.wav", "b.wav")


def test_models_are_listed_with_it_first(packaged: Path) -> None:
    first = json.loads(call("models", "--json"))[0]
    card = str(packaged.with_suffix(".md"))
    assert first | {"path": str(packaged), "card": card, "licence": "cc-by-sa-4.0", "version": "2"} == first
    shown = call("models")
    assert shown.startswith("voice 2 comes with the package, licence cc-by-sa-4.0")
    assert card in shown


@pytest.mark.usefixtures("packaged")
def test_the_page_names_its_card() -> None:
    assert "Its error rates on real singing are in its model card, voice.md" in render_about(load_model())


@pytest.mark.parametrize("card", [None, "no front matter", "---\n[1]\n---\n", "---\n: {\n---\n"])
def test_a_card_that_says_nothing_leaves_the_name(packaged: Path, card: str | None) -> None:
    packaged.with_suffix(".md").unlink()
    if card is not None:
        packaged.with_suffix(".md").write_text(card)
    found = packaged_model.require_packaged_model()
    assert (found.title, found.licence) == ("voice", "")


def test_git_does_not_leave_it_out_of_a_distribution() -> None:
    root = Path(__file__).parents[3]
    if not (root / ".git").exists():
        pytest.skip("not a checkout")
    files = [f"src/singer_verify/models/voice.{suffix}" for suffix in ("pt", "md", "scoring.npz")]
    ignored = subprocess.run(["git", "check-ignore", *files], cwd=root, capture_output=True, text=True, check=False)
    assert (ignored.stdout, ignored.stderr) == ("", "")


@pytest.mark.skipif(not SHIPPED, reason="no model in this checkout")
def test_what_is_shipped_is_small_whole_and_tells_nothing_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = SHIPPED
    monkeypatch.setattr(packaged_model, "MODELS_FOLDER", path.parent)
    shipped = packaged_model.require_packaged_model()
    assert shipped.version
    assert shipped.licence == "cc-by-sa-4.0"
    assert path.stat().st_size <= MAX_BYTES
    content = torch.load(path, weights_only=True)
    assert strip_folders(content) == content
    assert all(name.startswith("encoder.") for name in content["state_dict"])
    model = load_model()
    assert model.embed(sing(0, 2.0), SAMPLE_RATE).shape == (model.embedding_size,)
    if (scoring := path.with_suffix(".scoring.npz")).is_file():
        from singer_verify.inference.scoring_file import load_scoring

        assert load_scoring(scoring, model.fingerprint).threshold is not None
