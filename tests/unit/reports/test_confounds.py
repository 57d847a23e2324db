"""Confounds in words: what is said of a confounded corpus, and that nothing is said of one that is not."""

import json
from collections.abc import Mapping
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from support.evaluations import build_evaluated_utterances, build_evaluation_result

from singer_verify.evaluation.confounds import (
    Confounds,
    Floor,
    FloorMetrics,
    GroupDescription,
    LabelComparison,
)
from singer_verify.evaluation.metrics.bootstrap import Estimate
from singer_verify.evaluation.results import ConditionMetrics, EvaluationResult
from singer_verify.inference.evaluation_context import EvaluationContext
from singer_verify.reports.evaluation.confounds import build_confound_remarks, build_confound_table
from singer_verify.reports.evaluation.excerpts import ExcerptEncoder
from singer_verify.reports.evaluation.files import build_evaluation_record, format_confounds_csv
from singer_verify.reports.evaluation.page import PageMedia, render_evaluation_page

EER = {"eer": Estimate(0.2, 0.1, 0.3)}
UTTERANCES = build_evaluated_utterances(("anna", "bruno", "carla", "dora"))


def make_result(
    floors: Mapping[str, tuple[float, float | None, float | None]] | None = None,
    conditions: tuple[str, ...] = (),
    eer: float = 0.1,
    **settings: object,
) -> EvaluationResult:
    """Of properties by (EER, share of target trials, share of non-target trials), in all trials."""
    alone = tuple(
        Floor(
            name,
            target is not None,
            (
                FloorMetrics(
                    "all",
                    500,
                    900,
                    {"eer": Estimate(value, value - 0.01, value + 0.02)},
                    target,
                    nontarget,
                    Estimate(value - eer, value - eer - 0.01, value - eer + 0.01),
                ),
            ),
        )
        for name, (value, target, nontarget) in (floors or {}).items()
    )
    confounds = Confounds(alone, (GroupDescription("all", 20, {}, 19.0, 0.5),), (), 1400, False)
    evaluated = tuple(ConditionMetrics(name, 100, 100, EER, None) for name in ("all", *conditions))
    return replace(
        build_evaluation_result(UTTERANCES),
        metrics={"eer": Estimate(eer, eer, eer)},
        conditions=evaluated,
        confounds=replace(confounds, **settings),  # type: ignore[arg-type]
    )


def test_a_label_that_tells_singers_apart_is_said_with_the_condition_to_use() -> None:
    (remark,) = build_confound_remarks(
        make_result({"song": (0.031, 0.98, 0.02)}, ("same song", "cross song"), eer=0.01)
    )
    assert remark == (
        "song alone would give an EER of 3.1 [2.1, 5.1] %: target trials share it in 98 %, non-target trials in 2 %; "
        "use the condition 'cross song'."
    )


@pytest.mark.parametrize(
    ("conditions", "advice"),
    [
        (("same gender",), "use the condition 'same gender'."),
        ((), "evaluate with --conditions 'gender'."),
    ],
)
def test_the_condition_is_one_that_was_evaluated(conditions: tuple[str, ...], advice: str) -> None:
    (remark,) = build_confound_remarks(make_result({"gender": (0.33, 1.0, 0.5)}, conditions))
    assert remark.endswith(advice)


def test_where_no_condition_has_both_kinds_of_trials_that_is_said() -> None:
    result = make_result({"song": (0.0, 1.0, 0.0)}, eer=0.2)
    without_eer = tuple(
        ConditionMetrics(name, *sizes, {}, None) for name, sizes in (("same song", (9, 0)), ("cross song", (0, 9)))
    )
    remarks = build_confound_remarks(replace(result, conditions=(*result.conditions, *without_eer)))
    assert remarks[0].endswith("no condition has trials of both kinds that would tell it from the voice.")
    assert remarks[1] == (
        "The model's EER, 20.0 [10.0, 30.0] %, cannot be told at 95 % from that of one property alone: song (0.0 %)."
    )


def test_only_the_properties_that_tell_singers_apart_are_named() -> None:
    floors = {"vowel": (0.49, 0.26, 0.25), "level_db": (0.47, None, None), "duration_s": (0.35, None, None)}
    remarks = build_confound_remarks(make_result(floors))
    assert remarks == [
        "duration alone would give an EER of 35.0 [34.0, 37.0] %: recordings of one singer are alike in it."
    ]


