"""How do you train on features of your own?

The recipe is the level of each octave of the voice, relative to the whole: six numbers a frame, which tell its colour
and nothing of its loudness. It is written to a module of its own, where yours will stand too, because a checkpoint
names its recipe by an import path.

    python examples/03_own_recipe.py [--steps N] [--out FOLDER]

Prints what was checked of the recipe, what happens without trust, the equal error rate of a small network trained on it
with the example data, and how similar recordings are. Writes my_recipe.py, conf/features/octaves.yaml and the run
folder run/. The page about it is docs/tutorials/own_parts.md.
"""

import argparse
import importlib
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from singer_verify import load_model, train
from singer_verify.audio.loading import load_audio
from singer_verify.errors import SingerVerifyError
from singer_verify.features.feature import FramewiseFeature, count_frames
from singer_verify.project_files import PROJECT_FOLDER

CORPUS = PROJECT_FOLDER / "example_dataset"

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--steps", type=int, default=150, help="training steps")
parser.add_argument("--out", type=Path, help="folder to write to (default: a temporary one)")
arguments = parser.parse_args([] if "ipykernel" in sys.modules else None)
out = (arguments.out or Path(tempfile.mkdtemp(prefix="recipe_"))).resolve()
(out / "conf/features").mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## The recipe
#
# Any object with these attributes is a recipe (`singer_verify.features.feature.Feature`). As a `torch.nn.Module` with
# `hop_samples` and `context_samples` it can be computed on the fly, differentiated and exported as well. Everything
# that decides the frames stands in `recipe`: equal recipes share stored frames.

# %%
SOURCE = '''
from math import log2

import torch
from torch import nn

from singer_verify.features.feature import require_one_frame


class OctaveLevels(nn.Module):
    """Level of each octave below 8 kHz in decibels, relative to all of them together."""

    sample_rate, hop_ms, bandwidth_hz = 16000, 10.0, 8000.0
    hop_samples, context_samples = 160, 512  # a frame depends on 512 samples to either side of its centre

    def __init__(self, num_bins=6):
        super().__init__()
        self.num_bins = num_bins
        self.recipe = {"_target_": f"{__name__}.OctaveLevels", "num_bins": num_bins}
        hz = torch.linspace(0, self.bandwidth_hz, 513).clamp(min=1)
        octave = (log2(self.bandwidth_hz) - hz.log2()).floor().clamp(0, num_bins - 1)  # from the top
        self.register_buffer("bands", (octave[:, None] == torch.arange(num_bins)).float(), persistent=False)
        self.register_buffer("window", torch.hann_window(1024), persistent=False)

    def forward(self, samples):  # (..., samples) → (..., frames, bins)
        require_one_frame(samples.shape[-1], self.context_samples + 1, self.sample_rate)
        rows = samples.reshape(-1, samples.shape[-1])
        spectrum = torch.stft(rows, 1024, self.hop_samples, window=self.window, return_complex=True)
        power = spectrum.abs().square().mT @ self.bands + 1e-8
        levels = 10 * torch.log10(power / power.sum(dim=-1, keepdim=True))
        return levels.reshape(*samples.shape[:-1], *levels.shape[1:])
'''
(out / "my_recipe.py").write_text(SOURCE, encoding="utf-8")
sys.path.insert(0, str(out))  # beside train.py, it would be found anyway
feature = importlib.import_module("my_recipe").OctaveLevels()

# %% [markdown]
# ## Does it keep the law of frames?
#
# Frame k is centred on sample k × hop, and there are 1 + samples // hop of them. So an utterance without its first hop
# has the same frames one place earlier, but for those that see its edges. In a batch, each row is as if it were alone.

# %%
file = sorted((CORPUS / "val").glob("*/*.flac"))[0]
samples = torch.from_numpy(load_audio(file, feature.sample_rate))
frames = feature(samples)
assert isinstance(feature, FramewiseFeature)
assert frames.shape == (count_frames(feature, len(samples)), feature.num_bins)
edge = 1 + (feature.context_samples or 0) // feature.hop_samples
later = feature(samples[feature.hop_samples :])
torch.testing.assert_close(later[edge:-edge], frames[1:][edge:-edge], atol=1e-3, rtol=0)
torch.testing.assert_close(feature(torch.stack([samples, -samples]))[0], frames)
torch.testing.assert_close(feature(samples / 2)[edge], frames[edge], atol=0.1, rtol=0)  # our own: loudness is left out
print(f"{file.stem}: {len(samples)} samples, {len(frames)} frames of {feature.num_bins} bins; the law holds.")

# %% [markdown]
# ## Train on it
#
# A recipe has a yaml in `conf/features`; `hydra.searchpath` adds a folder of your own to the project's. A model names
# classes, and importing a module runs its code: so loading asks for your trust, and training asks before it begins.

# %%
(out / "conf/features/octaves.yaml").write_text("_target_: my_recipe.OctaveLevels\nnum_bins: 6\n", encoding="utf-8")
settings = [
    *("features=octaves", f"hydra.searchpath=[file://{out / 'conf'}]"),
    *(f"data.root={CORPUS}", f"data.store_root={out / 'store'}", "data.num_extraction_workers=0"),
    *("encoder.hidden_size=64", "optimizer.lr=0.002", f"trainer.max_steps={arguments.steps}"),
    *(f"trainer.val_check_interval={max(arguments.steps // 5, 1)}", "trainer.accelerator=cpu", "~callbacks.pictures"),
]
try:
    train([*settings, f"hydra.run.dir={out / 'untrusted'}"])
except SingerVerifyError as error:
    print(f"Without trust: {error}")
result = train([*settings, "trust=[my_recipe]", f"hydra.run.dir={out / 'run'}"])
if result.untrained and result.best:
    print(f"EER {result.untrained['val/eer']:.1%} untrained, {result.best['val/eer']:.1%} at its best step")

# %% [markdown]
# ## Use it
#
# Every command that loads the model takes `--trust my_recipe`. The checkpoint has the recipe's settings, so frames are
# computed as they were in the training; a store whose frames an older version of the module computed is not used.

# %%
model = load_model(result.run, trust=["my_recipe"])
print(model)
files = model.find_files([CORPUS / "val"])
embeddings = np.stack([model.embed(file) for file in files])
singers = np.array([file.parent.name for file in files])
is_same, is_itself = singers[:, None] == singers, np.eye(len(files), dtype=bool)
similarity = embeddings @ embeddings.T
of_one, of_two = similarity[is_same & ~is_itself].mean(), similarity[~is_same].mean()
print(f"Mean similarity of recordings of one singer {of_one:.3f}, of two singers {of_two:.3f}")
print(f"Written to {out}.")
