"""Parquet parts of embeddings: shards, going on after a kill, and what is refused."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.audio import SAMPLE_RATE, sing
from support.cli import call, refusal
from support.untrained_model import make_run

from singer_verify.atomic_files import lock_file
from singer_verify.errors import SingerVerifyError
from singer_verify.inference import embedding_parts, load_model
from singer_verify.inference.embedding_parts import (
    Shard,
    embed_into_parts,
    find_parts,
    parse_shard,
    read_part,
    read_part_embeddings,
    select_shard_files,
)

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
COLUMNS = {"path": "string", "start_s": "double", "end_s": "double", "content": "string", "model": "string"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    """Six short recordings of three singers."""
    for number in range(6):
        path = tmp_path / f"songs/singer{number % 3}/{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, sing(number, 0.6), SAMPLE_RATE, subtype="FLOAT")
    return tmp_path / "songs"


def read_all(folder: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(part) for part in find_parts(folder)])


def test_parts_hold_what_embed_computes(run: Path, songs: Path, tmp_path: Path) -> None:
    said = call("embed", run, songs, "--out", tmp_path / "parts", "--files-per-part", 4)
    assert said.endswith("shard 1/1: files embedded: 6; embedded before: 0; not usable: 0.\n")
    assert [part.name for part in find_parts(tmp_path / "parts")] == [
        "shard-1-of-1-000000.parquet",
        "shard-1-of-1-000001.parquet",
    ]
    assert sorted(path.name for path in (tmp_path / "parts").iterdir() if path.suffix != ".parquet") == []
    table, model = read_all(tmp_path / "parts"), load_model(run)
    assert {name: str(table.schema.field(name).type) for name in COLUMNS} == COLUMNS
    assert table["path"].to_pylist() == sorted(map(str, songs.rglob("*.wav")))
    assert set(table["model"].to_pylist()) == {model.fingerprint}
    assert (table["start_s"].to_pylist(), table["end_s"].to_pylist()) == ([0.0] * 6, [0.6] * 6)
    rows = read_part_embeddings(table, tmp_path)
    expected = np.stack([model.embed(path) for path in table["path"].to_pylist()])
    np.testing.assert_allclose(rows, expected, atol=1e-6)
    assert len(set(table["content"].to_pylist())) == 6


def test_windows_have_their_times(run: Path, songs: Path, tmp_path: Path) -> None:
    call("embed", run, songs / "singer0", "--out", tmp_path / "parts", "--windows")
    table, model = read_all(tmp_path / "parts"), load_model(run)
    embedded = [model.embed_windows(path) for path in sorted(map(str, (songs / "singer0").rglob("*.wav")))]
    np.testing.assert_allclose(
        read_part_embeddings(table, tmp_path), np.concatenate([one.windows for one in embedded]), atol=1e-6
    )
    assert table["start_s"].to_pylist() == [start for one in embedded for start in one.starts_s.tolist()]
    assert "has a row for each of its windows" in refusal("embed", run, songs, "--out", tmp_path / "parts")


def test_shards_share_the_files_whatever_the_folder_is_called(songs: Path, tmp_path: Path) -> None:
    files = sorted(songs.rglob("*.wav"))
    shares = [select_shard_files(files, [songs], Shard(number, 4)) for number in range(1, 5)]
    assert sorted(file for share in shares for file in share) == files
    elsewhere = tmp_path / "other/place"
    moved = [elsewhere / file.relative_to(songs) for file in files]
    for number, share in enumerate(shares, 1):
        expected = [elsewhere / file.relative_to(songs) for file in share]
        assert select_shard_files(reversed(moved), [elsewhere], Shard(number, 4)) == expected[::-1]
        assert select_shard_files([*moved, *moved], [elsewhere], Shard(number, 4)) == expected
        assert select_shard_files([file.relative_to(songs) for file in files], [Path(".")], Shard(number, 4)) == [
            file.relative_to(songs) for file in share
        ]
    names = [f"{number}.wav" for number in range(800)]
    counts = [sum(Shard(number, 16).has(name) for name in names) for number in range(1, 17)]
    assert sum(counts) == 800
    assert min(counts) > 25
    assert [Shard(3, 16).has(name) for name in ("0.wav", "11.wav", "cafe\u0301.wav")] == [
        Shard(3, 16).has(name) for name in ("0.wav", "11.wav", "caf\u00e9.wav")
    ]


@pytest.mark.parametrize("text", ["0/16", "17/16", "3", "3/", "/3", "a/b", "-1/4", "1/0", "1.0/2", "0/0", ""])
def test_a_shard_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(SingerVerifyError, match=r"expected I/N with I from 1 to N"):
        parse_shard(text)


def test_all_shards_together_embed_everything_once(run: Path, songs: Path, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        call("embed", run, songs, "--out", tmp_path / "parts", "--shard", f"{number}/3")
    assert sorted(read_all(tmp_path / "parts")["path"].to_pylist()) == sorted(map(str, songs.rglob("*.wav")))
    soundfile.write(songs / "new.wav", sing(9, 0.6), SAMPLE_RATE)
    said = call("embed", run, songs, "--out", tmp_path / "parts")  # another number of shards
    assert "shard 1/1: files embedded: 1; embedded before: 6;" in said


def test_an_interruption_keeps_what_is_embedded(
    run: Path, songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, files = load_model(run), sorted(songs.rglob("*.wav"))
    embed_many, asked = model.embed_many, list[Path]()

    def interrupt(recordings, num_threads=None):  # type: ignore[no-untyped-def]
        asked.extend(recordings)
        for place, result in enumerate(embed_many(recordings, 0)):
            if place == 3 and len(asked) == 6:
                raise KeyboardInterrupt
            yield result

    monkeypatch.setattr(model, "embed_many", interrupt)
    with pytest.raises(KeyboardInterrupt):
        embed_into_parts(model, files, tmp_path / "parts", files_per_part=2)
    assert [pq.read_metadata(part).num_rows for part in find_parts(tmp_path / "parts")] == [2, 1]
    outcome = embed_into_parts(model, files, tmp_path / "parts", files_per_part=2)
    assert (outcome.added, outcome.present) == (3, 3)
    assert asked[6:] == files[3:]
    assert read_all(tmp_path / "parts")["path"].to_pylist() == list(map(str, files))


def test_a_kill_while_writing_leaves_whole_parts(
    run: Path, songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, files = load_model(run), sorted(songs.rglob("*.wav"))
    child = os.fork()
    if not child:  # dies in the middle of its second part, without any tidying up
        write_table, written = pq.write_table, list[Path]()

        def die(table: pa.Table, path: Path, **options: object) -> None:
            write_table(table, path, **options)
            written.append(path)
            if len(written) == 2:
                os.truncate(path, os.path.getsize(path) // 2)
                os._exit(9)

        pq.write_table = die
        embed_into_parts(model, files, tmp_path / "parts", files_per_part=2)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert len(list((tmp_path / "parts").glob("*.part"))) == 1
    outcome = embed_into_parts(model, files, tmp_path / "parts", files_per_part=2)
    assert (outcome.added, outcome.present) == (4, 2)
    assert not list((tmp_path / "parts").glob("*.part"))
    assert read_all(tmp_path / "parts")["path"].to_pylist() == list(map(str, files))


def test_files_that_cannot_be_used_are_named_and_tried_again(
    run: Path, songs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    short = songs / "short.wav"
    soundfile.write(short, sing(7, 0.1), SAMPLE_RATE)
    assert refusal("embed", run, short, "--out", tmp_path / "none").startswith("none of 1 files can be used")
    for _ in range(2):
        assert call("embed", run, songs, "--out", tmp_path / "parts").endswith("not usable: 1.\n")
        assert "short.wav: lasts 0.10 s" in caplog.text
        caplog.clear()
    assert call("embed", run, songs, "--out", tmp_path / "parts", "--shard", "1/1").count("embedded before: 6") == 1
    odd = songs / os.fsdecode(b"caf\xe9.wav")
    soundfile.write(tmp_path / "odd.wav", sing(8, 0.6), SAMPLE_RATE)
    (tmp_path / "odd.wav").rename(odd)
    assert call("embed", run, songs, "--out", tmp_path / "parts").endswith("not usable: 2.\n")
    assert "the path is not valid UTF-8" in caplog.text


def test_a_shard_without_files_is_no_mistake(run: Path, songs: Path, tmp_path: Path) -> None:
    assert "files embedded: 0; embedded before: 0;" in call(
        "embed", run, songs / "singer0/0.wav", "--out", tmp_path / "parts", "--shard", "1/9999"
    )


def test_what_cannot_be_gone_on_with_is_refused(run: Path, songs: Path, tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    command = ("embed", run, songs, "--out")
    assert "shard=17/16: expected I/N" in refusal(*command, parts, "--shard", "17/16")
    assert "--files-per-part=0: expected an integer of at least 1" in refusal(*command, parts, "--files-per-part", 0)
    assert "--shard: has no effect on an .npz" in refusal(*command, tmp_path / "e.npz", "--shard", "1/2")
    assert "for Parquet parts, that of a folder" in refusal(*command, tmp_path / "e.parquet")
    assert "no such folder" in refusal(*command, tmp_path / "no/parts")
    assert not parts.exists()
    (tmp_path / "file").touch()
    assert "is a file; expected a folder" in refusal(*command, tmp_path / "file")
    call(*command, parts, "--files-per-part", 3)
    first, second = find_parts(parts)
    other = make_run(tmp_path / "other", seed=1)
    assert f"{first}: was made with another model" in refusal("embed", other, songs, "--out", parts)
    whole = second.read_bytes()
    for damaged in (whole[:-100], whole[: len(whole) // 2], b"PAR1", b"", b"PAR1" + whole[4:-50] + b"x" * 50):
        second.write_bytes(damaged)
        assert f"{second}: is damaged, cut short or not a Parquet file" in refusal(*command, parts)
    second.unlink()
    assert "files embedded: 3; embedded before: 3;" in call(*command, parts)
    pq.write_table(pa.table({"path": ["a.wav"], "vector": [[1.0]]}), parts / "foreign.parquet")
    assert "foreign.parquet: has no column model; its columns are path, vector" in refusal(*command, parts)
    pq.write_table(pa.table({"path": [3], "model": ["a"]}), parts / "foreign.parquet")
    assert "its column path is int64; expected text" in refusal(*command, parts)
    (parts / "foreign.parquet").unlink()
    with lock_file(parts / "shard-1-of-1"):
        assert "another process embeds this shard" in refusal(*command, parts)


def test_embeddings_that_are_none_are_refused(tmp_path: Path) -> None:
    path, model = tmp_path / "a.parquet", "f" * 64

    def refuse(column: pa.Array) -> str:
        names = ["path", "embedding", "model"]
        pq.write_table(pa.table([["a"] * len(column), column, [model] * len(column)], names=names), path)
        with pytest.raises(SingerVerifyError) as caught:
            read_part_embeddings(read_part(path, names, model), path)
        return str(caught.value)

    assert "is string; expected a list of floats" in refuse(pa.array(["0.6 0.8"]))
    assert "is list<element: int64>; expected" in refuse(pa.array([[1, 0]]))
    assert "differ in length" in refuse(pa.array([[1.0, 0.0], [1.0]]))
    assert "differ in length" in refuse(pa.array([[1.0, 0.0, 0.0], [1.0]]))
    assert "norms from 5 to 5; expected unit length" in refuse(pa.array([[3.0, 4.0]]))
    assert "expected unit length" in refuse(pa.array([[float("nan"), 1.0]]))
    assert "a list of floats in every row" in refuse(pa.array([[0.6, 0.8], None]))
    for column in (
        pa.array([[0.6, 0.8]]),
        pa.array([[0.6, 0.8]], pa.large_list(pa.float32())),
        pa.FixedSizeListArray.from_arrays(pa.array([0.6, 0.8]), 2),
    ):
        pq.write_table(pa.table({"path": ["a"], "embedding": column, "model": [model]}), path)
        rows = read_part_embeddings(read_part(path, ["path", "embedding", "model"], ""), path)
        np.testing.assert_allclose(rows, [[0.6, 0.8]])
        assert rows.dtype == np.float32


def test_parts_need_pyarrow(run: Path, songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert "pip install -c constraints.txt -e '.[catalogue]'" in refusal(
        "embed", run, songs, "--out", tmp_path / "parts"
    )
    with pytest.raises(SingerVerifyError, match="need pyarrow"):
        embedding_parts.require_parquet()


def test_the_slurm_script_gives_each_job_its_shard(tmp_path: Path) -> None:
    script = Path(__file__).parents[3] / "scripts/slurm_embed.sh"
    (tmp_path / "srun").write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    (tmp_path / "srun").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": "7"}
    command = ["bash", script, "runs/first", "parts", "/re cordings", "--windows"]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert printed == "singer-verify|embed|runs/first|/re cordings|--windows|--out|parts|--shard|7/16|"
    assert "--array=1-16\n" in script.read_text()
