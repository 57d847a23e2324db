"""Miniatures of data sets as they are downloaded: the real names and quirks, a tenth of a second of sound each."""

from pathlib import Path

import numpy as np
import soundfile

SAMPLE_RATE = 8000


def write_sound(path: Path, seed: int, channels: int = 1) -> None:
    generator = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * generator.standard_normal((800, channels)), SAMPLE_RATE)


def write_all(root: Path, paths: list[str], channels: int = 1) -> Path:
    for seed, path in enumerate(paths):
        write_sound(root / path, seed, channels)
    return root


def vocalset(root: Path) -> Path:
    """Version 1.2: everything in three arrangements, with some of its faults."""
    singers = ("female1", "female2", "female4", "male1", "male8", "male9", "male10", "male11")
    paths = [
        f"{singer}/scales/{technique}/{singer[0]}{singer.lstrip('femal')}_scales_{technique}_{vowel}.wav"
        for singer in singers
        for technique in ("straight", "vibrato")
        for vowel in "ae"
    ]
    paths += ["female4/arpeggios/straight/arpeggios_straight_a.wav", "male10/excerpts/vibrato/caro_vibrato.wav"]
    paths += ["male8/excerpts/vibrato/m9_caro_vibrato.wav", "male9/excerpts/vibrato/m9_caro_vibrato.wav"]
    paths += ["female2/arpeggios/vibrado/f2_arpeggios_vibrato_u.wav", "male1/excerpts/straight/m1_row_straight.wav"]
    write_all(root / "FULL", paths)
    write_all(root / "data_by_singer", paths)
    write_all(root / "data_by_technique", [f"{path.split('/')[2]}/{Path(path).name}" for path in paths])
    copy = root / "FULL/female2/scales/straight/f2_scales_straight_a(1).wav"
    copy.write_bytes((root / "FULL/female2/scales/straight/f2_scales_straight_a.wav").read_bytes())
    (root / "FULL/male1/scales/.DS_Store").touch()
    write_sound(root / "__MACOSX/FULL/male1/scales/straight/m1_scales_straight_a.wav", 999)
    return root


def mir1k(root: Path) -> Path:
    names = [
        f"{name}_{song}_0{part}" for name in ("abjones", "Ani", "amy", "Kenshin") for song in (1, 2) for part in (1, 2)
    ]
    write_all(root / "UndividedWavfile", ["abjones_1.wav"], channels=2)
    return write_all(root, [f"Wavfile/{name}.wav" for name in names], channels=2)


DAMP_TABLE = """performance_id, arrangement_id, account_id, country, locale, latitude, longitude, city_id, gender
257748724_1833648365, 3770458_3770458, 258603811, GB, en_GB, 57.16, -2.16, 2657832, F
257748724_1916159785, 3769917_3769917, 258603811, GB, en_GB, 57.16, -2.15, 2657832, F
450791176_2081859518, 3771406_3771406, 450791220, US, en_US, 32.87, -96.93, 4700168, None
450791176_2109466837, 3771406_3771406, 450791220, US, en_US, 32.87, -96.93, 4700168, None
1512269719_2026273708, 3771054_3771054, 1512247721, CA, en_CA, 60.0, -95.0, NULL, M
688757944_1973977874, 3772152_3772152, 688772478, US, en_US, 37.9, -86.75, 4294267, None
"""


def damp(root: Path) -> Path:
    import av

    for seed, line in enumerate(DAMP_TABLE.splitlines()[1:]):
        path = root / "audio" / f"{line.partition(',')[0]}.m4a"
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = (0.1 * np.random.default_rng(seed).standard_normal((1, 4096))).astype(np.float32)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=44100, layout="mono")
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate = 44100
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    (root / "intonation_metadata.csv").write_text(DAMP_TABLE)
    return root


def nus48e(root: Path) -> Path:
    paths = [
        f"{singer}/{style}/{song}.wav"
        for singer in ("ADIZ", "JLEE", "KENN", "MCUR")
        for style in ("sing", "read")
        for song in ("01", "18")
    ]
    (root / "ADIZ/sing").mkdir(parents=True)
    (root / "ADIZ/sing/01.txt").write_text("0.0 1.0 sil\n")
    return write_all(root, paths)


SPEAKER_INFO = """ID  AGE  GENDER  ACCENTS  REGION COMMENTS
p225  23  F    English    Southern  England
p226  22  M    English    Surrey
p280  25  F    Unknown    France (mic2 files unavailable)
p315  18  M    American   New England (all text files have been lost due to hard disk error)
"""


