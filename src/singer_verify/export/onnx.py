"""ONNX export of a model, from samples or frames to embeddings."""

import copy
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from jaxtyping import config as jaxtyping_config
from onnxscript import opset18
from torch import Tensor, nn

from singer_verify.errors import SingerVerifyError, format_installation
from singer_verify.evaluation.scoring.scoring import Scoring
from singer_verify.features.voice import build_prepared_front_end, split_voice_feature
from singer_verify.inference.end_to_end import EndToEndModel, find_min_samples, find_torch_obstacle
from singer_verify.inference.model import Model

if TYPE_CHECKING:
    from torch.onnx import ONNXProgram


ONNX_FLOAT = 1  # ONNX's number for single precision
LSTM_OPSET = 14  # since which the operator has its present form
ONNX: Any = opset18  # whose annotations ask for tensors of one type at each place
ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
SAMPLES_INPUT, FRAMES_INPUT, EMBEDDING_OUTPUT = (
    "samples",
    "frames",
    "embedding",
)  # names of the graph's inputs and of its output
PREPARATION = "activity_db, level_db, pause_s of features.voice.VoicePreparation, applied to the samples first:"
NUM_TRACED_WINDOWS = 4  # more than one, which would be traced as a constant


class OnnxLstm(nn.Module):
    """Replacement of an `nn.LSTM` while a model is exported: tracing torch's own fixes the number of frames.

    ONNX orders gates input, output, forget, cell (operator LSTM), torch input, forget, cell, output.

    Shape: (batch, frames, bins) → outputs (batch, frames, width), (hidden states, None), as of an `nn.LSTM` with
    `batch_first`; cell states are not made.

    Args:
        lstm: an LSTM with `batch_first` and without projections, in evaluation mode, so that its dropout does nothing.
    """

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.num_layers, self.hidden_size = lstm.num_layers, lstm.hidden_size
        self.direction = "bidirectional" if lstm.bidirectional else "forward"
        self.directions = ("", "_reverse") if lstm.bidirectional else ("",)
        for layer in range(lstm.num_layers):
            self._register_weights(lstm, layer)

    def forward(
        self, frames: Float[Tensor, "batch frames bins"]
    ) -> tuple[Float[Tensor, "batch frames width"], tuple[Float[Tensor, "states batch hidden"], None]]:
        outputs, last_states = frames.transpose(0, 1), []
        for layer in range(self.num_layers):
            num_frames, batch = outputs.shape[:2]
            weights = [getattr(self, f"{name}_{layer}") for name in ("inputs", "states", "biases")]
            by_direction, last = torch.onnx.ops.symbolic_multi_out(
                "LSTM",
                [outputs, *weights],
                attrs={"hidden_size": self.hidden_size, "direction": self.direction},
                dtypes=(ONNX_FLOAT, ONNX_FLOAT),
                shapes=(
                    [num_frames, len(self.directions), batch, self.hidden_size],
                    [len(self.directions), batch, self.hidden_size],
                ),
                version=LSTM_OPSET,
            )
            outputs = by_direction.transpose(1, 2).flatten(2)
            last_states.append(last)
        return outputs.transpose(0, 1), (torch.cat(last_states), None)

    def _register_weights(self, lstm: nn.LSTM, layer: int) -> None:
        """Register the weights of a layer in the operator's layout, both directions in one tensor."""
        inputs, states, *biases = (
            torch.stack([_reorder_gates(getattr(lstm, f"{name}_l{layer}{end}")) for end in self.directions])
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        self.register_buffer(f"inputs_{layer}", inputs)
        self.register_buffer(f"states_{layer}", states)
        self.register_buffer(f"biases_{layer}", torch.cat(biases, dim=1))


def replace_lstms(encoder: nn.Module) -> nn.Module:
    """Replace every such LSTM stack in an encoder; return the encoder."""
    for name, part in list(encoder.named_modules()):
        if isinstance(part, nn.LSTM) and part.batch_first and not part.proj_size:
            encoder.set_submodule(name, OnnxLstm(part))
    return encoder


def _reorder_gates(gates: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    into, forget, cell, out = gates.detach().chunk(4)
    return torch.cat([into, out, forget, cell])


def translate_matmul(left: Any, right: Any) -> Any:
    """Write a product with a vector as a product with a matrix of one column.

    onnxruntime (1.32) fuses a transposition and a product with a vector into one operator, whose result is wrong.
    """
    if len(right.shape) > 1:
        return ONNX.MatMul(left, right)
    last = ONNX.Constant(value_ints=[-1])
    return ONNX.Squeeze(ONNX.MatMul(left, ONNX.Unsqueeze(right, last)), last)


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {torch.ops.aten.matmul.default: translate_matmul}


def build_onnx_metadata(model: Model, scoring: Scoring, from_frames: bool) -> dict[str, str]:
    """Return the names and values of ONNX's `metadata_props`, all of them text.

    A threshold is included if it is one of cosines of embeddings, which is what the file can be used for.

    Args:
        model: the model.
        scoring: scoring of the model's embeddings.
        from_frames: whether the recipe is left out of the graph.
    """
    feature, normalisation = model.feature, model.normalisation
    recipe = feature.recipe | {"normalise": normalisation.name} | normalisation.statistics
    metadata = {
        "singer_verify": version("singer_verify"),
        "fingerprint": model.fingerprint,
        "input": FRAMES_INPUT if from_frames else SAMPLES_INPUT,
        "sample_rate": str(feature.sample_rate),
        "hop_ms": str(feature.hop_ms),
        "num_bins": str(feature.num_bins),
        "window_frames": str(model.window_frames),
        "recipe": json.dumps(recipe),
    }
    _, preparation = split_voice_feature(feature)
    if preparation is not None:
        settings = preparation.activity_db, preparation.level_db, preparation.pause_s
        metadata["preparation"] = " ".join([PREPARATION, *map(str, settings)])
    if not from_frames:
        metadata["shortest_samples"] = str(find_min_samples(feature))
    if scoring.threshold and scoring.is_plain_cosine:
        metadata |= {"threshold": str(scoring.threshold.score), "threshold_origin": scoring.threshold.origin}
    return metadata


def require_onnx() -> None:
    """Check that the packages of the extra `onnx` are installed.

    Raises:
        SingerVerifyError: one of them is not.
    """
    if missing := [name for name in ONNX_PACKAGES if find_spec(name) is None]:
        raise SingerVerifyError(
            f"export needs {', '.join(ONNX_PACKAGES)}, and {', '.join(missing)} cannot be found; "
            f"{format_installation('onnx')}."
        )


def require_exportable_front_end(model: Model) -> None:
    """Check that the recipe can be part of the graph.

    Raises:
        SingerVerifyError: it cannot.
    """
    if reason := find_torch_obstacle(model.feature):
        raise SingerVerifyError(
            f"the recipe cannot be exported: {reason}; export the encoder alone, from frames on, with --frames."
        )


def build_onnx_program(model: Model, from_frames: bool) -> "ONNXProgram":
    """Export the model as a graph: `samples` (batch, samples) or `frames` (batch, frames, bins) → `embedding`.

    The graph does what `Model.embed` does to a batch of recordings of one length, whatever that length: frames, their
    normalisation, overlapping windows, the encoder, the mean over windows. It takes samples or frames as the recipe's
    preparation leaves them (`activity_db`, `pause_s`, `level_db`); the level of samples of the voice alone it sets
    itself. Frames are given as the recipe computes them, before normalisation.

    Args:
        model: the model.
        from_frames: leave the recipe out of the graph.

    Raises:
        SingerVerifyError: see `require_onnx` and `require_exportable_front_end`, or an encoder that cannot be traced.
    """
    require_onnx()
    if not from_frames:
        require_exportable_front_end(model)
    front_end = None if from_frames else build_prepared_front_end(model.feature)
    encoder = replace_lstms(copy.deepcopy(model.encoder))
    whole = EndToEndModel(front_end, model.normalisation, encoder, model.window_frames).eval()
    name = FRAMES_INPUT if from_frames else SAMPLES_INPUT
    with _silence_exporter():
        return _trace_model(whole, _build_example_input(model, from_frames), name)


def write_onnx(program: "ONNXProgram", path: Path, metadata: dict[str, str]) -> None:
    """Write the graph with its weights, and the metadata a program needs to run it.

    Args:
        program: see `build_onnx_program`.
        path: path of the file.
        metadata: entries of the model's `metadata_props`.
    """
    model = program.model
    model.producer_name, model.producer_version = "singer_verify", version("singer_verify")
    model.metadata_props.clear()
    model.metadata_props.update(metadata)
    for node in model.graph.all_nodes():
        node.metadata_props.clear()  # paths of the sources it was traced from
    with _silence_exporter():
        program.save(path, external_data=False)


def _trace_model(whole: nn.Module, example: Tensor, name: str) -> "ONNXProgram":
    """Trace a model for any batch and any length.

    No least length is declared: torch takes two frames or more for granted, and would refuse a least length of one
    frame, though the graph is right there too.
    """
    any_size = torch.export.Dim.DYNAMIC
    try:
        with torch.no_grad(), _allow_symbolic_shapes():
            traced = torch.export.export(
                whole,
                (example,),
                dynamic_shapes=({0: any_size, 1: any_size},),
                strict=False,
                # conditions on lengths that hold for the example are checked when the graph runs, not frozen into it
                prefer_deferred_runtime_asserts_over_guards=True,
            )
        program = torch.onnx.export(
            traced,
            input_names=[name],
            output_names=[EMBEDDING_OUTPUT],
            dynamo=True,
            verbose=False,
            custom_translation_table=TRANSLATIONS,
        )
    except Exception as error:  # torch raises a dozen kinds of errors where it cannot trace a module
        first_line = str(error).strip().splitlines()[0]
        raise SingerVerifyError(f"the model cannot be written as ONNX: {first_line}") from error
    assert program is not None
    _name_axes(program, ("batch", name))
    return program


def _name_axes(program: "ONNXProgram", names: tuple[str, str]) -> None:
    """Name the dynamic axes of the input."""
    shape = program.model.graph.inputs[0].shape
    assert shape is not None
    program.rename_axes(dict(zip(map(str, shape), names, strict=False)))


def _build_example_input(model: Model, from_frames: bool) -> Tensor:
    """Build two recordings of a few windows; an axis of size 1 would be traced as a constant."""
    num_frames = NUM_TRACED_WINDOWS * model.window_frames
    if from_frames:
        return torch.rand(2, num_frames, model.feature.num_bins)
    num_samples = num_frames * round(model.feature.hop_ms * model.feature.sample_rate / 1000)
    return torch.rand(2, max(num_samples, 2 * find_min_samples(model.feature)))


@contextmanager
def _allow_symbolic_shapes() -> Iterator[None]:
    """Disable the check of shape annotations, which does not know the symbols of a trace."""
    disabled = jaxtyping_config.jaxtyping_disable
    jaxtyping_config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping_config.update("jaxtyping_disable", disabled)


@contextmanager
def _silence_exporter() -> Iterator[None]:
    """Silence the log and warnings of torch's exporter; it raises what goes wrong."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
