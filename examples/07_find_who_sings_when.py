"""Who sings when in a recording that nobody labelled?

To know the truth, the recording is joined from three singers of the example data who take turns; with a recording of
your own, leave that part and the error rates out. The error rate needs the extra `diarization` (pyannote.metrics);
without it, the script says so and goes on.

    python examples/07_find_who_sings_when.py [MODEL] [--out FOLDER]

MODEL is a run folder or a checkpoint; without one, the packaged model is taken. Prints the number of singers found
and the diarization error rate three times: the number of singers estimated; given; and with a gallery, in which the
singers are enrolled by other recordings. Writes the recording, the true and the found turns as RTTM, and a figure of
each. The page about it is docs/diarization.md.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from singer_verify import Gallery, load_model
from singer_verify.errors import SingerVerifyError
from singer_verify.inference import load_model_scoring
from singer_verify.inference.clustering import diarize_unknown_singers
from singer_verify.inference.diarization import Diarization, diarize
from singer_verify.inference.rttm import compute_diarization_error, format_rttm, read_rttm
from singer_verify.plotting import render_figure_files
from singer_verify.project_files import PROJECT_FOLDER
from singer_verify.reports.diarization import plot_diarization

CORPUS = PROJECT_FOLDER / "example_dataset"
SINGERS = ("female7", "male7", "male8")
TURNS_EACH, RECORDINGS_PER_TURN, SAMPLE_RATE = 3, 2, 16_000
SMOOTH_S = 3.0  # embeddings are averaged over this time: a window alone says little

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("model", nargs="?", type=Path, help="a run folder or a checkpoint (default: the packaged model)")
parser.add_argument("--out", type=Path, help="folder to write to (default: a temporary one)")
arguments = parser.parse_args([] if "ipykernel" in sys.modules else None)
out = arguments.out or Path(tempfile.mkdtemp(prefix="diarization_"))
out.mkdir(parents=True, exist_ok=True)

# %% A recording in which three singers take turns, and who truly sings when
recordings = {singer: sorted((CORPUS / "val" / singer).glob("*.flac")) for singer in SINGERS}
parts, lines, start_s = [], [], 0.0
for turn in range(TURNS_EACH):
    for singer in SINGERS:
        first = turn * RECORDINGS_PER_TURN
        sung = [soundfile.read(file)[0] for file in recordings[singer][first : first + RECORDINGS_PER_TURN]]
        duration_s = sum(map(len, sung)) / SAMPLE_RATE
        lines.append(f"SPEAKER concert 1 {start_s:.3f} {duration_s:.3f} <NA> <NA> {singer} <NA> <NA>\n")
        parts += sung
        start_s += duration_s
concert, truth = out / "concert.wav", out / "truth.rttm"
soundfile.write(concert, np.concatenate(parts), SAMPLE_RATE)
truth.write_text("".join(lines), encoding="utf-8")

# %% Windows of three seconds, two of them a second
model = load_model(arguments.model)
scoring = load_model_scoring(model)
recording = model.embed_windows(concert, window_s=min(model.window_s, 3.0), hop_s=0.5)
reference = read_rttm(truth, concert.stem, recording.seconds)
print(f"{recording.seconds:.0f} s, {len(recording.windows)} windows, {len(SINGERS)} singers in {len(lines)} turns.")


# %% Write what was found, and compare it with the truth
def report(name: str, diarization: Diarization) -> None:
    (out / f"{name}.rttm").write_bytes(format_rttm(diarization, concert.stem))
    (out / f"{name}.png").write_bytes(render_figure_files(plot_diarization(diarization, name), ("png",))["png"])
    found = len({segment.who for segment in diarization.segments} & set(diarization.singers))
    try:
        error = compute_diarization_error(diarization, reference)
    except SingerVerifyError as missing:  # the extra is not installed
        print(f"{name}: {found} singers. {missing}")
        return
    print(
        f"{name}: {found} singers, error rate {error.rate:.1%} (missed {error.missed_s:.1f} s, false alarm "
        f"{error.false_alarm_s:.1f} s, confusion {error.confusion_s:.1f} s; collar {error.collar_s:g} s on each side)"
    )


# %% Without a gallery: the windows are clustered. Give the number of singers where you know it
report("estimated", diarize_unknown_singers(recording, scoring, SMOOTH_S))
report("given", diarize_unknown_singers(recording, scoring, SMOOTH_S, num_singers=len(SINGERS)))

# %% With a gallery: singers have names, and who is not in it is `unknown`
gallery = Gallery(model, scoring)
for singer in SINGERS:
    gallery.enrol(singer, recordings[singer][TURNS_EACH * RECORDINGS_PER_TURN :])
report("gallery", diarize(gallery, recording, SMOOTH_S))
print(f"Written to {out}.")