def vctk(root: Path) -> Path:
    """Version 0.92; speaker s5 is in no table."""
    speakers = ("p225", "p226", "p280", "p315", "s5")
    (root / "txt/p225").mkdir(parents=True)
    (root / "txt/p225/p225_001.txt").write_text("Please call Stella.\n")
    (root / "speaker-info.txt").write_text(SPEAKER_INFO)
    paths = [f"{name}/{name}_00{take}_mic{mic}.flac" for name in speakers for take in (1, 2) for mic in (1, 2)]
    return write_all(
        root / "wav48_silence_trimmed", [path for path in paths if "p280" not in path or "mic1" in path]
    ).parent


def ravdess(root: Path) -> Path:
    folders = {"01": "Audio_Speech_Actors_01-24", "02": "Audio_Song_Actors_01-24"}
    paths = [
        f"{folders[style]}/Actor_{actor:02}/03-{style}-0{emotion}-01-0{statement}-01-{actor:02}.wav"
        for style in folders
        for actor in (1, 2, 3, 4)
        for emotion in (1, 6)
        for statement in (1, 2)
    ]
    return write_all(root, paths)


def m4singer(root: Path) -> Path:
    voices = ("Alto-1", "Alto-2", "Bass-1", "Soprano-1", "Tenor-1")
    return write_all(
        root, [f"{voice}#{song}/000{part}.wav" for voice in voices for song in ("遇见", "美错") for part in (0, 1)]
    )


def opensinger(root: Path) -> Path:
    return write_all(
        root,
        [
            f"{sex}Raw/{number}_遇见/{number}_遇见_{part}.wav"
            for sex in ("Man", "Woman")
            for number in (0, 3)
            for part in (0, 1)
        ],
    )


def gtsinger(root: Path) -> Path:
    """Two titles in two spellings, and one that is decomposed on disk."""
    songs = {
        "English/EN-Alto-1": "my love",
        "English/EN-Tenor-1": "My_Love",
        "Chinese/ZH-Alto-1": "青花瓷",
        "Japanese/JA-Soprano-1": "さよなら",
        "Italian/IT-Bass-1": "Caffe\u0300",
    }
    groups = ("Glissando/{}/Control", "Glissando/{}/Glissando", "Glissando/{}/Paired_Speech")
    falsetto = ("Mixed_Voice_and_Falsetto/{}/Mixed_Voice", "Mixed_Voice_and_Falsetto/{}/Falsetto")
    paths = [
        f"{singer}/{group.format(song)}_Group/0000.wav" for singer, song in songs.items() for group in groups + falsetto
    ]
    (root / "processed/English").mkdir(parents=True)
    (root / "processed/English/metadata.json").write_text("[]")
    return write_all(root, paths)


SINGER_INFO = """singer gender key_group tempo key_singer unique_song_name
jvs001 m mid 92 7 はとぽっぽ
jvs002 f high 100 3 ゆき
jvs003 m low 88 5 はるが きた
jvs004 f mid 96 0 はとぽっぽ
"""


def jvs_music(root: Path) -> Path:
    """With the speech of two singers beside it."""
    songs = (
        "song_common/wav/raw",
        "song_common/wav/modified",
        "song_common/wav/modified_grouped",
        "song_unique/wav/raw",
    )
    paths = [f"jvs_music_ver1/jvs00{number}/{song}.wav" for number in (1, 2, 3, 4) for song in songs]
    sets = ("parallel100/wav24kHz16bit/VOICEACTRESS100_001", "whisper10/wav24kHz16bit/WHISPER_001")
    paths += [f"jvs_ver1/jvs00{number}/{name}.wav" for number in (1, 2) for name in sets]
    write_all(root, paths)
    (root / "jvs_music_ver1/singer_info.txt").write_text(SINGER_INFO, encoding="utf-8")
    return root


def singstyle111(root: Path) -> Path:
    names = {
        "chinese/F1-九儿-ChineseFolk-LyricalPassionate": "F1-九儿-ChineseFolk-抒情力量",
        "chinese/F1-九儿-Opera-LyricalPassionate": "F1-九儿-Opera-抒情力量",
        "chinese/M2-九儿-Opera-Normal": "M2-九儿-Opera-正常",
        "english/F1-Fly Me to the Moon-Jazz-Normal": "F1-Fly Me to the Moon-Jazz-Normal",
        "english/M1-Fly me to the moon-Pop-Normal": "M1-Fly me to the moon-Pop-Normal",
        "italian/F3-Caro-mio-ben-Opera-Normal": "F3-Caro-mio-ben-Opera-Normal",
    }
    return write_all(root, [f"{folder}/{name}0{part}.wav" for folder, name in names.items() for part in (1, 2)])


