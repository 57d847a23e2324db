"""Who sings? Voice embeddings of singing: train them, evaluate them, compare recordings and find singers by them.

Compare two recordings:

    import singer_verify

    model = singer_verify.load_model()                  # the one that comes with the package
    model = singer_verify.load_model("runs/first")      # or a run folder, a .ckpt or a saved_model.pt
    model.embed("a.wav") @ model.embed("b.wav")         # cosine similarity, at most 1

Find a singer among known ones:

    gallery = singer_verify.Gallery(model)
    gallery.enrol("anna", ["anna1.wav", "anna2.wav"])
    gallery.enrol("ben", ["ben1.wav"])
    gallery.identify("who.wav").candidates[0].singer

Train a model, and evaluate it on unseen singers:

    result = singer_verify.train(["data.root=corpus", "trainer.max_steps=1000", "name=first"])
    singer_verify.evaluate("runs/first", "corpus", split="test").metrics["eer"]

Inside another training, on any device:

    module = model.torch_module()                       # (batch, samples) → (batch, embedding), differentiable
    model.encoder                                       # (batch, frames, bins) → (batch, embedding), a plain nn.Module

The subpackages, from samples to reports: audio, features, corpora, store, data, encoders, losses, evaluation, runs,
inference, export, training, sweeps, reports, demo. On the command line: singer-verify --help.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from singer_verify.inference.evaluation import evaluate
    from singer_verify.inference.gallery import Gallery
    from singer_verify.inference.model import load_model
    from singer_verify.training.run import train

    __version__: str

__all__ = ["Gallery", "__version__", "evaluate", "load_model", "train"]

_MODULES = {  # imported when first asked for: torch takes seconds
    "Gallery": "singer_verify.inference.gallery",
    "evaluate": "singer_verify.inference.evaluation",
    "load_model": "singer_verify.inference.model",
    "train": "singer_verify.training.run",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("singer_verify")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
