"""Cells compared by corpus: over folds, and on unseen corpora; and what is said of the best of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from singer_verify.evaluation.metrics.verification import verify_all_pairs
from singer_verify.reports.leaderboard.text import build_corpus_table, build_winner_notes, format_winner
from singer_verify.sweeps import comparison
from singer_verify.sweeps.cells import FinishedRun, SweepCell
from singer_verify.sweeps.comparison import Leaderboard, compare_cells
from singer_verify.sweeps.corpus_comparison import Winner, build_corpus_trials
from singer_verify.sweeps.judged_runs import JudgedRuns
from singer_verify.sweeps.shared_trials import build_shared_trials
from singer_verify.sweeps.split_embeddings import SplitEmbeddings

NUM_SINGERS, NUM_UTTERANCES = 12, 5
SINGERS = np.repeat([f"{'a' if number < 6 else 'b'}/s{number:02d}" for number in range(NUM_SINGERS)], NUM_UTTERANCES)
BLOCKS = np.repeat(np.arange(NUM_SINGERS) // 3, NUM_UTTERANCES)  # two folds of each corpus
NOISES = {"features=mel40": 1.3, "features=close": 1.25, "features=good": 0.2, "features=bad": 3.0}


def make_embeddings(noise: float, seed: int, singers: np.ndarray = SINGERS) -> SplitEmbeddings:
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((NUM_SINGERS, 8)).repeat(NUM_UTTERANCES, axis=0)
    rows = rows + noise * np.random.default_rng(seed).standard_normal(rows.shape)
    paths = np.array([f"{singer}/{number}" for number, singer in enumerate(singers)])
    return SplitEmbeddings(rows / np.linalg.norm(rows, axis=1, keepdims=True), paths, singers, 1000, 40)


def make_cells(names: list[str]) -> list[SweepCell]:
    return [
        SweepCell(
            frozenset({name}),
            (name,),
            tuple(FinishedRun(Path(f"{name}/{seed}"), frozenset({name}), seed, {}, 60.0) for seed in (1, 2)),
        )
        for name in names
    ]


def judge(noises: dict[str, float], blocks: np.ndarray | None, singers: np.ndarray = SINGERS) -> JudgedRuns:
    cells = make_cells(list(noises))
    embeddings = {
        str(run.path): make_embeddings(noises[cell.name], run.seed, singers) for cell in cells for run in cell.runs
    }
    return JudgedRuns(cells, embeddings, embeddings, "folds", None, blocks)


def build_board(judged: JudgedRuns, unseen: tuple[JudgedRuns, ...] = (), num_resamples: int = 300) -> Leaderboard:
    singers = next(iter(judged.embeddings.values())).singers
    shared = build_shared_trials(singers, {}, num_resamples, judged.blocks)
    corpora = build_corpus_trials(judged, unseen, num_resamples)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "NUM_CONDITION_RESAMPLES", 5)
        return compare_cells(judged.cells, judged.embeddings, shared, judged.cells[0], judged.split, corpora)


@pytest.fixture(scope="module")
def board() -> Leaderboard:
    return build_board(judge(NOISES, BLOCKS))


def test_a_corpus_is_evaluated_on_its_own_trials(board: Leaderboard) -> None:
    assert [(corpus.name, corpus.num_singers, corpus.is_unseen) for corpus in board.corpora] == [
        ("a", 6, False),
        ("b", 6, False),
    ]
    for corpus in board.corpora:
        chosen = np.char.startswith(SINGERS, corpus.name)
        assert corpus.num_targets == 6 * 10
        assert corpus.num_nontargets == 2 * 3 * 25
        for entry in board.entries:
            numbers = np.unique(SINGERS[chosen], return_inverse=True)[1]
            plain = [
                verify_all_pairs(make_embeddings(NOISES[entry.name], seed).embeddings[chosen], numbers, BLOCKS[chosen])
                for seed in (1, 2)
            ]
            eer = entry.corpora[corpus.name].eer
            assert eer.value == pytest.approx(np.mean([result.metrics["eer"].value for result in plain]), abs=1e-12)
            assert eer.low <= eer.value <= eer.high


def test_one_fold_is_plain_evaluation() -> None:
    whole, folded = (build_board(judge(NOISES, blocks)) for blocks in (None, np.zeros(len(SINGERS), np.int64)))
    for plain, pooled in zip(whole.entries, folded.entries, strict=True):
        assert (plain.name, plain.metrics, plain.difference) == (pooled.name, pooled.metrics, pooled.difference)
        assert plain.seed_eers == pooled.seed_eers


def test_names_of_singers_tell_nothing() -> None:
    """Error rates and their order stay; intervals only because other singers are drawn first."""
    generator = np.random.default_rng(3)
    renamed = {
        name: f"a/{number:03d}" for name, number in zip(np.unique(SINGERS), generator.permutation(12), strict=True)
    }
    alone = np.char.replace(SINGERS, "b/", "a/")
    boards = [
        build_board(judge(NOISES, None, names), num_resamples=1000)
        for names in (alone, np.array([renamed[name] for name in SINGERS]))
    ]
    for first, second in zip(boards[0].entries, boards[1].entries, strict=True):
        assert first.name == second.name
        assert first.eer.value == pytest.approx(second.eer.value, abs=1e-12)
        assert first.eer.low == pytest.approx(second.eer.low, abs=0.04)
        assert first.eer.high == pytest.approx(second.eer.high, abs=0.04)


def test_differences_on_a_corpus_are_a_family_of_their_own(board: Leaderboard) -> None:
    """Holm's correction by hand: the k-th smallest of m p values times m - k + 1, never falling."""
    for name in ("a", "b"):
        found = [entry.corpora[name].difference for entry in board.entries if entry.name != board.baseline]
        ranked = sorted((difference.p, difference.p_holm) for difference in found)
        expected, largest = [], 0.0
        for rank, (p, _) in enumerate(ranked):
            largest = max(largest, min(1.0, p * (len(ranked) - rank)))
            expected.append(largest)
        assert [p_holm for _, p_holm in ranked] == pytest.approx(expected)
    baseline = next(entry for entry in board.entries if entry.name == board.baseline)
    assert all(result.difference is None for result in baseline.corpora.values())