def test_a_property_whose_interval_reaches_chance_is_not_named() -> None:
    result = make_result({"level_db": (0.4, None, None)})
    assert result.confounds is not None
    (floor,) = result.confounds.floors
    wide = replace(floor.conditions[0], metrics={"eer": Estimate(0.4, 0.2, 0.6)})
    floors = (replace(floor, conditions=(wide,)),)
    uncertain = replace(result, confounds=replace(result.confounds, floors=floors))
    assert "40.0 [20.0, 60.0]" in "\n".join(show(uncertain))  # the table shows it, with that interval
    assert len(build_confound_remarks(result)) == 1
    assert build_confound_remarks(uncertain) == []


def test_a_condition_in_which_the_model_is_no_better_is_said() -> None:
    result = make_result({"level_db": (0.35, None, None), "snr_db": (0.36, None, None)}, ("same song",))
    assert result.confounds is not None
    level, snr = result.confounds.floors
    margins = Estimate(0.01, -0.05, 0.06), Estimate(0.04, 0.001, 0.09)
    floors = [
        replace(floor, conditions=(*floor.conditions, FloorMetrics("same song", 90, 90, EER, margin=margin)))
        for floor, margin in zip((level, snr), margins, strict=True)
    ]
    remarks = build_confound_remarks(replace(result, confounds=replace(result.confounds, floors=tuple(floors))))
    assert remarks[2:] == [
        "The model's EER in 'same song', 20.0 [10.0, 30.0] %, cannot be told at 95 % from that of one property alone: "
        "level (20.0 %)."
    ]


def test_songs_of_one_singer_each_are_said() -> None:
    (remark,) = build_confound_remarks(make_result({"song": (0.46, 0.16, 0.0)}))
    assert remark.startswith("No two singers share a song, so that it tells the singer; 'cross song' leaves out")


ALL = GroupDescription("all", 20, {"duration_s": 10.0, "level_db": -20.0, "bandwidth_hz": 8000.0}, 19.0, 0.5)


def with_groups(group: GroupDescription) -> EvaluationResult:
    result = make_result(conditions=(group.name,))
    assert result.confounds is not None
    return replace(result, confounds=replace(result.confounds, conditions=(ALL, group)))


@pytest.mark.parametrize(
    ("group", "reasons"),
    [
        (replace(ALL, name="cross song", num_singers=9), ["it has 9 of 20 singers"]),
        (replace(ALL, name="cross song", num_singers=10), []),
        (
            replace(ALL, name="cross song", num_impostors=4.0),
            ["each singer is compared with 4.0 instead of 19.0 others"],
        ),
        (
            replace(ALL, name="cross song", same_gender=0.9),
            ["90 % instead of 50 % of the non-target trials are of one gender"],
        ),
        (replace(ALL, name="same gender", same_gender=1.0, num_impostors=9.0), []),
        (replace(ALL, name="hard + 2 to 5 s", same_gender=1.0, measures={"duration_s": 3.0}), []),
        (replace(ALL, name="same song", measures={"duration_s": 4.9}), ["duration 4.9 s instead of 10.0 s"]),
        (
            replace(ALL, name="same song", measures={"level_db": -27.0, "bandwidth_hz": 3400.0}),
            ["level -27.0 dB instead of -20.0 dB", "bandwidth 3400 Hz instead of 8000 Hz"],
        ),
        (replace(ALL, name="same song", measures={"duration_s": 6.0, "level_db": -25.0}), []),
    ],
)
def test_eers_that_should_not_be_compared_are_said(group: GroupDescription, reasons: list[str]) -> None:
    remarks = build_confound_remarks(with_groups(group))
    expected = f"Do not compare the EER of '{group.name}' with that of all trials: {'; '.join(reasons)}."
    assert remarks == ([expected] if reasons else [])


def test_a_condition_without_an_eer_is_not_spoken_of() -> None:
    result = with_groups(replace(ALL, name="cross song", num_singers=1))
    assert build_confound_remarks(replace(result, conditions=result.conditions[:1])) == []


def test_recordings_in_which_no_f0_is_found_are_said_where_the_features_use_it() -> None:
    whisper = GroupDescription("whisper", 4, {"voiced_share": 0.2}, num_utterances=40)
    belt = GroupDescription("belt", 4, {"voiced_share": 0.6}, num_utterances=40)
    values = LabelComparison("technique", whisper, belt), LabelComparison("technique", belt, whisper)
    assert build_confound_remarks(make_result(values=values)) == []
    assert build_confound_remarks(make_result(values=values, uses_pitch=True)) == [
        "An f0 is found in 20 % of the loud frames of technique whisper, in 60 % elsewhere; the features "
        "condition on it."
    ]


