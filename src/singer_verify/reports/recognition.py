"""What the commands that say who sings print."""

from rich.table import Table
from rich.text import Text

from singer_verify.evaluation.scoring import Threshold
from singer_verify.recognition.identification import Identification
from singer_verify.recognition.verification import Verdict

DECISIONS = {True: "the same singer", False: "different singers", None: "none: no threshold is known"}


def verdict_table(verdict: Verdict) -> Table:
    """What `singer-verify verify` prints."""
    table = Table(show_header=False)
    table.add_row("score", f"{verdict.score:.4f}")
    table.add_row("threshold", Text(threshold_words(verdict.threshold)))
    table.add_row("decision", DECISIONS[verdict.is_same])
    if verdict.probability is not None:
        ratio = f"log-likelihood ratio {verdict.log_likelihood_ratio:.2f}"
        table.add_row(
            "probability", f"{verdict.probability:.3f} of the same singer at a prior of {verdict.prior:g} ({ratio})"
        )
    for remark in verdict.remarks:
        table.add_row("remark", Text(remark))
    return table


def identification_lines(found: Identification, recording: str) -> list[str]:
    """Who sings, from which score on one would be taken for known, and what makes it doubtful."""
    who = {True: found.best, False: "an unknown singer", None: "no threshold is known, so this may be anyone"}
    return [f"{recording}: {who[found.is_known]}", f"threshold {threshold_words(found.threshold)}", *found.remarks]


def identification_table(found: Identification) -> Table:
    """All known singers, the likeliest first; those at or above their threshold in bold."""
    meaning = None if found.prior is None else f"probability: of each singer by itself, at a prior of {found.prior:g}"
    table = Table(caption=meaning)
    names = ["rank", "singer", "recordings", "score"]
    names += [] if found.threshold is None else ["threshold"]
    names += [] if found.prior is None else ["probability"]
    for name in names:
        table.add_column(name, justify="left" if name == "singer" else "right")
    for rank, each in enumerate(found.candidates, start=1):
        numbers = [str(each.num_recordings), f"{each.score:.4f}"]
        numbers += [] if each.threshold is None else [f"{each.threshold:.4f}"]
        numbers += [] if each.probability is None else [f"{each.probability:.3f}"]
        table.add_row(str(rank), Text(each.singer), *numbers, style="bold" if each.is_over else None)
    return table


def gallery_table(recordings: dict[str, list[str]], gallery: str) -> Table:
    """What `singer-verify gallery` prints."""
    table = Table(title=Text(gallery), show_lines=True)
    table.add_column("singer")
    table.add_column("recordings", overflow="fold")
    for singer, paths in recordings.items():
        table.add_row(Text(singer), Text("\n".join(paths)))
    return table


def threshold_words(threshold: Threshold | None) -> str:
    return "unknown; give one with --threshold" if threshold is None else f"{threshold.score:.4f} ({threshold.origin})"
