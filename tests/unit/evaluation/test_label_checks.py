"""Checks of labels on embeddings whose singers are known: wrong ones stand out, right ones do not."""

import numpy as np
import pytest

from singer_verify.evaluation.label_checks import (
    UNKNOWN,
    check_labels,
    find_best_others,
    find_limit,
    find_same_singers,
    find_voice_change,
    iterate_left_out_means,
    simulate_wrong_labels,
)
from singer_verify.evaluation.scoring.scoring import COSINE

NUM_SINGERS, NUM_SONGS, TAKES = 6, 4, 5
SINGERS = np.repeat(np.arange(NUM_SINGERS), NUM_SONGS * TAKES)
SONGS = np.tile(np.repeat(np.arange(NUM_SONGS), TAKES), NUM_SINGERS) + NUM_SONGS * SINGERS


def draw(singers: np.ndarray, spread: float = 0.5, seed: int = 0) -> np.ndarray:
    """Rows around a direction for each singer."""
    generator = np.random.default_rng(seed)
    voices = np.random.default_rng(100).standard_normal((20, 16))
    rows = voices[singers] + spread * generator.standard_normal((len(singers), 16))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def no_windows(rows: np.ndarray) -> list[np.ndarray]:
    return [np.zeros((0, rows.shape[1]), np.float32)] * len(rows)


def test_means_leave_the_song_out() -> None:
    rows = np.eye(5, dtype=np.float32)
    singers, songs = np.array([0, 0, 0, 1, 2]), np.array([0, 0, 1, 2, 3])
    by_row = {int(row): left for left in iterate_left_out_means(rows, singers, songs) for row in left.rows}
    np.testing.assert_allclose(by_row[0].means[0], rows[2])
    np.testing.assert_allclose(by_row[2].means[0], (rows[0] + rows[1]) / np.sqrt(2))
    np.testing.assert_allclose(by_row[2].means[1], rows[3])  # who has sung nothing else stays
    assert by_row[2].is_by_song
    assert not by_row[3].is_by_song
    assert by_row[3].is_known.tolist() == [True, False, True]  # nothing else of its own singer
    assert not by_row[3].means[1].any()


def test_swapped_labels_are_found() -> None:
    rows, wrong = draw(SINGERS), np.array([3, 47, 90])
    labels = SINGERS.copy()
    labels[wrong] = (labels[wrong] + 1) % NUM_SINGERS
    checks = check_labels(rows, no_windows(rows), labels, SONGS, COSINE)
    others, margins = find_best_others(checks.scores, labels, [])
    limit = find_limit(margins, simulate_wrong_labels(checks.scores, labels), 0.02)
    assert set(np.flatnonzero(margins <= min(limit.value, 0.0))) == set(wrong)
    assert (others[wrong] == SINGERS[wrong]).all()
    assert limit.faulty_share == pytest.approx(3 / len(rows), abs=0.03)


def test_a_song_that_vouches_for_itself() -> None:
    """All takes of a song are filed under another singer: only leaving out the song shows it."""
    rows, wrong = draw(SINGERS), np.flatnonzero(SONGS == 5)
    labels = np.where(SONGS == 5, 3, SINGERS)
    checks = check_labels(rows, no_windows(rows), labels, SONGS, COSINE)
    _, margins = find_best_others(checks.scores, labels, [])
    assert (margins[wrong] < 0).all()
    assert (np.delete(margins, wrong) > 0).all()


def test_the_only_recording_of_a_singer_cannot_be_checked() -> None:
    singers, songs = np.append(SINGERS, NUM_SINGERS), np.append(SONGS, 99)
    rows = draw(singers)
    checks = check_labels(rows, no_windows(rows), singers, songs, COSINE)
    others, margins = find_best_others(checks.scores, singers, [])
    assert others[-1] == UNKNOWN
    assert np.isnan(margins[-1])
    assert not np.isnan(margins[:-1]).any()


