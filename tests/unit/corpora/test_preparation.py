"""Data sets as they are downloaded become corpora, or are refused in one sentence."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from support import dataset_miniatures as miniatures
from support.dataset_miniatures import write_all
from typer.testing import CliRunner

from singer_verify.cli import app
from singer_verify.corpora.corpus import read_corpus
from singer_verify.corpora.labels import CORPUS_TABLE_NAME, read_label_table
from singer_verify.corpora.preparation import mix_at_snr
from singer_verify.corpora.splits import SelectionSettings, _warn_of_bare_song_numbers, draw_splits, select_recordings
from singer_verify.errors import SingerVerifyError


def prepare(*arguments: object) -> str:
    typed = ["prepare", *(str(argument) for argument in arguments)]
    result = CliRunner().invoke(app, typed, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def refusal(*arguments: object) -> str:
    with pytest.raises(SingerVerifyError) as caught:
        CliRunner().invoke(app, ["prepare", *(str(argument) for argument in arguments)], catch_exceptions=False)
    return str(caught.value)


def table_of(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / "corpus.csv", dtype=str, keep_default_na=False)


def genders(table: pd.DataFrame) -> dict[str, str]:
    return dict(zip(table["singer"], table["gender"], strict=True))


@pytest.mark.parametrize(
    ("songs", "is_said"),
    [
        (["1", "2", "1", "2"], True),
        (["1", "2", "1", "3"], False),  # most are of one singer
        (["1", "1", "1", ""], True),
        (["ann-1", "ann-2", "ben-1", "ben-2"], False),
        (["101", "102", "101", "102"], False),  # numbers of a list
        (["Amen", "2", "Amen", "2"], False),
        ([""] * 4, False),
    ],
)
def test_songs_that_may_be_numbered_anew_for_each_singer_are_named(
    songs: list[str], is_said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    _warn_of_bare_song_numbers(["ann", "ann", "ben", "ben"], songs)
    assert [" write ann-1 where song 1 of another singer is another song." in line for line in caplog.messages] == (
        [True] * is_said
    )


def test_a_reader_of_ours_knows_what_its_song_numbers_mean(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = miniatures.nus48e(tmp_path / "source")
    (labels := tmp_path / "labels.csv").write_text(
        "utterance,song\n" + "".join(f"{path.relative_to(source)},{path.stem}\n" for path in source.rglob("*.wav"))
    )
    for reader, is_said in (("nus48e", False), ("folder", True)):
        caplog.clear()
        select_recordings(reader, source, {}, SelectionSettings(labels=labels, val=2))
        assert any(line.startswith("song: ") for line in caplog.messages) is is_said


@pytest.mark.parametrize("make", miniatures.ALL, ids=lambda make: make.__name__)
def test_every_data_set_becomes_a_corpus_that_reads(make: Callable[[Path], Path], tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    printed = prepare(make.__name__, make(tmp_path / "source"), "--out", out, "--val", 2)
    table, corpus = table_of(out), read_corpus(out)
    paths = sorted(utterance.path for split in corpus.splits.values() for utterance in split.utterances)
    assert paths == table["utterance"].tolist() == read_label_table(out / CORPUS_TABLE_NAME).index.tolist()
    assert {utterance.singer for split in corpus.splits.values() for utterance in split.utterances} == set(
        table["singer"]
    )
    assert len(corpus.splits["val"].singers) == 2
    assert (table["seconds"].astype(float) > 0.09).all()
    assert "train" in printed
    for path in paths:
        assert (out / path).is_symlink() != (make is miniatures.mir1k)


def test_vocalset_takes_one_arrangement_and_believes_folders(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "singer_verify"):
        prepare("vocalset", miniatures.vocalset(tmp_path / "VocalSet1-2"), "--out", tmp_path / "out")
    table = table_of(tmp_path / "out").set_index("utterance")
    assert len(table) == 8 * 4 + 6
    sources = {
        (tmp_path / "out" / path).resolve().relative_to(tmp_path / "VocalSet1-2").parts[0] for path in table.index
    }
    assert sources == {"FULL"}
    assert (table["gender"] == np.where(table["singer"].str.startswith("female"), "female", "male")).all()
    misfiled = table[table.index.str.endswith("male8/excerpts/vibrato/m9_caro_vibrato.wav")]
    assert misfiled[["singer", "song", "exercise", "technique", "vowel"]].to_numpy().tolist() == [
        ["male8", "caro", "excerpts", "vibrato", ""]
    ]
    assert (
        "male8/excerpts/vibrato/m9_caro_vibrato.wav: the name says another singer; using the folder: male8"
        in caplog.text
    )
    assert caplog.text.count("the name says another singer") == 1  # male1 is not male10
    assert "2 file names lack the singer" in caplog.text
    assert "f2_scales_straight_a(1).wav: the same recording; kept once" in caplog.text
    assert set(table["technique"]) == {"straight", "vibrato"}
    assert set(table["vowel"]) == {"a", "e", "u", ""}


def test_vocalset_by_technique_alone_is_refused(tmp_path: Path) -> None:
    source = miniatures.vocalset(tmp_path / "VocalSet")
    for name in ("FULL", "data_by_singer", "__MACOSX"):
        shutil.rmtree(source / name)
    assert "by technique or vowel only" in refusal("vocalset", source, "--out", tmp_path / "out")


def test_mir1k_takes_the_right_channel_or_mixes_it(tmp_path: Path) -> None:
    source = miniatures.mir1k(tmp_path / "MIR-1K")
    prepare("mir1k", source, "--out", tmp_path / "voice", "--val", 2)
    prepare("mir1k", source, "--out", tmp_path / "mixture", "--val", 2, "--snr-db", 5)
    stereo, _ = soundfile.read(source / "Wavfile/amy_1_01.wav")
    voice, mixture = (
        soundfile.read(next((tmp_path / name).rglob("amy_1_01.flac")))[0] for name in ("voice", "mixture")
    )
    np.testing.assert_array_equal(voice, stereo[:, 1])
    added = mixture - voice
    assert 10 * np.log10(np.mean(voice**2) / np.mean(added**2)) == pytest.approx(5, abs=0.01)
    assert np.corrcoef(added, stereo[:, 0])[0, 1] > 0.999
    assert genders(table_of(tmp_path / "voice")) == {
        "abjones": "male",
        "Kenshin": "male",
        "Ani": "female",
        "amy": "female",
    }
    assert set(table_of(tmp_path / "voice")["channels"]) == {"1"}


def test_a_mixture_stays_in_range() -> None:
    voice, other = np.array([0.9, -0.9]), np.array([0.9, 0.1])
    mixture = mix_at_snr(voice, other, 0.0)
    assert np.abs(mixture).max() == pytest.approx(1.0)
    np.testing.assert_array_equal(mix_at_snr(voice, np.zeros(2), 0.0), voice)


def test_damp_takes_the_account_as_singer(tmp_path: Path) -> None:
    source = miniatures.damp(tmp_path / "damp")
    prepare("damp", source, "--out", tmp_path / "out", "--val", 2)
    table = table_of(tmp_path / "out")
    assert genders(table) == {"258603811": "female", "450791220": "", "1512247721": "male", "688772478": ""}
    assert table.loc[table["utterance"].str.contains("1833648365"), "song"].tolist() == ["3770458_3770458"]
    rows = pd.read_csv(source / "intonation_metadata.csv", dtype=str, skipinitialspace=True)
    (source / "intonation_metadata.csv").unlink()
    assert "a column account_id, which identifies the singers" in refusal("damp", source, "--out", tmp_path / "none")
    (tmp_path / "rows.json").write_text(json.dumps(rows.to_dict("records")))
    prepare("damp", source, "--out", tmp_path / "json", "--val", 2, "--metadata", tmp_path / "rows.json")
    assert genders(table_of(tmp_path / "json")) == genders(table)
    rows.iloc[1:].to_csv(tmp_path / "rows.tsv", sep="\t", index=False)
    sentence = refusal("damp", source, "--out", tmp_path / "tsv", "--metadata", tmp_path / "rows.tsv")
    assert "lacks 1 of 6 performances (the first: 257748724_1833648365)" in sentence


def test_labels_of_the_other_sets(tmp_path: Path) -> None:
    prepare("nus48e", miniatures.nus48e(tmp_path / "nus"), "--out", tmp_path / "n", "--val", 2)
    nus = table_of(tmp_path / "n").set_index("utterance")
    assert genders(nus) == {"ADIZ": "female", "MCUR": "female", "JLEE": "male", "KENN": "male"}
    assert nus.filter(like="JLEE/read/18", axis=0)[["song", "style"]].to_numpy().tolist() == [["18", "speech"]]
    prepare("vctk", miniatures.vctk(tmp_path / "vctk"), "--out", tmp_path / "v", "--val", 2)
    vctk = table_of(tmp_path / "v")
    assert genders(vctk) == {"p225": "female", "p226": "male", "p280": "female", "p315": "male", "s5": ""}
    assert not vctk["utterance"].str.contains("mic2").any()
    prepare("ravdess", miniatures.ravdess(tmp_path / "rav"), "--out", tmp_path / "r", "--val", 2)
    fearful = table_of(tmp_path / "r").set_index("utterance").filter(like="actor_02/03-02-06-01-02", axis=0)
    assert fearful[["gender", "song", "style", "emotion"]].to_numpy().tolist() == [
        ["female", "dogs", "singing", "fearful"]
    ]
    prepare("m4singer", miniatures.m4singer(tmp_path / "m4"), "--out", tmp_path / "m", "--val", 2)
    assert genders(table_of(tmp_path / "m"))["Tenor-1"] == "male"
    prepare("opensinger", miniatures.opensinger(tmp_path / "open"), "--out", tmp_path / "o", "--val", 2)
    assert set(table_of(tmp_path / "o")["singer"]) == {"man_0", "man_3", "woman_0", "woman_3"}


def test_old_vctk_names_speakers_by_number(tmp_path: Path) -> None:
    source = write_all(tmp_path / "VCTK-Corpus/wav48", [f"p{n}/p{n}_001.wav" for n in (225, 226, 227, 228)]).parent
    assert "has no speaker-info.txt" in refusal("vctk", source, "--out", tmp_path / "out")
    (source / "speaker-info.txt").write_text(
        "ID  AGE  GENDER  ACCENTS  REGION\n225  23  F    English    Southern  England\n"
    )
    prepare("vctk", source, "--out", tmp_path / "out", "--val", 2)
    assert genders(table_of(tmp_path / "out"))["p225"] == "female"


@pytest.fixture
def singers(tmp_path: Path) -> Path:
    """Six singers in folders, two recordings each."""
    return write_all(tmp_path / "singers", [f"{name}/{take}.wav" for name in "abcdef" for take in (1, 2)])


def test_any_folders_with_labels_from_a_table(singers: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("utterance,gender,song\na/1.wav,female,x\nb/2.wav,,y\n")
    prepare("folder", singers, "--out", tmp_path / "out", "--val", 2, "--labels", labels)
    table = table_of(tmp_path / "out")
    assert table.loc[table["utterance"].str.endswith("a/1.wav"), ["gender", "song"]].to_numpy().tolist() == [
        ["female", "x"]
    ]
    assert (table["song"] != "").sum() == 2
    labels.write_text("utterance,song\nz/1.wav,x\n")
    assert "lists z/1.wav, not in" in refusal("folder", singers, "--out", tmp_path / "o", "--labels", labels)


def test_splits_of_the_source_are_kept_unless_asked(tmp_path: Path) -> None:
    source = write_all(
        tmp_path / "split",
        [f"{split}/{split}{number}/1.wav" for split in ("train", "val", "test") for number in (1, 2)],
    )
    prepare("folder", source, "--out", tmp_path / "kept")
    assert all(row.utterance.startswith(f"{row.split}/{row.split}") for row in table_of(tmp_path / "kept").itertuples())
    prepare("folder", source, "--out", tmp_path / "anew", "--val", 3)
    assert table_of(tmp_path / "anew")["split"].value_counts().to_dict() == {"train": 3, "val": 3}
    write_all(source, ["val/train1/other.wav"])
    (source / "val/train1/other.wav").write_bytes((singer := source / "val/val1/1.wav").read_bytes()[:-2])
    assert singer.exists()
    assert "train1: in more than one split" in refusal("folder", source, "--out", tmp_path / "twice")


def test_splits_are_drawn_by_seed_with_the_mix_of_genders() -> None:
    gender_of = {f"w{number}": "female" for number in range(12)} | {f"m{number}": "male" for number in range(6)}
    drawn = draw_splits(gender_of, 0.34, 3)
    assert drawn == draw_splits(dict(reversed(gender_of.items())), 0.34, 3)
    assert drawn != draw_splits(gender_of, 0.34, 3, seed=1)
    counts = pd.DataFrame({"split": drawn, "gender": gender_of}).value_counts().to_dict()
    assert counts == {
        ("train", "female"): 6,
        ("train", "male"): 3,
        ("val", "female"): 4,
        ("val", "male"): 2,
        ("test", "female"): 2,
        ("test", "male"): 1,
    }
    for val, test, sentence in (
        (0.0, 0, "leaves 0 for val"),
        (18, 0, "leaves 0 for train"),
        (1.5, 0, "a fraction below 1"),
    ):
        with pytest.raises(SingerVerifyError, match=sentence):
            draw_splits(gender_of, val, test)


def test_splits_from_a_table(singers: Path, tmp_path: Path) -> None:
    splits = tmp_path / "splits.csv"
    rows = {"a": "train", "b": "train", "c": "val", "d": "val", "e": "test", "f": "test"}
    splits.write_text("singer,split\n" + "".join(f"{singer},{split}\n" for singer, split in rows.items()))
    prepare("folder", singers, "--out", tmp_path / "out", "--splits", splits)
    table = table_of(tmp_path / "out")
    assert dict(zip(table["singer"], table["split"], strict=True)) == rows
    for content, sentence in (
        ("singer,split\na,training\n", "unknown split training; expected one of train, val, test"),
        (
            "singer,split\na,train\nz,val\n",
            "not in the corpus: z; singers of the corpus not listed: b, c, d, e, f",
        ),
        ("singer,split\na,train\na,val\n", "lists a twice"),
        ("name,split\na,train\n", "has no column singer"),
    ):
        splits.write_text(content)
        assert sentence in refusal("folder", singers, "--out", tmp_path / "o", "--splits", splits)


def test_the_same_again_is_left_and_another_is_refused(singers: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare("folder", singers, "--out", out, "--val", 2)
    before = {path: path.lstat().st_mtime_ns for path in out.rglob("*")}
    prepare("folder", singers, "--out", out, "--val", 2)
    assert {path: path.lstat().st_mtime_ns for path in out.rglob("*")} == before
    assert "prepared differently" in refusal("folder", singers, "--out", out, "--val", 3)
    assert "already contains other files" in refusal("folder", singers, "--out", singers)
    assert not list(tmp_path.glob(".*.part"))


def test_an_interrupted_preparation_leaves_nothing_in_the_way(singers: Path, tmp_path: Path) -> None:
    (tmp_path / ".out.part/train/a").mkdir(parents=True)
    prepare("folder", singers, "--out", tmp_path / "out", "--val", 2, "--copy")
    assert len(read_corpus(tmp_path / "out").splits["train"].utterances) == 8
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))


def test_recordings_of_two_singers_are_refused_or_left_out(singers: Path, tmp_path: Path) -> None:
    shutil.copy(singers / "a/1.wav", singers / "b/3.wav")
    sentence = refusal("folder", singers, "--out", tmp_path / "out", "--val", 2)
    assert "a/1.wav" in sentence
    assert "b/3.wav: the same recording under the singers a and b" in sentence
    prepare("folder", singers, "--out", tmp_path / "out", "--val", 2, "--drop-duplicates")
    assert len(table_of(tmp_path / "out")) == 11


def test_balanced_and_kept_utterances(tmp_path: Path) -> None:
    source = miniatures.vocalset(tmp_path / "VocalSet")
    prepare("vocalset", source, "--out", tmp_path / "balanced", "--balance", "technique")
    counts = table_of(tmp_path / "balanced").groupby(["singer", "technique"]).size()
    assert counts.to_dict() == dict.fromkeys(counts.index, 2)
    assert len(counts) == 16
    prepare("vocalset", source, "--out", tmp_path / "kept", "--keep", "exercise=scales", "--keep", "vowel=a,u")
    kept = table_of(tmp_path / "kept")
    assert set(zip(kept["exercise"], kept["vowel"], strict=True)) == {("scales", "a")}
    for option, sentence in (
        (("--keep", "mood=sad"), "--keep mood: no such label; expected one of exercise, gender"),
        (("--keep", "vowel=y"), "no vowel is 'y'; expected values among , a, e, u"),
        (("--balance", "mood"), "--balance mood: no such label"),
    ):
        assert sentence in refusal("vocalset", source, "--out", tmp_path / "o", *option)


def test_refuses_what_is_not_the_data_set(singers: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out")
    vctk = miniatures.vctk(tmp_path / "vctk")
    assert "none of its 18 audio files is named as in vocalset" in refusal("vocalset", vctk, *out)
    assert "looks like vctk" in refusal("vocalset", vctk, *out)
    assert "take the reader `folder`" in refusal("vocalset", singers, *out)
    loose = tmp_path / "loose"
    loose.mkdir()
    soundfile.write(loose / "a.wav", np.zeros(1600), 16_000)
    assert "put the recordings of each singer into a folder named after the singer." in refusal("folder", loose, *out)
    assert "no such reader; expected one of dagstuhl_choirset, damp, folder" in refusal("vocals", singers, *out)
    assert "--snr-db: not an option of vctk; its options: --microphone" in refusal("vctk", vctk, *out, "--snr-db", 3)
    assert "no such folder" in refusal("folder", tmp_path / "nowhere", *out)
    (tmp_path / "empty").mkdir()
    assert "holds no audio file" in refusal("folder", tmp_path / "empty", *out)
    assert not (tmp_path / "out").exists()


def test_files_of_another_kind_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = miniatures.vctk(tmp_path / "vctk")
    shutil.copy(next(source.rglob("*.flac")), source / "other.flac")
    prepare("vctk", source, "--out", tmp_path / "out", "--val", 2)
    assert "1 of 19 audio files are not named as in vctk, and left out (the first: other.flac)" in caplog.text


def test_useless_files_are_named_and_left_out(singers: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (singers / "a/1.wav").write_bytes(b"RIFF")
    (singers / "b/moved.wav").symlink_to(tmp_path / "gone.wav")
    prepare("folder", singers, "--out", tmp_path / "out", "--val", 2)
    assert "a/1.wav: cannot be decoded as audio" in caplog.text
    assert "b/moved.wav: no such file" in caplog.text
    assert "2 of 13 recordings skipped" in caplog.text
    assert len(table_of(tmp_path / "out")) == 11


def test_a_singer_who_would_vanish_is_an_error(singers: Path, tmp_path: Path) -> None:
    for path in (singers / "a").iterdir():
        path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n")
    message = refusal("folder", singers, "--out", tmp_path / "out", "--val", 2)
    assert message.startswith("singers without a usable recording: a (the first reason: ")
    assert "is a Git LFS pointer" in message
    assert not (tmp_path / "out").exists()


def test_seconds_are_decoded_not_guessed(singers: Path, tmp_path: Path) -> None:
    """The size in a header is wrong, and the file joined from two."""
    path = next((singers / "a").glob("*.wav"))
    content, (samples, rate) = path.read_bytes(), soundfile.read(path)
    path.write_bytes(content + content)
    prepare("folder", singers, "--out", tmp_path / "out", "--val", 2)
    table = table_of(tmp_path / "out").set_index("utterance")
    (seconds,) = table.loc[table.index.str.endswith(f"/a/{path.name}"), "seconds"]
    assert float(seconds) == pytest.approx(2 * len(samples) / rate, abs=1e-3)


def test_progress_of_comparing_goes_to_standard_error(tmp_path: Path) -> None:
    source = miniatures.write_all(tmp_path / "set", [f"{singer}/1.wav" for singer in "abcd"])
    arguments = ["prepare", "folder", str(source), "--out", str(tmp_path / "out")]
    result = CliRunner(env={"FORCE_COLOR": "1"}).invoke(app, arguments, catch_exceptions=False)
    assert "Comparing" in result.stderr
    assert "Comparing" not in result.stdout
