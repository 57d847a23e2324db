"""The command line: what `singer-verify embed` and `evaluate` write and print, and what they refuse."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from support.audio import MakeCorpus
from support.cli import call, refusal

from singer_verify.evaluation.metrics.verification import verify_all_pairs
from singer_verify.inference import load_model


def load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


def test_embed_writes_paths_and_unit_rows(model: Path, make_corpus: MakeCorpus, tmp_path: Path) -> None:
    root = make_corpus()
    single = root / "train/train_singer0/song1.flac"
    call("embed", model, root / "val", single, "--out", tmp_path / "e.npz")
    stored = load(tmp_path / "e.npz")
    assert stored["paths"].tolist() == [*sorted(map(str, (root / "val").rglob("*.flac"))), str(single)]
    assert stored["embeddings"].dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(stored["embeddings"], axis=1), 1.0, atol=1e-5)


def test_embeddings_do_not_depend_on_what_else_is_embedded(
    model: Path, make_corpus: MakeCorpus, tmp_path: Path
) -> None:
    files = sorted(make_corpus().rglob("*.flac"))
    call("embed", model, *files, "--out", tmp_path / "all.npz")
    call("embed", model, files[3], "--out", tmp_path / "one.npz")
    together, alone = (load(tmp_path / name)["embeddings"] for name in ("all.npz", "one.npz"))
    np.testing.assert_array_equal(together[3], alone[0])


def test_evaluate_scores_all_pairs(model: Path, make_corpus: MakeCorpus) -> None:
    root = make_corpus(val=3, utterances=4)
    record = json.loads(call("evaluate", model, root, "--json"))
    assert (record["num_trials"], record["num_targets"], record["num_singers"]) == (66, 18, 3)
    embedder = load_model(model)
    embeddings = np.stack([embedder.embed(path) for path in sorted((root / "val").rglob("*.flac"))])
    expected = verify_all_pairs(embeddings, np.repeat(np.arange(3), 4))
    eer = record["metrics"]["eer"]
    assert eer["value"] == pytest.approx(expected.metrics["eer"].value)
    assert 0 <= eer["low"] <= eer["high"] <= 1
    assert record["metrics"]["min_dcf_0.01"]["value"] == pytest.approx(expected.metrics["min_dcf_0.01"].value)
    assert {"all", "shorter than 2 s"} <= {condition["condition"] for condition in record["conditions"]}
    assert "95 % over singers" in call("evaluate", model, root)


def test_evaluate_tells_conditions_where_a_corpus_has_labels(model: Path, make_corpus: MakeCorpus) -> None:
    root = make_corpus(val=4, utterances=4)
    rows = [
        f"{path.relative_to(root).as_posix()},{'female' if path.parent.name < 'val_singer2' else 'male'},{path.stem}"
        for path in sorted((root / "val").rglob("*.flac"))
    ]
    (root / "corpus.csv").write_text("\n".join(["utterance,gender,song", *rows]))
    record = json.loads(call("evaluate", model, root, "--conditions", "gender,song", "--json"))
    figures = {condition["condition"]: condition for condition in record["conditions"]}
    names = ["all", "same gender", "cross gender", "same song", "cross song", "hard"]
    assert list(figures) == names
    assert (figures["hard"]["num_targets"], figures["hard"]["num_nontargets"]) == (24, 24)
    assert figures["hard"]["eer"] is None  # fewer than 30 of either kind
    assert figures["same gender"]["eer"] is None
    assert figures["cross gender"]["num_targets"] == 0
    printed = call("evaluate", model, root)
    assert "no target trials" in printed
    assert "hard" in printed
    wrong = refusal("evaluate", model, root, "--conditions", "gender,tempo")
    assert wrong.startswith("--conditions=tempo: expected one of gender, song, length, pitch, none, same gender, ")


def test_evaluate_reads_a_list_and_names_its_faults(
    model: Path, make_corpus: MakeCorpus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_corpus(val=3, utterances=4)
    paths = [path.relative_to(root).as_posix() for path in sorted((root / "val").rglob("*.flac"))]
    pairs = [(a, b) for number, a in enumerate(paths) for b in paths[number:]]  # a recording against itself among them
    lines = [f"{int(a.split('/')[1] == b.split('/')[1])} {a} {b}" for a, b in pairs]
    (tmp_path / "list.txt").write_text("\n".join([*lines, lines[1], f"1 {paths[0]} val/nobody/song.flac"]))
    record = json.loads(call("evaluate", model, root, "--trials", tmp_path / "list.txt", "--json"))
    every = json.loads(call("evaluate", model, root, "--json"))
    assert record["num_trials"] == every["num_trials"] == 66
    assert record["metrics"]["eer"] == every["metrics"]["eer"]
    assert "those of list.txt" in record["trials"]
    for told in ("12", "itself", "nobody"):
        assert told in caplog.text


def test_evaluate_writes_a_report(model: Path, make_corpus: MakeCorpus, tmp_path: Path) -> None:
    root = make_corpus(val=4, utterances=5)
    call("evaluate", model, root, "--out", tmp_path / "report", "--resamples", 20)
    written = {path.name for path in (tmp_path / "report").iterdir()}
    assert {"report.html", "evaluation.json", "conditions.csv", "singers.csv", "worst_trials.csv", "det.png"} <= written
    figures = json.loads((tmp_path / "report/evaluation.json").read_text())
    assert figures["num_trials"] == 190


def test_useless_files_are_named_and_skipped(
    model: Path, make_corpus: MakeCorpus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_corpus()
    (root / "val/val_singer0/song0.flac").write_bytes(b"")
    call("embed", model, root / "val", "--out", tmp_path / "e.npz")
    assert "song0.flac: file is empty" in caplog.text
    assert "1 of 6 files skipped" in caplog.text
    assert len(load(tmp_path / "e.npz")["paths"]) == 5


def test_refusals(model: Path, make_corpus: MakeCorpus, tmp_path: Path) -> None:
    root, out = make_corpus(), tmp_path / "e.npz"
    assert "no such file" in refusal("embed", tmp_path / "nothing.ckpt", root, "--out", out)
    assert "has no checkpoints/best.ckpt" in refusal("evaluate", root, root)
    assert "no such file or folder" in refusal("embed", model, tmp_path / "nowhere", "--out", out)
    assert "no file to embed" in refusal("embed", model, model, "--out", out)
    assert "expected a file name that ends in .npz" in refusal("embed", model, root, "--out", tmp_path / "e.csv")
    assert "has no folder test" in refusal("evaluate", model, root, "--split", "test")
    assert not out.exists()


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return Path.write_text, (self.target, "executed")


def test_checkpoints_that_are_not_ours_are_refused_and_not_run(tmp_path: Path, make_corpus: MakeCorpus) -> None:
    root, target = make_corpus(), tmp_path / "executed"
    foreign, malicious, garbage = (tmp_path / f"{name}.ckpt" for name in ("foreign", "malicious", "garbage"))
    torch.save({"state_dict": {}}, foreign)
    torch.save({"state_dict": Payload(target)}, malicious)
    garbage.write_bytes(pickle.dumps(Payload(target), protocol=2))
    assert "is not a checkpoint of singer_verify" in refusal("evaluate", foreign, root)
    for path in (malicious, garbage):
        assert "was not loaded" in refusal("evaluate", path, root)
    assert not target.exists()
