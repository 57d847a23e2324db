"""A trained model as one ONNX file, from samples or from frames to the embedding."""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import config as jaxtyping_config
from torch import Tensor, nn

from singer_verify.errors import SingerVerifyError
from singer_verify.recognition.embedder import Embedder
from singer_verify.recognition.front_end import shortest_samples, why_not_traced
from singer_verify.recognition.onnx_lstm import with_onnx_lstms
from singer_verify.recognition.whole_recording import WholeRecording

if TYPE_CHECKING:
    from torch.onnx import ONNXProgram

EXTRA = ("onnx", "onnxruntime", "onnxscript")
SAMPLES, FRAMES, EMBEDDING = "samples", "frames", "embedding"  # names of the graph's inputs and of its output
TRACED_WINDOWS = 4  # more than one, or the trace would take "one" for granted


def require_onnx() -> None:
    """
    Raises:
        SingerVerifyError: a package of the extra `onnx` is not installed.
    """
    if missing := [name for name in EXTRA if find_spec(name) is None]:
        raise SingerVerifyError(
            f"export needs {', '.join(EXTRA)}, and {', '.join(missing)} cannot be found; "
            f"pip install 'singer_verify[onnx]'."
        )


def require_front_end(embedder: Embedder) -> None:
    """
    Raises:
        SingerVerifyError: the recipe cannot be part of the graph.
    """
    if reason := why_not_traced(embedder.feature):
        raise SingerVerifyError(
            f"the recipe cannot be exported: {reason}; export the encoder alone, from frames on, with --frames."
        )


def onnx_program(embedder: Embedder, from_frames: bool) -> "ONNXProgram":
    """The model as a graph: `samples` (batch, samples) or `frames` (batch, frames, bins) → `embedding`.

    The graph does all that `Embedder` does to the recordings of a batch, which are of one length, whatever length:
    frames, their normalisation, overlapping windows, the encoder, the mean over windows. Frames are given as the
    recipe makes them, before normalisation.

    Args:
        embedder: the model.
        from_frames: leave the recipe out of the graph.

    Raises:
        SingerVerifyError: see `require_onnx` and `require_front_end`, or an encoder that cannot be traced.
    """
    require_onnx()
    if not from_frames:
        require_front_end(embedder)
    front_end = None if from_frames else embedder.feature
    assert front_end is None or isinstance(front_end, nn.Module)
    encoder = with_onnx_lstms(copy.deepcopy(embedder.encoder))
    whole = WholeRecording(front_end, embedder.normalisation, encoder, embedder.window_frames).eval()
    name = FRAMES if from_frames else SAMPLES
    fewest = 1 if from_frames else shortest_samples(embedder.feature)
    dimensions = {0: torch.export.Dim("batch"), 1: torch.export.Dim(name, min=fewest)}
    with _quietly():
        return _traced(whole, _example(embedder, from_frames), name, dimensions)


def write_onnx(program: "ONNXProgram", path: Path, metadata: dict[str, str]) -> None:
    """Write the graph, its weights in it, with what a program that runs it needs to know.

    Args:
        program: see `onnx_program`.
        path: of the file.
        metadata: for the model's `metadata_props`.
    """
    model = program.model
    model.producer_name, model.producer_version = "singer_verify", version("singer_verify")
    model.metadata_props.clear()
    model.metadata_props.update(metadata)
    for node in model.graph.all_nodes():
        node.metadata_props.clear()  # where in which file it was traced
    with _quietly():
        program.save(path, external_data=False)


def _traced(whole: nn.Module, example: Tensor, name: str, dimensions: dict[int, torch.export.Dim]) -> "ONNXProgram":
    from singer_verify.recognition.onnx_translations import TRANSLATIONS

    try:
        with torch.no_grad(), _symbols_for_numbers():
            traced = torch.export.export(
                whole,
                (example,),
                dynamic_shapes=(dimensions,),
                strict=False,
                # conditions on lengths that hold for the example are checked when the graph runs, not frozen into it
                prefer_deferred_runtime_asserts_over_guards=True,
            )
        program = torch.onnx.export(
            traced,
            input_names=[name],
            output_names=[EMBEDDING],
            dynamo=True,
            verbose=False,
            custom_translation_table=TRANSLATIONS,
        )
    except Exception as error:  # torch raises errors of a dozen kinds where it cannot follow a module
        first_line = str(error).strip().splitlines()[0]
        raise SingerVerifyError(f"the model cannot be written as ONNX: {first_line}") from error
    assert program is not None
    _name_axes(program, ("batch", name))
    return program


def _name_axes(program: "ONNXProgram", names: tuple[str, str]) -> None:
    """The lengths that stay open, as a reader of the file sees them."""
    shape = program.model.graph.inputs[0].shape
    assert shape is not None
    program.rename_axes(dict(zip(map(str, shape), names, strict=False)))


def _example(embedder: Embedder, from_frames: bool) -> Tensor:
    """Two recordings of a few windows: sizes of one would be taken for granted."""
    num_frames = TRACED_WINDOWS * embedder.window_frames
    if from_frames:
        return torch.rand(2, num_frames, embedder.feature.num_bins)
    num_samples = num_frames * round(embedder.feature.hop_ms * embedder.feature.sample_rate / 1000)
    return torch.rand(2, max(num_samples, 2 * shortest_samples(embedder.feature)))


@contextmanager
def _symbols_for_numbers() -> Iterator[None]:
    """Let annotated shapes and counts be symbols, as they are in a trace, where annotations are checked at all."""
    disabled = jaxtyping_config.jaxtyping_disable
    jaxtyping_config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping_config.update("jaxtyping_disable", disabled)


@contextmanager
def _quietly() -> Iterator[None]:
    """Leave out what torch and its exporter remark on the way; what goes wrong they raise."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
