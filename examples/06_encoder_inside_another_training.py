"""How does a singer encoder take part in the training of another network?

The other network is as small as it can be and still do something: an equaliser that is told two embeddings, of the
voice that sings and of the voice it should sound like, and sets the gain of 24 bands. It learns from nothing but the
encoder: what comes out should have the embedding of the target singer. A converter or a synthesiser takes the same
lines, as one more term of its loss.

    python examples/06_encoder_inside_another_training.py [MODEL] [--judge MODEL] [--steps N] [--out FOLDER]

MODEL is a run folder or a checkpoint; without one, the packaged model is taken. Prints the loss as it falls, and the
similarity to the target singer before and after, for singers that the equaliser did not learn from; with `--judge`, by
a second model too. Writes equaliser.pt and, to listen to, one recording before and after. The page about it is
docs/similarity.md.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import soundfile
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from singer_verify import load_model
from singer_verify.audio.loading import load_audio
from singer_verify.project_files import PROJECT_FOLDER

CORPUS = PROJECT_FOLDER / "example_dataset"
NUM_BANDS, MAX_GAIN_DB, N_FFT = 24, 15.0, 512
CROP_S, BATCH_SIZE = 1.6, 4

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("model", nargs="?", type=Path, help="a run folder or a checkpoint (default: the packaged model)")
parser.add_argument("--judge", type=Path, help="a model that the equaliser is not trained with, to check the result")
parser.add_argument("--steps", type=int, default=60, help="training steps")
parser.add_argument("--out", type=Path, help="folder to write to (default: a temporary one)")
arguments = parser.parse_args([] if "ipykernel" in sys.modules else None)
out = arguments.out or Path(tempfile.mkdtemp(prefix="equaliser_"))
out.mkdir(parents=True, exist_ok=True)
torch.manual_seed(1)
torch.set_flush_denormal(True)  # gradients that fade over hundreds of frames make a CPU ten times slower

# %% [markdown]
# ## The encoder as a module
#
# `torch_module` maps samples at the model's rate to embeddings, all in torch: frames, their normalisation, windows,
# encoder. Frozen, its weights stay as they are, while gradients pass through it to the samples. `model.embed` of a
# tensor gives the same without gradients, for targets that are computed once.

# %%
model = load_model(arguments.model, device="cpu")
rate = model.feature.sample_rate
embed_samples = model.torch_module().requires_grad_(False)


def read_split(split: str) -> tuple[Tensor, list[str]]:
    """Return the first seconds of each recording, (recordings, samples), and its singer."""
    files = model.find_files([CORPUS / split])
    crops = [torch.from_numpy(load_audio(file, rate))[: round(CROP_S * rate)] for file in files]
    return torch.stack(crops), [file.parent.name for file in files]


def draw_targets(singers: list[str]) -> Tensor:
    """Draw for each recording one of another singer."""
    is_other = torch.tensor([[left != right for right in singers] for left in singers])
    return torch.multinomial(is_other.float(), 1)[:, 0]


# %% [markdown]
# ## The other network
#
# It sets the strength of bands and nothing else, so that it cannot please the encoder by noise that no listener would
# take for the singer. A loss that is one network's opinion always invites that.


# %%
class Equaliser(nn.Module):
    def __init__(self, embedding_size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2 * embedding_size, 64), nn.Tanh(), nn.Linear(64, NUM_BANDS))

    def forward(self, samples: Tensor, source: Tensor, target: Tensor) -> Tensor:
        gain_db = MAX_GAIN_DB * self.layers(torch.cat([source, target], dim=1)).tanh()
        gain_db = interpolate(gain_db[:, None], N_FFT // 2 + 1, mode="linear").mT  # (batch, frequencies, 1)
        window = torch.hann_window(N_FFT)
        spectrum = torch.stft(samples, N_FFT, window=window, return_complex=True) * 10 ** (gain_db / 20)
        return torch.istft(spectrum, N_FFT, window=window, length=samples.shape[1])


# %% [markdown]
# ## Train
#
# Embed what the network makes, compare it with the target, and let the gradients go back.

# %%
recordings, singers = read_split("train")
embeddings = model.embed(recordings)
equaliser, losses = Equaliser(embeddings.shape[1]), []
optimizer = torch.optim.Adam(equaliser.parameters(), lr=0.003)
for _ in range(arguments.steps):
    source = torch.randperm(len(singers))[:BATCH_SIZE]
    target = draw_targets(singers)[source]
    made = equaliser(recordings[source], embeddings[source], embeddings[target])
    loss = 1 - (embed_samples(made) * embeddings[target]).sum(dim=1).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
for part in torch.tensor(losses).tensor_split(3):
    print(f"loss of the next {len(part)} steps: {part.mean():.3f}")

# %% [markdown]
# ## Does it work for singers it has not heard?
#
# The encoder that it was trained with is a partial judge. A model that had no part in the training is a better one.

# %%
recordings, singers = read_split("val")
embeddings, target = model.embed(recordings), draw_targets(singers)
with torch.no_grad():
    made = equaliser(recordings, embeddings, embeddings[target])
for title, judge in (("the model itself", model), ("the judge", arguments.judge and load_model(arguments.judge))):
    if judge is not None:
        wanted = judge.embed(recordings, rate)[target]
        before, after = ((judge.embed(samples, rate) * wanted).sum(dim=1).mean() for samples in (recordings, made))
        print(f"{title}: similarity to the target singer {before:.3f} before, {after:.3f} after")
torch.save(equaliser.state_dict(), out / "equaliser.pt")
for name, samples in (("before", recordings), ("after", made)):
    soundfile.write(out / f"{name}.wav", samples[0].numpy(), rate)

# %% [markdown]
# ## The encoder learns too
#
# Without `requires_grad_(False)`, its weights are parameters like any others, best at a smaller rate than those of a
# fresh layer. The module has a copy of them: the loaded model stays as it was. Here, the layer tells the register.

# %%
layer, trainable = nn.Linear(model.embedding_size, 2), model.torch_module()
is_low = torch.tensor([singer.startswith("male") for singer in singers]).long()
groups = [{"params": layer.parameters(), "lr": 0.02}, {"params": trainable.parameters(), "lr": 1e-4}]
optimizer = torch.optim.Adam(groups)
for _ in range(4):
    loss = cross_entropy(layer(trainable(recordings[::4])), is_low[::4])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"register: loss {loss.item():.3f}")
with torch.no_grad():
    similarity = (trainable(recordings) * embeddings).sum(dim=1).mean()
print(f"Similarity of the trained encoder's embeddings to those of the model it was copied from: {similarity:.3f}")
print(f"Written to {out}.")
