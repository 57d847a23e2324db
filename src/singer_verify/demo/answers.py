"""What the page shows when it is asked: pictures of clips, verdicts, candidates; or one sentence that says why not."""

import filecmp
from collections.abc import Callable
from functools import wraps
from threading import Lock

from singer_verify.demo.checks import Limits, checked
from singer_verify.demo.clips import read_clip
from singer_verify.demo.panels import panel
from singer_verify.demo.pictures import as_data_uri, clip_figure
from singer_verify.demo.scale import Scale, scale_of
from singer_verify.demo.words import (
    SAME_CLIP,
    candidate_words,
    decision_words,
    percent,
    prior_words,
    probability_words,
    score_words,
    threshold_words,
    without_paths,
)
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.scoring import Scoring
from singer_verify.features.ready import Ready
from singer_verify.recognition import Candidate, Embedder, Gallery, verify

MOST_CANDIDATES = 10  # shown
TONES = {True: "same", False: "different", None: "open"}


def on_the_page(answer: Callable[..., str]) -> Callable[..., str]:
    """A refusal takes the answer's place on the page. Whoever asks meanwhile waits: a model takes all cores."""

    @wraps(answer)
    def answered(self: "Answers", *uploads: str | None) -> str:
        try:
            with self.turn:
                return answer(self, *uploads)
        except SingerVerifyError as error:
            return panel("refusal", sentence=without_paths(str(error), names_of(*uploads)))

    return answered


def names_of(*uploads: str | None) -> dict[str, str]:
    """What clips are called on the page."""
    is_one = len(set(uploads)) == 1  # the same file twice lies in one place
    names = ("the clip",) * len(uploads) if is_one else ("the first clip", "the second clip")
    return {upload: name for upload, name in zip(uploads, names, strict=True) if upload is not None}


class Answers:
    """Of one model. Every answer is HTML.

    Args:
        embedder: the model.
        scoring: scores and decides.
        limits: of a clip.
        gallery: of known singers; None where there is none, and who sings is not asked.

    Raises:
        SingerVerifyError: the model takes ready features, which no recording has; or the gallery is empty.
    """

    def __init__(self, embedder: Embedder, scoring: Scoring, limits: Limits, gallery: Gallery | None = None) -> None:
        if isinstance(embedder.feature, Ready):
            raise SingerVerifyError("the model takes ready features, which no recording has; give a model of audio.")
        if gallery is not None and not gallery.singers:
            raise SingerVerifyError("the gallery is empty; singer-verify enrol adds singers.")
        self.embedder, self.scoring, self.limits, self.gallery = embedder, scoring, limits, gallery
        self.turn = Lock()

    @on_the_page
    def show(self, upload: str | None) -> str:
        """The picture of a clip; nothing, where there is no clip."""
        if upload is None:
            return ""
        clip = read_clip(checked(upload, "", self.limits), self.embedder)
        feature = self.embedder.feature
        figure = clip_figure(clip.samples, feature.sample_rate, clip.frames, clip.times_s, feature.hop_ms)
        return panel(
            "clip",
            picture=as_data_uri(figure),
            seconds=f"{len(clip.samples) / feature.sample_rate:.1f}",
            num_frames=len(clip.frames),
            num_bins=feature.num_bins,
            is_whole=clip.is_whole,
            is_normalised=self.embedder.normalisation.name != "none",
        )

    @on_the_page
    def compare(self, left: str | None, right: str | None) -> str:
        """Whether two clips are of one singer."""
        first = checked(left, "Record or upload the first clip, too.", self.limits)
        second = checked(right, "Record or upload the second clip, too.", self.limits)
        verdict = verify(self.embedder, self.scoring, first, second)
        scale, threshold = scale_of(self.scoring), verdict.threshold
        remarks = [SAME_CLIP] if filecmp.cmp(first, second, shallow=False) else []
        remarks += [without_paths(remark, names_of(left, right)) for remark in verdict.remarks]
        return panel(
            "verdict",
            tone=TONES[verdict.is_same],
            decision=decision_words(verdict.is_same),
            score_words=score_words(verdict.score, threshold),
            score_place=scale.place(verdict.score),
            threshold_place=None if threshold is None else scale.place(threshold.score),
            scale=scale,
            probability_words=probability_words(verdict.probability, self.scoring.calibration),
            remarks=remarks,
        )

    @on_the_page
    def identify(self, upload: str | None) -> str:
        """Who of the gallery sings."""
        assert self.gallery is not None
        path = checked(upload, "Record or upload a clip first.", self.limits)
        found = self.gallery.identify(path)
        scale, shown = scale_of(self.scoring), found.candidates[:MOST_CANDIDATES]
        return panel(
            "candidates",
            tone=TONES[found.is_known],
            decision=candidate_words(shown[0].singer, found.is_known),
            rows=[_row(candidate, scale) for candidate in shown],
            num_others=len(found.candidates) - len(shown),
            has_probabilities=found.prior is not None,
            threshold_words=threshold_words(found),
            probability_words=prior_words(self.scoring.calibration),
            remarks=[without_paths(remark, names_of(upload)) for remark in found.remarks],
        )


def _row(candidate: Candidate, scale: Scale) -> dict[str, object]:
    """Of the table of candidates."""
    return {
        "singer": candidate.singer,
        "score": f"{candidate.score:.3f}",
        "place": scale.place(candidate.score),
        "threshold_place": None if candidate.threshold is None else scale.place(candidate.threshold),
        "probability": "" if candidate.probability is None else percent(candidate.probability),
        "is_enough": bool(candidate.is_over),
    }
