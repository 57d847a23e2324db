"""Evaluation windows cover every frame, and put together they do not depend on their neighbours."""

import numpy as np
import pytest

from singer_verify.data.windows import build_window_groups, compute_window_starts, count_windows_per_batch
from singer_verify.evaluation.averaging import average_by_group


@pytest.mark.parametrize("num_frames", [1, 99, 100, 101, 149, 150, 151, 399, 1000])
def test_windows_cover_all_frames_and_overlap_by_half(num_frames: int) -> None:
    starts = compute_window_starts(num_frames, 100)
    covered = np.zeros(num_frames, bool)
    for start in starts:
        covered[start : start + 100] = True
    assert covered.all()
    assert starts[-1] == max(num_frames - 100, 0)
    assert (np.diff(starts) <= 50).all()


def test_groups_hold_every_window_once_and_one_length_each() -> None:
    lengths = np.array([30, 250, 100, 30, 77, 1000])
    groups = build_window_groups(lengths, 100, windows_per_group=4)
    windows = sorted((int(u), int(s)) for group in groups for u, s in zip(group.utterances, group.starts, strict=True))
    assert windows == [(u, int(s)) for u, length in enumerate(lengths) for s in compute_window_starts(int(length), 100)]
    for group in groups:
        assert len(group.utterances) <= 4
        assert (np.minimum(lengths[group.utterances], 100) == group.num_frames).all()


@pytest.mark.parametrize(
    ("window_frames", "num_windows"), [(1, 64), (160, 64), (312, 64), (600, 33), (2000, 10), (20_001, 1), (10**9, 1)]
)
def test_fewer_long_windows_are_embedded_at_once(window_frames: int, num_windows: int) -> None:
    assert count_windows_per_batch(window_frames) == num_windows
    groups = build_window_groups(np.full(70, 600), window_frames)
    held = [len(group.utterances) * group.num_frames for group in groups]
    assert max(held) <= 20_000


def test_means_are_of_unit_length_and_of_the_right_windows() -> None:
    windows = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], np.float32)
    means = average_by_group(windows, np.array([0, 1, 0]))
    np.testing.assert_allclose(means, [[0.5**0.5, 0.5**0.5], [0.0, 1.0]], atol=1e-6)
    assert means.dtype == np.float32


def test_groups_stay_within_a_block_and_do_not_depend_on_the_blocks_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("singer_verify.data.windows.MAX_BLOCK_UTTERANCES", 2)
    lengths = np.array([30, 250, 100, 30, 77])
    groups = build_window_groups(lengths, 100)
    assert [sorted(set(group.utterances.tolist())) for group in groups] == [[0], [1], [3], [2], [4]]
    for got, expected in zip(build_window_groups(lengths[:4], 100), groups, strict=False):
        np.testing.assert_array_equal(got.utterances, expected.utterances)


def test_windows_overlap_by_half_and_end_with_the_frames() -> None:
    assert compute_window_starts(250, 100).tolist() == [0, 50, 100, 150]
