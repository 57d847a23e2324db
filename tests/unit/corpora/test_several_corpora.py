"""Several corpora train as one: whose singers come together, how often, and which pairs are scored."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from support.audio import MakeCorpus
from support.train_process import train

from singer_verify.corpora.corpus import compute_corpus_indices, read_corpora
from singer_verify.data.sampler import CorpusSchedule, SingerSampler
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.trials.trial_list import build_all_pairs


@pytest.fixture
def two(make_corpus: MakeCorpus, tmp_path: Path) -> list[Path]:
    """Corpora `small` of 3 and `large` of 5 training singers."""
    return [
        make_corpus(train=number, val=2, utterances=3).rename(tmp_path / name)
        for number, name in ((3, "small"), (5, "large"))
    ]


def test_singers_are_named_after_their_corpus(two: list[Path]) -> None:
    corpus = read_corpora(two)
    singers = corpus.splits["train"].singers
    assert singers == (*(f"large/train_singer{n}" for n in range(5)), *(f"small/train_singer{n}" for n in range(3)))
    assert all((corpus.root / utterance.path).exists() for utterance in corpus.splits["val"].utterances)
    assert compute_corpus_indices(singers).tolist() == [0] * 5 + [1] * 3
    assert read_corpora(two[::-1]).splits == corpus.splits
    assert compute_corpus_indices(read_corpora(two[:1]).splits["train"].singers).tolist() == [0] * 3


def test_refuses_what_cannot_train_together(two: list[Path], make_ready_corpus: MakeCorpus, tmp_path: Path) -> None:
    with pytest.raises(SingerVerifyError, match="two corpora are in folders named small"):
        read_corpora([two[0], (tmp_path / "other/small")])
    with pytest.raises(SingerVerifyError, match="ready contains precomputed features"):
        read_corpora([two[0], make_ready_corpus()])
    with pytest.raises(SingerVerifyError, match="expected the folder of a corpus"):
        read_corpora([])


@pytest.mark.parametrize(
    ("singers", "sizes"), [([20, 5], [4, 4]), ([1000, 6], [64, 6]), ([3, 3, 3], [3, 2, 3]), ([7], [3])]
)
def test_singers_of_all_corpora_are_used_equally_often_over_any_stretch(singers: list[int], sizes: list[int]) -> None:
    turns = CorpusSchedule(singers, sizes)
    seen: Counter[int] = Counter()
    for step in range(2000):
        corpus, earlier = turns.locate_batch(step)
        assert earlier == seen[corpus]
        seen[corpus] += 1
        uses = [seen[number] * size / count for number, (count, size) in enumerate(zip(singers, sizes, strict=True))]
        assert max(uses) - min(uses) <= 1 + max(size / count for size, count in zip(sizes, singers, strict=True))


def test_a_batch_holds_singers_of_one_corpus() -> None:
    counts = [4, 5, 3, 6, 4, 3, 5]
    corpora = np.array([0, 0, 0, 0, 0, 1, 1])
    index = np.repeat(np.arange(7), counts)

    def sampler() -> SingerSampler:
        return SingerSampler(index, np.full(index.size, 50), 3, 2, 20, seed=7, corpus_index=corpora)

    plans = [sampler().plan_batch(step) for step in range(80)]
    assert all(len(set(corpora[plan.singers])) == 1 for plan in plans)
    assert {len(plan.singers) for plan in plans} == {2, 3}
    assert all((index[plan.utterances] == plan.singers[:, None]).all() for plan in plans)
    uses = Counter(int(singer) for plan in plans for singer in plan.singers)
    assert max(uses.values()) - min(uses.values()) <= 2
    again = sampler()
    for step in (79, 3, 40):
        np.testing.assert_array_equal(again.plan_batch(step).utterances, plans[step].utterances)
        np.testing.assert_array_equal(again.plan_batch(step).starts, plans[step].starts)


def test_one_corpus_has_the_batches_it_always_had() -> None:
    index = np.repeat(np.arange(5), 4)
    alone, named = (
        SingerSampler(index, np.full(20, 50), 3, 2, 20, 1, corpora) for corpora in (None, np.zeros(5, np.int64))
    )
    for step in range(20):
        np.testing.assert_array_equal(alone.plan_batch(step).utterances, named.plan_batch(step).utterances)


def test_trials_stay_within_a_corpus() -> None:
    trials = build_all_pairs(np.array([0, 0, 1, 2, 3]), np.array([0, 0, 0, 1, 1]))
    assert list(zip(trials.left.tolist(), trials.right.tolist(), strict=True)) == [(0, 1), (0, 2), (1, 2), (3, 4)]
    assert trials.is_target.tolist() == [True, False, False, False]


def test_trains_on_two_corpora_and_continues(two: list[Path], tmp_path: Path) -> None:
    import torch

    roots = f"data.root=[{','.join(str(root) for root in two)}]"
    (two[0] / "corpus.csv").write_text("utterance,gender\n")
    whole = train(two[0], roots, f"hydra.run.dir={tmp_path / 'whole'}", "data.singers_per_batch=4")
    part = train(two[0], roots, f"hydra.run.dir={tmp_path / 'part'}", "data.singers_per_batch=4", "trainer.max_steps=2")
    last = part / "checkpoints/last.ckpt"
    on = train(two[0], roots, f"hydra.run.dir={tmp_path / 'on'}", "data.singers_per_batch=4", f"ckpt_path={last}")
    ends = [torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for run in (whole, on)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