def test_one_singer_under_two_names() -> None:
    labels = np.where((SINGERS == 2) & (SONGS % 2 == 0), NUM_SINGERS, SINGERS)
    rows = draw(SINGERS)
    checks = check_labels(rows, no_windows(rows), labels, SONGS, COSINE)
    (pair,) = find_same_singers(checks.scores, labels, 0.05)
    assert (pair.first, pair.second) == (2, NUM_SINGERS)
    assert pair.confusion > 0.3
    _, margins = find_best_others(checks.scores, labels, [pair])
    assert (margins > 0).all()  # whose recordings are not called wrong for it
    assert find_same_singers(check_labels(rows, no_windows(rows), SINGERS, SONGS, COSINE).scores, SINGERS, 0.5) == []


def test_a_change_of_voice() -> None:
    scores = np.array([[0.9, 0.1, 0.2]] * 3 + [[0.1, 0.2, 0.8]] * 4)
    change = find_voice_change(scores)
    assert (change.window, change.before, change.after) == (3, 0, 2)
    assert change.gain == pytest.approx((3 * 0.9 + 4 * 0.8 - (3 * 0.2 + 4 * 0.8)) / 7)
    assert find_voice_change(np.array([[0.9, 0.1, 0.2]] * 6)).gain < 0.0  # one singer is better than two


def test_the_change_is_the_best_of_all() -> None:
    scores = np.random.default_rng(0).random((7, 4))
    found = find_voice_change(scores)
    tried = [
        scores[:w, a].sum() + scores[w:, b].sum() for w in range(2, 6) for a in range(4) for b in range(4) if a != b
    ]
    assert found.gain == pytest.approx((max(tried) - scores.sum(axis=0).max()) / 7)


def test_second_voices_are_found() -> None:
    generator = np.random.default_rng(1)
    windows = [draw(np.full(8, singer), 0.8, seed) for seed, singer in enumerate(SINGERS)]
    two = generator.choice(len(SINGERS), 6, replace=False)
    for row in two:
        windows[row] = np.concatenate([windows[row][:4], draw(np.full(4, (SINGERS[row] + 2) % NUM_SINGERS), 0.8, 999)])
    checks = check_labels(draw(SINGERS), windows, SINGERS, SONGS, COSINE)
    gains = np.array([change.gain for change in checks.changes if change is not None])
    limit = find_limit(-gains, -np.array(checks.joined_gains), 0.02)
    named = np.flatnonzero(-gains <= limit.value)
    assert set(two) <= set(named)
    assert len(named) <= len(two) + 0.06 * len(windows)


def test_limits_keep_to_the_false_alarms() -> None:
    generator = np.random.default_rng(2)
    sound, faulty = generator.normal(2.0, 1.0, 20_000), generator.normal(-2.0, 1.0, 20_000)
    for num_faulty in (0, 400, 2000):
        limit = find_limit(np.concatenate([sound, faulty[:num_faulty]]), faulty, 0.05)
        assert (sound <= limit.value).mean() == pytest.approx(0.05, abs=0.01)
        assert limit.faulty_share == pytest.approx(num_faulty / (20_000 + num_faulty), abs=0.01)
        named = limit.precision[np.concatenate([sound, faulty[:num_faulty]]).argmax()]  # of all, as many as are faulty
        assert named == pytest.approx(limit.faulty_share)
    lowest = limit.precision[20_000 + faulty[:2000].argmin()]
    assert lowest > 0.9
    assert find_limit(np.zeros(0), faulty, 0.05).value == -np.inf


def test_a_corpus_without_wrong_labels_has_none_to_refuse() -> None:
    rows = draw(SINGERS, 1.0)  # singers that are easily confused
    scores = check_labels(rows, no_windows(rows), SINGERS, SONGS, COSINE).scores
    _, margins = find_best_others(scores, SINGERS, [])
    limit = find_limit(margins, simulate_wrong_labels(scores, SINGERS), 0.05)
    assert (margins <= min(limit.value, 0.0)).any()
    assert (limit.precision[margins <= limit.value] < 0.5).all()
