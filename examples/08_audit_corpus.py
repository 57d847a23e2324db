"""Which recordings of a corpus are filed under the wrong singer, are there twice, or are damaged?

The corpus is a copy of the example data's val split into which four faults are put, so that you see what is found and
what is not: two recordings change their singers, one is there again under another singer, and one is clipped.

    python examples/08_audit_corpus.py [MODEL] [--out FOLDER]

MODEL is a run folder or a checkpoint; without one, the packaged model is taken. Prints the findings, which of the
faults are among them, and what is left in the clean corpus. Wrong labels are found as well as the model tells singers
apart, so a model that was hardly trained misses some and names right ones; copies and clipping need no model. The
noise is that of synthetic breath: what most recordings have is a property of the corpus. Writes a page with players
to audit/, and the corpus without what is refused to clean/. The page about it is docs/audit.md.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from singer_verify import load_model
from singer_verify.corpora.preparation import prepare_corpus, select_accepted
from singer_verify.inference import load_model_scoring
from singer_verify.inference.audit import audit_corpus
from singer_verify.project_files import PROJECT_FOLDER
from singer_verify.reports.audit import write_audit

CORPUS = PROJECT_FOLDER / "example_dataset"
NUM_SHOWN = 3  # of each kind; audit/audit.html has all

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("model", nargs="?", type=Path, help="a run folder or a checkpoint (default: the packaged model)")
parser.add_argument("--out", type=Path, help="folder to write to (default: a temporary one)")
arguments = parser.parse_args([] if "ipykernel" in sys.modules else None)
out = arguments.out or Path(tempfile.mkdtemp(prefix="audit_"))
corpus = out / "corpus"
if corpus.exists():
    parser.error(f"{corpus}: already exists; give another --out")

# %% A corpus with four faults
shutil.copytree(CORPUS / "val", corpus / "val")
first = {folder.name: sorted(folder.glob("*.flac"))[0] for folder in sorted((corpus / "val").iterdir())}
faults = []
for singer, wrong in (("male7", "female7"), ("female7", "male7")):
    moved = corpus / "val" / wrong / f"moved_{singer}.flac"
    first[singer].rename(moved)
    faults.append(("label", moved))
again = corpus / "val/male8/again.flac"
shutil.copy(first["male9"], again)
faults.append(("copy", again))
samples, sample_rate = soundfile.read(first["female8"])
soundfile.write(first["female8"], np.clip(samples / np.quantile(np.abs(samples), 0.98), -1, 1), sample_rate)
faults.append(("clipping", first["female8"]))

# %% The audit
model = load_model(arguments.model)
report = audit_corpus(corpus, model, load_model_scoring(model))
print(f"{len(report.utterances)} recordings, {len(report.findings)} findings:")
for kind in dict.fromkeys(finding.kind for finding in report.findings):
    findings = [finding for finding in report.findings if finding.kind == kind]
    print(f"{kind}: {len(findings)}, of which {sum(finding.is_refused for finding in findings)} refused")
    for finding in findings[:NUM_SHOWN]:  # ranked, the gravest first
        print(f"    {finding.path or finding.singer}: {finding.detail}")
write_audit(report, out / "audit")

# %% What was found of what was put in
found = {(finding.kind, finding.path) for finding in report.findings}
for kind, path in faults:
    name = path.relative_to(corpus).as_posix()
    print(f"{kind} of {name}: {'found' if (kind, name) in found else 'not found'}")

# %% A corpus without what is refused. Listen first: select_accepted takes any set of paths
accepted = select_accepted(corpus, report.utterances, report.refused)
prepare_corpus(accepted, out / "clean", True, lambda recordings: recordings)
print(f"Clean corpus: {len(accepted)} of {len(report.utterances)} recordings.")
print(f"Written to {out}.")