def test_labels_whose_recordings_differ_and_repeated_recordings_are_said() -> None:
    phone = GroupDescription("phone", 4, {"bandwidth_hz": 3400.0, "level_db": -30.0}, num_utterances=40)
    studio = GroupDescription("studio", 4, {"bandwidth_hz": 7800.0, "level_db": -28.0}, num_utterances=40)
    few = replace(phone, num_utterances=4)
    remarks = build_confound_remarks(
        make_result(values=(LabelComparison("microphone", phone, studio),), num_copies=12, num_shared=1)
    )
    assert remarks == [
        "Recordings that repeat another of their singer, left out: 12.",
        "Recordings that are filed under two singers, of two corpora: 1.",
        "microphone phone differs from the other recordings: bandwidth 3400 Hz instead of 7800 Hz.",
    ]
    assert build_confound_remarks(make_result(values=(LabelComparison("microphone", few, studio),))) == []


def show(result: EvaluationResult) -> list[str]:
    console = Console(file=StringIO(), width=80)
    console.print(build_confound_table(result))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_the_console_has_a_dozen_lines_of_80_columns() -> None:
    floors = {f"label_{number}": (0.05 * number, 0.9, 0.1) for number in range(1, 9)}
    lines = show(make_result(floors, eer=0.3, num_copies=3, num_shared=2))
    assert len(lines) <= 13
    assert max(map(len, lines)) <= 80
    assert "4.0, 7.0" in lines[3]
    assert lines[-1] == "* 5 more in --json and in the report of --out"
    assert show(make_result({"song": (0.5, 0.2, 0.2)})) == [
        "confounds: none of 1 properties of the recordings alone tells singers apart"
    ]
    assert show(replace(make_result(), confounds=None)) == []


def test_json_and_csv_hold_everything_as_plain_values() -> None:
    result = make_result({"song": (0.05, 0.9, 0.1), "level_db": (0.5, None, None)}, num_copies=2)
    floors = [
        replace(floor, conditions=(*floor.conditions, FloorMetrics("hard", 3, 4, {})))
        for floor in result.confounds.floors  # type: ignore[union-attr]
    ]
    assert result.confounds is not None
    result = replace(result, confounds=replace(result.confounds, floors=tuple(floors)))
    assert result.confounds is not None
    record = json.loads(
        json.dumps(build_evaluation_record(result, UTTERANCES, EvaluationContext("m", "c", "val")), allow_nan=False)
    )["confounds"]
    assert (record["num_trials"], record["is_sampled"], record["num_copies"]) == (1400, False, 2)
    song, level = record["alone"]
    assert (song["property"], song["kind"], level["kind"]) == ("song", "label", "measurement")
    whole, hard = song["conditions"]
    assert whole["eer"] == {"value": 0.05, "low": pytest.approx(0.04), "high": pytest.approx(0.07)}
    assert (whole["target_share"], whole["nontarget_share"], whole["auc"]) == (0.9, 0.1, None)
    assert (hard["condition"], hard["num_targets"], hard["eer"]) == ("hard", 3, None)
    assert len(record["remarks"]) == 3
    header, *rows = format_confounds_csv(result.confounds).decode().splitlines()
    assert header.startswith(
        "property,kind,condition,num_targets,num_nontargets,target_share,nontarget_share,eer,eer_low"
    )
    assert len(rows) == 4
    assert rows[0].startswith("song,label,all,500,900,0.9,0.1,0.05,")


def test_the_page_has_a_section_of_them(tmp_path: Path) -> None:
    hostile = "<b>song</b>"
    result = make_result({hostile: (0.05, 0.9, 0.1), "level_db": (0.5, None, None)}, num_copies=2)
    parts = PageMedia({}, ExcerptEncoder(tmp_path))
    page = render_evaluation_page(result, UTTERANCES, EvaluationContext("m", "c", "val"), parts)
    assert page.index("<h2>By condition</h2>") < page.index("<h2>Confounds</h2>") < page.index("<h2>Figures</h2>")
    assert hostile not in page
    section = page[page.index("<h2>Confounds</h2>") : page.index("<h2>Figures</h2>")]
    assert "&lt;b&gt;song&lt;/b&gt; alone would give an EER of 5.0 [4.0, 7.0] %" in section
    assert '<td data-key="0.05">5.0 [4.0, 7.0]</td>' in section
    assert section.count("<tr>") == 2 + 1 + 1 + 3  # properties, conditions, groups, headings
    without = render_evaluation_page(
        replace(result, confounds=None), UTTERANCES, EvaluationContext("m", "c", "val"), parts
    )
    assert "Confounds" not in without
