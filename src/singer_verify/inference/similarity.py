"""Similarity of generated voices to the singers they are meant to sound like: pairs read, embedded, scored."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric

from singer_verify.audio import AUDIO_SUFFIXES, load_audio
from singer_verify.audio.measures import measure_recording
from singer_verify.corpora.file_search import find_recordings
from singer_verify.corpora.names import find_typed_path
from singer_verify.corpora.tables import read_table
from singer_verify.errors import SingerVerifyError, UtteranceError, require_at_least
from singer_verify.evaluation.scoring.scoring import Scoring, Threshold
from singer_verify.evaluation.similarity import DEFAULT_NUM_RESAMPLES, SimilarityResult, compare_systems
from singer_verify.features.precomputed import PrecomputedFeature
from singer_verify.inference.evaluation import Progress, show_nothing
from singer_verify.inference.model import Model
from singer_verify.inference.scoring_file import load_model_scoring
from singer_verify.inference.verification import verify_embeddings
from singer_verify.inference.windows import RecordingEmbedding

COLUMNS = ("generated", "reference")
MIN_BANDWIDTH_SHARE = 0.7  # of the recipe's bandwidth; upsampled output of a vocoder at half the rate has 0.5
MAX_NAMED = 3  # missing files or names without a match in a message


@dataclass(frozen=True)
class SimilarityPair:
    """A generated recording and one of the singer it is meant to sound like.

    Attributes:
        generated: path of the generated recording.
        reference: path of the singer's own recording.
        system: what generated it; empty where that is not told.
        singer: the target singer; the reference's path where that is not told.
        song: the song; the generated recording's name without suffix where that is not told.
    """

    generated: Path
    reference: Path
    system: str
    singer: str
    song: str


@dataclass(frozen=True)
class PairScore:
    """The result of a pair.

    Attributes:
        pair: the pair.
        score: similarity.
        probability: of the same singer, at the prior; None without a calibration.
        is_same: whether the score reaches the threshold; None without one.
        remarks: sentences on what makes the score doubtful.
    """

    pair: SimilarityPair
    score: float
    probability: float | None
    is_same: bool | None
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class SimilarityReport:
    """Scores of all pairs, and what they say of the systems.

    Attributes:
        pairs: scores, in the order of the pairs; without those of recordings that cannot be used.
        result: systems and their differences.
        threshold: threshold of the decisions; None where the model has none.
        prior: prior of the probabilities; None without a calibration.
        skipped: why recordings could not be used, a sentence each.
        num_skipped: number of pairs left out for want of them.
        provenance: what the model is, and when and by which command they were scored; empty where it is not told.
    """

    pairs: tuple[PairScore, ...]
    result: SimilarityResult
    threshold: Threshold | None
    prior: float | None
    skipped: tuple[str, ...]
    num_skipped: int
    provenance: str = ""


def read_pairs(table: Path) -> list[SimilarityPair]:
    """Read pairs from a table with columns generated and reference, and system, singer and song where it has them.

    Paths are relative to the table's folder, or to the current one.

    Raises:
        SingerVerifyError: no such table, a column that is missing, no rows, or files that do not exist.
    """
    rows = read_table(table, "", COLUMNS)
    if missing := [name for name in COLUMNS if name not in rows]:
        raise SingerVerifyError(
            f"{table}: has no column {missing[0]} (columns found: {', '.join(map(str, rows))}); expected generated and "
            f"reference, and system, singer and song if known."
        )
    if rows.empty:
        raise SingerVerifyError(f"{table}: has a header and no pairs; expected a row for each pair.")
    pairs = []
    for row in rows.to_dict("records"):
        values = {str(name): str(value).strip() for name, value in row.items()}
        generated, reference = (_resolve(table.parent, values[name]) for name in COLUMNS)
        song = values.get("song") or generated.stem
        pairs.append(
            SimilarityPair(generated, reference, values.get("system", ""), values.get("singer") or str(reference), song)
        )
    _require_files(str(table), [file for pair in pairs for file in (pair.generated, pair.reference)])
    return pairs


def _resolve(folder: Path, path: str) -> Path:
    beside = find_typed_path(folder / path)
    return beside if beside.exists() else find_typed_path(Path(path))


def _require_files(where: str, files: Sequence[Path]) -> None:
    missing = list(dict.fromkeys(str(file) for file in files if not file.is_file()))
    if missing:
        more = f" and {len(missing) - MAX_NAMED} more" if len(missing) > MAX_NAMED else ""
        raise SingerVerifyError(
            f"{where}: {', '.join(missing[:MAX_NAMED])}{more}: no such file; paths are relative to the table or to the "
            f"current folder."
        )


def match_folders(generated: Mapping[str, Path], reference: Path) -> list[SimilarityPair]:
    """Pair the recordings of folders with those of the same name, whatever their suffix, in another folder.

    The name includes subfolders. The first of them, where there is one, is the target singer.

    Args:
        generated: the folder of each system.
        reference: folder of the singers' own recordings.

    Raises:
        SingerVerifyError: a folder without recordings, one name twice, or recordings without a match.
    """
    references = _index_recordings(reference)
    pairs, unmatched = [], []
    for system, folder in generated.items():
        for name, file in _index_recordings(folder).items():
            if name not in references:
                unmatched.append(str(file))
                continue
            parts = Path(name).parts
            singer = parts[0] if len(parts) > 1 else str(references[name])
            pairs.append(SimilarityPair(file, references[name], system, singer, Path(name).name))
    if unmatched:
        more = f" and {len(unmatched) - MAX_NAMED} more" if len(unmatched) > MAX_NAMED else ""
        raise SingerVerifyError(
            f"{', '.join(unmatched[:MAX_NAMED])}{more}: no recording of that name in {reference}; give a table with "
            f"the columns generated and reference instead."
        )
    return pairs


def _index_recordings(folder: Path) -> dict[str, Path]:
    """Index the recordings of a folder by their path in it, without suffix."""
    if not folder.is_dir():
        raise SingerVerifyError(f"{folder}: no such folder.")
    found: dict[str, Path] = {}
    for file in find_recordings(folder, AUDIO_SUFFIXES):
        name = file.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise SingerVerifyError(f"{file}: has the name of {found[name]}; expected one recording of each name.")
        found[name] = file
    if not found:
        raise SingerVerifyError(f"{folder}: holds no recordings.")
    return found


def compute_similarity(
    model: Model,
    pairs: Sequence[SimilarityPair],
    scoring: Scoring | None = None,
    prior: float | None = None,
    num_resamples: int = DEFAULT_NUM_RESAMPLES,
    seed: int = 0,
    progress: Progress = show_nothing,
) -> SimilarityReport:
    """Score pairs of recordings, and summarise them by system.

        report = compute_similarity(load_model("runs/first"), read_pairs(Path("pairs.csv")))
        report.result.systems[0].score      # Estimate(value=..., low=..., high=...)

    Args:
        model: the model.
        pairs: pairs, see `read_pairs` and `match_folders`.
        scoring: scoring of the embeddings; None takes the model's own.
        prior: prior probability of the same singer, see `verify`.
        num_resamples: number of resamples of singers and songs.
        seed: seed of the resamples.
        progress: wrapper that reports the progress.

    Raises:
        SingerVerifyError: no pairs, none that can be used, or a prior without a calibration.
    """
    require_at_least(1, pairs=len(pairs))
    require_at_least(20, num_resamples=num_resamples)
    scoring = load_model_scoring(model) if scoring is None else scoring
    files = list(dict.fromkeys(file for pair in pairs for file in (pair.generated, pair.reference)))
    embedded: dict[Path, RecordingEmbedding] = {}
    skipped: list[str] = []
    results = model.embed_many(files)
    for file, (_, outcome) in progress(zip(files, results, strict=True), "Embedding", total=len(files)):
        if isinstance(outcome, UtteranceError):
            skipped.append(str(outcome))
        else:
            embedded[file] = outcome
    usable = [pair for pair in pairs if pair.generated in embedded and pair.reference in embedded]
    if not usable:
        raise SingerVerifyError(f"none of {len(pairs)} pairs can be used: {skipped[0]}")
    bandwidths = _describe_bandwidths(model, list(embedded), progress)
    scores = []
    for pair in usable:
        sides = embedded[pair.generated], embedded[pair.reference]
        verification = verify_embeddings(scoring, *sides, prior)
        remarks = (
            *verification.remarks,
            *(bandwidths[file] for file in (pair.generated, pair.reference) if file in bandwidths),
        )
        scores.append(PairScore(pair, verification.score, verification.probability, verification.is_same, remarks))
    threshold = verification.threshold
    result = compare_systems(
        np.array([score.score for score in scores]),
        [pair.system for pair in usable],
        [pair.singer for pair in usable],
        [pair.song for pair in usable],
        probabilities=None
        if verification.probability is None
        else np.array([score.probability for score in scores], float),
        threshold=None if threshold is None else threshold.score,
        num_resamples=num_resamples,
        seed=seed,
    )
    return SimilarityReport(
        tuple(scores), result, threshold, verification.prior, tuple(skipped), len(pairs) - len(usable)
    )


def _describe_bandwidths(model: Model, files: Sequence[Path], progress: Progress) -> dict[Path, str]:
    """Say which recordings hold less of the spectrum than the recipe reads."""
    if isinstance(model.feature, PrecomputedFeature):
        return {}
    rate, needed_hz = model.feature.sample_rate, model.feature.bandwidth_hz
    said = {}
    for file in progress(files, "Measuring bandwidth", total=len(files)):
        found_hz = measure_recording(load_audio(file, rate), rate).bandwidth_hz
        if found_hz < MIN_BANDWIDTH_SHARE * needed_hz:
            said[file] = (
                f"{file}: ends at {found_hz / 1000:.1f} kHz, and the model hears up to {needed_hz / 1000:.1f} kHz; its "
                f"scores tell the bandwidth too."
            )
    return said


class SingerSimilarity(Metric):
    """Mean similarity of generated samples to samples of their target singers, as a metric of another training.

        metric = SingerSimilarity(load_model("runs/first"))
        metric.update(generated, reference)     # (batch, samples) each, at the model's sample rate
        metric.compute()                        # mean cosine, in [-1, 1]

    Args:
        model: the model, which stays as it is.
        sample_rate: sample rate of the samples in Hz; None is the model's own.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    total: Tensor
    num_pairs: Tensor

    def __init__(self, model: Model, sample_rate: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._embed = model.embed
        self._sample_rate = sample_rate
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("num_pairs", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, generated: Float[Tensor, "batch samples"], reference: Float[Tensor, "rows samples_"]) -> None:
        """Add pairs: row by row, or every generated row with the one reference there is.

        Raises:
            SingerVerifyError: numbers of rows that do not pair.
            UtteranceError: samples without a voice, or otherwise unusable.
        """
        if len(reference) not in (1, len(generated)):
            raise SingerVerifyError(
                f"{len(generated)} generated and {len(reference)} reference rows; expected as many, or one reference."
            )
        rows = [self._embed(samples, self._sample_rate) for samples in (generated, reference)]
        cosines = (rows[0] * rows[1]).sum(dim=1)
        self.total += cosines.double().sum().to(self.total.device)
        self.num_pairs += len(cosines)

    def compute(self) -> Tensor:
        """Return the mean cosine of all pairs; NaN without any."""
        return (self.total / self.num_pairs).float()


def find_worst_pairs(scores: Iterable[PairScore], number: int) -> list[PairScore]:
    """Return the pairs least like each other, worst first, to listen to."""
    return sorted(scores, key=lambda score: score.score)[:number]