def test_an_unseen_corpus_is_a_column_beside_the_others(board: Leaderboard) -> None:
    singers = np.char.replace(np.char.replace(SINGERS, "a/", ""), "b/", "")
    unseen = replace(judge(NOISES, None, singers), split="unseen-makam")
    wider = build_board(judge(NOISES, BLOCKS), (unseen,))
    assert [(corpus.name, corpus.is_unseen) for corpus in wider.corpora] == [("a", 0), ("b", 0), ("makam", 1)]
    assert [entry.eer for entry in wider.entries] == [entry.eer for entry in board.entries]
    alone = build_board(judge(NOISES, None, singers))
    assert {entry.name: entry.corpora["makam"].eer for entry in wider.entries} == {
        entry.name: entry.eer for entry in alone.entries
    }
    headings, rows = build_corpus_table(wider)
    assert headings[:4] == ["features", "a: EER %", "a: difference", "a: p"]
    assert {len(row) for row in rows} == {10}


def test_the_best_is_said_to_be_the_best_where_it_is(board: Leaderboard) -> None:
    winner = board.winners[0]
    assert (winner.corpus, winner.name) == ("", "features=good")
    assert format_winner(board, winner) == "good is better than all 3 others at 95 %."
    assert [winner.corpus for winner in board.winners] == ["", "a", "b"]
    close = build_board(judge({name: NOISES[name] for name in ("features=mel40", "features=close")}, BLOCKS))
    (said, *_) = build_winner_notes(close)
    assert said == "mel40 cannot be told from the best, close, at 95 %."


@pytest.mark.parametrize(
    ("corpus", "p_holm", "said"),
    [
        ("", {"mel40": 0.2, "close": 0.5, "bad": 0.3}, "None of the other 3 can be told from the best, good, at 95 %."),
        ("a", {"mel40": 0.2, "close": 0.5, "bad": 1.0}, "On a, none of the other 3 can be told from the best, good,"),
        ("", {"mel40": 0.2, "close": 0.5, "bad": 0.01}, "close and mel40 cannot be told from the best, good, at 95 %; "
         "the other one is worse."),
        ("b", {"mel40": 0.05, "close": 0.04, "bad": 0.01}, "On b, mel40 cannot be told from the best, good, at 95 %; "
         "the other 2 are worse."),
    ],
)  # fmt: skip
def test_cells_that_cannot_be_told_from_the_best_are_named(
    board: Leaderboard, corpus: str, p_holm: dict[str, float], said: str
) -> None:
    winner = Winner(corpus, "features=good", {f"features={name}": p for name, p in p_holm.items()})
    assert format_winner(board, winner).startswith(said)
