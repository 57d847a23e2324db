"""Readers of data sets: the labels of every recording, and what they refuse."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from support import dataset_miniatures as miniatures
from support.dataset_miniatures import write_all
from typer.testing import CliRunner

from singer_verify.cli import app
from singer_verify.corpora.readers import list_reader_names, read_recordings
from singer_verify.errors import SingerVerifyError

MANUAL = Path(__file__).parents[3] / "docs/manual/corpora.md"
ROWS = re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \|$", MANUAL.read_text(encoding="utf-8"), re.MULTILINE)
DOCUMENTED_LABELS = {reader: {*labels.split(", ")} - {"-"} for reader, labels in ROWS}


def read(reader: str, source: Path, **settings: object) -> dict[str, dict[str, str]]:
    """Return the labels of each recording, without unknown ones, by `<singer>/<name>`."""
    recordings = read_recordings(reader, source, settings)
    assert all(recording.source.is_file() for recording in recordings)
    assert len({tuple(recording.labels) for recording in recordings}) <= 2  # the same columns, in this order
    return {
        f"{recording.singer}/{recording.name}": {name: value for name, value in recording.labels.items() if value}
        for recording in recordings
    }


def refusal(reader: str, source: Path, **settings: object) -> str:
    with pytest.raises(SingerVerifyError) as caught:
        read_recordings(reader, source, settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_gtsinger(tmp_path: Path) -> None:
    rows = read("gtsinger", miniatures.gtsinger(tmp_path))
    assert len(rows) == 5 * 5
    alto = {"gender": "female", "song": "my love", "language": "English", "voice": "alto"}
    glissando, falsetto = "EN-Alto-1/Glissando/my love", "EN-Alto-1/Mixed_Voice_and_Falsetto/my love"
    assert {name: labels for name, labels in rows.items() if name.startswith("EN-Alto-1")} == {
        f"{glissando}/Control_Group/0000.wav": alto | {"style": "singing", "technique": "control"},
        f"{glissando}/Glissando_Group/0000.wav": alto | {"style": "singing", "technique": "glissando"},
        f"{glissando}/Paired_Speech_Group/0000.wav": alto | {"style": "speech"},
        f"{falsetto}/Mixed_Voice_Group/0000.wav": alto | {"style": "singing", "technique": "mixed_voice"},
        f"{falsetto}/Falsetto_Group/0000.wav": alto | {"style": "singing", "technique": "falsetto"},
    }
    control = {name.split("/")[0]: labels for name, labels in rows.items() if "Control" in name}
    assert control["EN-Tenor-1"]["song"] == "my love"  # the same song as the alto's
    assert {singer: labels["gender"] for singer, labels in control.items()} == {
        **dict.fromkeys(("EN-Alto-1", "ZH-Alto-1", "JA-Soprano-1"), "female"),
        **dict.fromkeys(("EN-Tenor-1", "IT-Bass-1"), "male"),
    }
    assert control["IT-Bass-1"]["song"] == "caff\u00e8"
    assert {labels["language"] for labels in control.values()} == {"English", "Chinese", "Japanese", "Italian"}


def test_gtsinger_refuses_other_groups_and_languages(tmp_path: Path) -> None:
    write_all(tmp_path, ["English/EN-Alto-1/Vibrato/my love/Yodel_Group/0000.wav"])
    assert "folder Yodel_Group; expected one of Breathy_Group" in refusal("gtsinger", tmp_path)
    write_all(tmp_path / "other", ["Turkish/TR-Alto-1/Vibrato/my love/Control_Group/0000.wav"])
    assert "singer TR-Alto-1; expected a language among DE, EN" in refusal("gtsinger", tmp_path / "other")


def test_jvs_music(tmp_path: Path) -> None:
    rows = read("jvs_music", miniatures.jvs_music(tmp_path))
    man, woman, common = {"gender": "male"}, {"gender": "female"}, {"style": "singing", "song": "かたつむり"}
    assert rows == {
        "jvs001/song_common_raw.wav": man | common,
        "jvs001/song_unique_raw.wav": man | {"style": "singing", "song": "はとぽっぽ"},
        "jvs002/song_common_raw.wav": woman | common,
        "jvs002/song_unique_raw.wav": woman | {"style": "singing", "song": "ゆき"},
        "jvs003/song_common_raw.wav": man | common,
        "jvs003/song_unique_raw.wav": man | {"style": "singing", "song": "はるが きた"},
        "jvs004/song_common_raw.wav": woman | common,
        "jvs004/song_unique_raw.wav": woman | {"style": "singing", "song": "はとぽっぽ"},
        "jvs001/parallel100/VOICEACTRESS100_001.wav": man | {"style": "speech"},
        "jvs001/whisper10/WHISPER_001.wav": man | {"style": "speech", "technique": "whisper"},
        "jvs002/parallel100/VOICEACTRESS100_001.wav": woman | {"style": "speech"},
        "jvs002/whisper10/WHISPER_001.wav": woman | {"style": "speech", "technique": "whisper"},
    }
    modified = read("jvs_music", tmp_path / "jvs_music_ver1", version="modified_grouped")
    assert list(modified) == [f"jvs00{number}/song_common_modified_grouped.wav" for number in (1, 2, 3, 4)]


def test_jvs_music_refuses_what_it_cannot_label(tmp_path: Path) -> None:
    source = miniatures.jvs_music(tmp_path) / "jvs_music_ver1"
    assert "version=rough: expected one of raw, modified, modified_grouped" in refusal(
        "jvs_music", source, version="rough"
    )
    assert "contains no song in the version raw" in refusal("jvs_music", tmp_path / "jvs_ver1")
    table = source / "singer_info.txt"
    table.write_text("".join(miniatures.SINGER_INFO.splitlines(keepends=True)[:-1]), encoding="utf-8")
    assert "singer_info.txt lacks 1 singers (the first: jvs004)" in refusal("jvs_music", source)
    table.write_text("singer sex\njvs001 m\n")
    assert "has no column gender in its first line" in refusal("jvs_music", source)
    table.unlink()
    assert "has no singer_info.txt; expected the unpacked JVS-MuSiC folder" in refusal("jvs_music", source)


def test_singstyle111(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = read("singstyle111", miniatures.singstyle111(tmp_path))
    first = {name: labels for name, labels in rows.items() if name.endswith("01.wav")}
    assert len(rows) == 2 * len(first)
    woman, man, fly = {"gender": "female"}, {"gender": "male"}, {"song": "fly me to the moon", "language": "English"}
    jiu_er = {"song": "九儿", "language": "Chinese"}
    opera, normal = {"genre": "opera"}, {"expression": "normal"}
    passionate = {"expression": "lyricalpassionate"}
    assert first == {
        "F1/chinese/F1-九儿-ChineseFolk-LyricalPassionate/F1-九儿-ChineseFolk-抒情力量01.wav": woman
        | jiu_er
        | passionate
        | {"genre": "chinesefolk"},
        "F1/chinese/F1-九儿-Opera-LyricalPassionate/F1-九儿-Opera-抒情力量01.wav": woman | jiu_er | opera | passionate,
        "M2/chinese/M2-九儿-Opera-Normal/M2-九儿-Opera-正常01.wav": man | jiu_er | opera | normal,
        "F1/english/F1-Fly Me to the Moon-Jazz-Normal/F1-Fly Me to the Moon-Jazz-Normal01.wav": woman
        | fly
        | normal
        | {"genre": "jazz"},
        "M1/english/M1-Fly me to the moon-Pop-Normal/M1-Fly me to the moon-Pop-Normal01.wav": man
        | fly
        | normal
        | {"genre": "pop"},
        "F3/italian/F3-Caro-mio-ben-Opera-Normal/F3-Caro-mio-ben-Opera-Normal01.wav": woman
        | opera
        | normal
        | {"song": "caro-mio-ben", "language": "Italian"},
    }
    assert not caplog.text
    write_all(tmp_path, ["italian/F3-Caro-mio-ben-Opera-Normal/F4-Caro-mio-ben-Opera-Normal09.wav"])
    assert len(read("singstyle111", tmp_path)) == len(rows) + 1
    assert "the name says singer F4; using the singer of the folder" in caplog.text
    write_all(tmp_path, ["klingon/F3-Qapla-Opera-Normal/F3-Qapla-Opera-Normal01.wav"])
    assert "songs in a folder klingon; expected one of chinese, english" in refusal("singstyle111", tmp_path)


def test_nhss(tmp_path: Path) -> None:
    rows = read("nhss", miniatures.nhss(tmp_path))
    expected = {}
    for singer, gender in (("F01", "female"), ("F02", "female"), ("M02", "male"), ("M04", "male")):
        for song in ("S05", "S09"):
            labels = {"gender": gender, "song": song}
            expected |= dict.fromkeys(
                (f"{singer}/{song}/song/{name}.wav" for name in ("001", "002")), labels | {"style": "singing"}
            )
            expected[f"{singer}/{song}/speech/001.wav"] = labels | {"style": "speech"}
    assert rows == expected
    whole = read("nhss", tmp_path / "Data", whole=True)
    assert [name for name in whole if "M02" in name] == [
        f"M02/{song}/{kind}/{kind}.wav" for song in ("S05", "S09") for kind in ("song", "speech")
    ]
    assert whole["M02/S09/speech/speech.wav"] == {"gender": "male", "song": "S09", "style": "speech"}
    write_all(tmp_path / "lines", ["F01/S05/Song/1.wav"])
    assert "contains only lines, in folders Song and Speech; take --option whole=false" in refusal(
        "nhss", tmp_path / "lines", whole=True
    )
    write_all(tmp_path / "songs", ["F01/S05/song.wav"])
    assert "contains only whole songs; take --option whole=true" in refusal("nhss", tmp_path / "songs")
    assert "whole=2: expected true or false" in refusal("nhss", tmp_path / "songs", whole=2)


def test_vocadito(tmp_path: Path) -> None:
    source = miniatures.vocadito(tmp_path / "vocadito")
    assert read("vocadito", source) == {
        "S1/1.wav": {"language": "Tagalog"},
        "S2/2.wav": {"language": "Spanish"},
        "S1/3.wav": {"language": "Tagalog"},
        "S3/4.wav": {"language": "Catalan/Valencian"},
        "S12/17.wav": {"language": "none"},
        "S24/30.wav": {"language": "French+English"},
    }
    table = (source / "vocadito_metadata.csv").rename(tmp_path / "table.csv")
    assert "has no vocadito_metadata.csv; expected the unpacked vocadito folder" in refusal("vocadito", source)
    assert len(read("vocadito", source, metadata=table)) == 6
    write_all(source, ["Audio/vocadito_41.wav"])
    assert "lacks 1 of 7 tracks (the first: 41)" in refusal("vocadito", source, metadata=table)
    table.write_text("track_id,language\n1,English\n")
    assert "has no column singer_id" in refusal("vocadito", source, metadata=table)


def test_dagstuhl_choirset(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = miniatures.dagstuhl_choirset(tmp_path)
    quartet = {"song": "Locus Iste", "microphone": "DYN", "setting": "QuartetA", "take": "Take04"}
    solo = {"song": "Locus Iste", "microphone": "DYN", "setting": "FullChoir"}
    assert read("dagstuhl_choirset", source) == {
        "S2/DCS_LI_QuartetA_Take04_S2_DYN.wav": quartet | {"voice": "soprano"},
        "A1/DCS_LI_QuartetA_Take04_A1_DYN.wav": quartet | {"voice": "alto"},
        "T1/DCS_LI_QuartetA_Take04_T1_DYN.wav": quartet | {"voice": "tenor"},
        "B2/DCS_LI_FullChoir_Solo01_B2_DYN.wav": solo | {"voice": "bass", "take": "Solo01"},
        "S1/DCS_LI_FullChoir_Solo07_S1_DYN.wav": solo | {"voice": "soprano", "take": "Solo07"},
        "A1/DCS_TP_FullChoir_Outtake_A1_DYN.wav": solo | {"song": "Tebe Poem", "voice": "alto", "take": "Outtake"},
        "T1/DCS_SE_QuartetA_CadenceMajorPiano05_T1_DYN.wav": {
            "exercise": "cadencemajorpiano",
            "voice": "tenor",
            "microphone": "DYN",
            "setting": "QuartetA",
            "take": "CadenceMajorPiano05",
        },
        "A1/DCS_SE_FullChoir_ScaleUpDown12_A1_DYN.wav": {
            "exercise": "scaleupdown",
            "voice": "alto",
            "microphone": "DYN",
            "setting": "FullChoir",
            "take": "ScaleUpDown12",
        },
    }
    assert not caplog.text  # room and piano are known not to be singers
    assert set(read("dagstuhl_choirset", source, microphone="HSM")) == {"A1/DCS_TP_FullChoir_Outtake_A1_HSM.wav"}
    everything = read("dagstuhl_choirset", source, microphone="all")
    assert len(everything) == 13
    assert everything["B5/DCS_LI_Basses_Take01_B5_LRX.wav"]["microphone"] == "LRX"
    assert "--microphone=2: expected one of DYN, HSM, LRX, all" in refusal("dagstuhl_choirset", source, microphone="2")
    for path in source.rglob("*_HSM.wav"):
        path.unlink()
    assert "of a single singer by the microphone HSM" in refusal("dagstuhl_choirset", source, microphone="HSM")
    write_all(source, ["audio_wav_22050_mono/DCS_XY_QuartetA_Take01_S2_DYN.wav"])
    assert "DCS_XY_QuartetA_Take01_S2_DYN.wav: unknown piece; expected one of LI" in refusal(
        "dagstuhl_choirset", source
    )


def test_mir_qbsh(tmp_path: Path) -> None:
    rows = read("mir_qbsh", miniatures.mir_qbsh(tmp_path))
    assert rows == {
        f"{session}_{person}/{song}.wav": {"song": song, "session": session}
        for session, person in (
            *(("year2003", "person00001"), ("year2003", "person00002")),
            *(("year2004", "person00001"), ("year2007", "person00009")),
        )
        for song in ("00014", "00035")
    }
    assert read("mir_qbsh", tmp_path / "waveFile") == rows


def test_jingju_artists(tmp_path: Path) -> None:
    rows = read("jingju", miniatures.jingju(tmp_path))
    nacta, lao_sheng, dan = {"place": "nacta"}, {"role": "laosheng", "mode": "xipi"}, {"role": "dan", "mode": "xipi"}
    city = {"song": "wozhengzai-kongchengji", "session": "20170418"} | nacta | lao_sheng
    assert {name.split("/", 1)[0] + "/" + Path(name).name: labels for name, labels in rows.items()} == {
        "LiaoJiaNi/lsxp-Jiang_shen_er-San_jia_dian-nacta.wav": {"song": "jiangshener-sanjiadian", "session": "20170327"}
        | nacta
        | lao_sheng,
        "SongRuoXuan/daspd-Hai_dao_bing-Gui_fei_zui-nacta.wav": {
            "song": "haidaobing-guifeizui",
            "session": "20170408",
            "role": "dan",
            "mode": "sipingdiao",
            **nacta,
        },
        "TianHao/lsxp-Wo_zheng_zai-Kong_cheng_ji01-nacta.wav": city,
        "TianHao/lsxp-Wo_zheng_zai-Kong_cheng_ji02-nacta.wav": city,
        "SunYuZhu/daxp-Er_ting_de-Suo_lin_nang_take2-nacta.wav": {"song": "ertingde-suolinnang", "session": "20170424"}
        | nacta
        | dan,
        "SunYuZhu/daxp-Zhe_cai_shi-Suo_lin_nang_first_half-nacta.wav": {
            "song": "zhecaishi-suolinnang",
            "session": "20170424",
            **(nacta | dan),
        },
        "SunYuZhu/daxp-Chui_qiu_ting-Suo_lin_nang-nacta.wav": {
            "song": "chunqiuting-suolinnang",
            "session": "20170425",
            **(nacta | dan),
        },
        "LiuHaiLin/daxp-Chun_qiu_ting-Suo_lin_nang-ustb.WAV": {
            "song": "chunqiuting-suolinnang",
            "session": "20170506",
            "place": "ustb",
            **dan,
        },
    }


PART_1 = {
    "wav/danAll/daspd-Hai_dao_bing-Gui_fei_zui_jiu01-lon.wav": ("haidaobing-guifeizui", "dan", "sipingdiao", "lon"),
    "wav/danAll/danbz-Kan_dai_wang-Ba_wang_bie_ji03-qm.wav": ("kandaiwang-bawangbie", "dan", "bangzi", "qm"),
    "wav/danAll/wangjiangting_dushoukong.wav": ("dushoukong-wangjiangting", "dan", "", ""),
    "wav/danAll/daspd-Du_shou_kong-Wang_jiang_ting-upf.wav": ("dushoukong-wangjiangting", "dan", "sipingdiao", "upf"),
    "wav/laosheng/lsxp-Jiang_shen_er-San_jia_dian01-2-upf.wav": ("jiangshener-sanjiadian", "laosheng", "xipi", "upf"),
    "wav/laosheng/lsxp-Huai_nan_wang-Huai_he_ying02-qm.WAV": ("huainanwang-huaiheying", "laosheng", "xipi", "qm"),
}
PART_3 = {
    "20171214SongRuoXuan/daspd-Hai_dao_bing-Gui_fei_zui_jiu-nanluo/student_01.wav": ("haidaobing-guifeizui", "nanluo"),
    "20171211SongRuoXuan/daxp_Qing_zao_qi_lai-Mai_shui-dxjky/student02_first_half.wav": (
        "qingzaoqi-maishui",
        "dxjky",
    ),
    "20171217TianHao/lsxp-Ti_lan_xiao_mai-Hong_deng_ji-sizhu_mentougou/teacher.wav": (
        "tilanxiao-hongdengji",
        "sizhu_mentougou",
    ),
}


def test_jingju_takes_other_singers_from_a_table(tmp_path: Path) -> None:
    paths = [*PART_1, *PART_3]
    source, table = write_all(tmp_path / "jingju", paths), tmp_path / "singers.csv"
    write_all(source, ["wav/laosheng/lsxp-Wo_ben_shi-Kong_cheng_ji-jinghu.wav"])
    table.write_text("utterance,singer\n" + "".join(f"{path},singer{n}\n" for n, path in enumerate(paths)))
    rows = read("jingju", source, metadata=table)
    by_singer = {name.partition("/")[0]: labels for name, labels in rows.items()}
    for number, values in enumerate(PART_1.values()):
        labels = dict(zip(("song", "role", "mode", "place"), values, strict=True))
        assert by_singer[f"singer{number}"] == {name: value for name, value in labels.items() if value}
    for number, values in enumerate(PART_3.values(), len(PART_1)):
        assert (by_singer[f"singer{number}"]["song"], by_singer[f"singer{number}"]["place"]) == values
    assert len(rows) == len(paths)


def test_jingju_refuses_recordings_without_a_singer(tmp_path: Path) -> None:
    source, table = write_all(tmp_path / "jingju", [*PART_1, *PART_3]), tmp_path / "singers.csv"
    first = "20171211SongRuoXuan/daxp_Qing_zao_qi_lai-Mai_shui-dxjky/student02_first_half.wav"
    assert f"nothing says who sings 9 of 9 recordings (the first: {first}); list them" in refusal("jingju", source)
    table.write_text(f"utterance,singer\n{first},a\n")
    assert "nothing says who sings 8 of 9 recordings" in refusal("jingju", source, metadata=table)
    table.write_text("utterance,song\na,b\n")
    assert "has no column singer beside utterance" in refusal("jingju", source, metadata=table)
    table.write_text("singer,song\na,b\n")
    assert "has no column singer beside utterance" in refusal("jingju", source, metadata=table)


@pytest.mark.parametrize("make", miniatures.ALL, ids=lambda make: make.__name__)
def test_a_data_set_is_found_below_and_named_above(make: Callable[[Path], Path], tmp_path: Path) -> None:
    """One level too high makes no difference; too low, the message names the right folder, or what is missing."""
    reader, source = make.__name__, make(tmp_path / "downloads/set")
    rows = read(reader, source)
    assert read(reader, tmp_path / "downloads") == rows
    recordings = read_recordings(reader, source, {})
    assert {name for recording in recordings for name in recording.labels} == DOCUMENTED_LABELS[reader]
    message = ""
    for below in recordings[0].source.parents:  # from the innermost folder out
        if below == source:
            break
        try:
            read_recordings(reader, below, {})
        except SingerVerifyError as error:
            message = str(error)
            assert any(advice in message for advice in ("so give that folder", "has no ", "no table", "of part 2"))
        else:
            break
    assert message or reader == "dagstuhl_choirset"  # whose names say everything


def test_the_manual_has_a_row_for_every_reader() -> None:
    assert sorted(DOCUMENTED_LABELS) == list_reader_names()


def test_help_lists_every_reader() -> None:
    result = CliRunner().invoke(app, ["prepare", "--help"], env={"COLUMNS": "200"})
    assert not [name for name in list_reader_names() if name not in result.stdout]