def nhss(root: Path) -> Path:
    folders = [f"Data/{singer}/{song}" for singer in ("F01", "F02", "M02", "M04") for song in ("S05", "S09")]
    names = ("song", "speech", "Song/001", "Song/002", "Speech/001")
    (root / "Data/F01/S05").mkdir(parents=True)
    (root / "Data/F01/S05/song.TextGrid").write_text("")
    return write_all(root, [f"{folder}/{name}.wav" for folder in folders for name in names])


VOCADITO_TABLE = """track_id,singer_id,average_pitch,language
1,S1,50,Tagalog
2,S2,65,Spanish
3,S1,52,Tagalog
4,S3,47,Catalan/Valencian
17,S12,60,none
30,S24,56,French+English
"""


def vocadito(root: Path) -> Path:
    write_all(root, [f"Audio/vocadito_{line.partition(',')[0]}.wav" for line in VOCADITO_TABLE.splitlines()[1:]])
    (root / "vocadito_metadata.csv").write_text(VOCADITO_TABLE)
    return root


def dagstuhl_choirset(root: Path) -> Path:
    """Soloists, a quartet, an exercise, a take without a number, the room and the piano."""
    names = [
        *(
            f"LI_QuartetA_Take04_{singer}_{microphone}"
            for singer in ("S2", "A1", "T1")
            for microphone in ("DYN", "LRX")
        ),
        *(f"LI_FullChoir_Solo0{take}_{singer}_DYN" for take, singer in ((1, "B2"), (7, "S1"))),
        *("LI_Basses_Take01_B5_LRX", "TP_FullChoir_Outtake_A1_DYN", "TP_FullChoir_Outtake_A1_HSM"),
        *("SE_QuartetA_CadenceMajorPiano05_T1_DYN", "SE_FullChoir_ScaleUpDown12_A1_DYN"),
        *("LI_QuartetA_Take04_Stereo_STM", "LI_QuartetA_Take04_StereoReverb_STM", "SE_QuartetA_Tuning01_Piano_SPL"),
    ]
    return write_all(root, [f"audio_wav_22050_mono/DCS_{name}.wav" for name in names])


def mir_qbsh(root: Path) -> Path:
    persons = ("year2003/person00001", "year2003/person00002", "year2004/person00001", "year2007/person00009")
    paths = [f"waveFile/{person}/{song}.wav" for person in persons for song in ("00014", "00035")]
    (root / "waveFile/year2003/person00001").mkdir(parents=True)
    (root / "waveFile/year2003/person00001/00014.pv").write_text("0\n")
    return write_all(root, paths)


def jingju(root: Path) -> Path:
    """Part 2: an artist on two days, plays with names cut short, takes."""
    return write_all(
        root,
        [
            "wav/20170327LiaoJiaNi/lsxp-Jiang_shen_er-San_jia_dian-nacta.wav",
            "wav/20170408SongRuoXuan/daspd-Hai_dao_bing-Gui_fei_zui-nacta.wav",
            "wav/20170418TianHao/lsxp-Wo_zheng_zai-Kong_cheng_ji01-nacta.wav",
            "wav/20170418TianHao/lsxp-Wo_zheng_zai-Kong_cheng_ji02-nacta.wav",
            "wav/20170424SunYuZhu/daxp-Er_ting_de-Suo_lin_nang_take2-nacta.wav",
            "wav/20170424SunYuZhu/daxp-Zhe_cai_shi-Suo_lin_nang_first_half-nacta.wav",
            "wav/20170425SunYuZhu/daxp-Chui_qiu_ting-Suo_lin_nang-nacta.wav",
            "wav/20170506LiuHaiLin/daxp-Chun_qiu_ting-Suo_lin_nang-ustb.WAV",
        ],
    )


ALL = (
    *(vocalset, mir1k, damp, nus48e, vctk, ravdess, m4singer, opensinger),
    *(gtsinger, jvs_music, singstyle111, nhss, vocadito, dagstuhl_choirset, mir_qbsh, jingju),
)
