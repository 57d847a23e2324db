"""What the page shows when it is asked: pictures of clips, verdicts, candidates; or one sentence that says why not."""

import filecmp
from collections.abc import Callable
from functools import wraps

from singer_verify.demo.checks import Limits, checked
from singer_verify.demo.clips import read_clip
from singer_verify.demo.panels import panel
from singer_verify.demo.pictures import as_data_uri, clip_figure
from singer_verify.demo.scale import scale_of
from singer_verify.demo.words import SAME_CLIP, decision_words, probability_words, score_words, without_paths
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.scoring import Scoring
from singer_verify.recognition import Embedder
from singer_verify.recognition.gallery import Gallery
from singer_verify.recognition.verification import verify

TONES = {True: "same", False: "different", None: "open"}


def in_one_sentence(answer: Callable[..., str]) -> Callable[..., str]:
    """A refusal takes the answer's place on the page."""

    @wraps(answer)
    def answered(self: "Answers", *uploads: str | None) -> str:
        try:
            return answer(self, *uploads)
        except SingerVerifyError as error:
            return panel("refusal", sentence=without_paths(str(error), names_of(*uploads)))

    return answered


def names_of(*uploads: str | None) -> dict[str, str]:
    """What clips are called on the page."""
    names = ("the clip",) if len(uploads) == 1 else ("the first clip", "the second clip")
    return {upload: name for upload, name in zip(uploads, names, strict=True) if upload is not None}


class Answers:
    """Of one model. Every answer is HTML.

    Args:
        embedder: the model.
        scoring: scores and decides.
        limits: of a clip.
        gallery: of known singers; None where there is none.
    """

    def __init__(self, embedder: Embedder, scoring: Scoring, limits: Limits, gallery: Gallery | None = None) -> None:
        self.embedder, self.scoring, self.limits, self.gallery = embedder, scoring, limits, gallery

    @in_one_sentence
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
        )

    @in_one_sentence
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
            probability_words=probability_words(verdict.probability, self.scoring),
            remarks=remarks,
        )
