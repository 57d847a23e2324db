"""Training steps of an encoder as CUDA graphs: hundreds of small kernels, launched at once."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from singer_verify.errors import SingerVerifyError
from singer_verify.logging_once import log_once, warn_once
from singer_verify.safe_loading import OWN_PACKAGE

log = logging.getLogger(__name__)

CUDA_GRAPH_CHOICES = ("auto", True, False)
NUM_WARMUP_PASSES = 3  # in which cuDNN and the allocator do what they do but once
CUDA_GRAPH_SETTING = "cuda_graph"  # of the group trainer, beside the arguments of Lightning's trainer


class GraphedEncoder:
    """Run an encoder in training, on a GPU as a CUDA graph, with the results of the encoder itself.

    An LSTM launches a kernel for every layer and frame; a fast GPU finishes them sooner than the processor launches
    them. The graph of the forward and that of the backward pass are captured at the first batch and replayed with every
    further one of its shape. A batch of another shape goes through the encoder itself, and so does everything where a
    graph is of no use or not safe: on a CPU, with several devices, and, for `auto`, encoders of other packages, whose
    Python code would no longer run.

    Random numbers are drawn from the generator of the device as without a graph; weights, their gradients and running
    statistics are those of the encoder.

    Args:
        encoder: (batch, frames, bins) → (batch, embedding).
        mode: auto, True (also encoders of other packages; an error where none can be captured), or False.
    """

    def __init__(self, encoder: nn.Module, mode: str | bool = "auto") -> None:
        require_graph_choice(mode)
        self.encoder, self.mode = encoder, mode
        self.captured: _CapturedEncoder | None = None
        self.has_failed = False

    def __reduce__(self) -> tuple[Any, ...]:
        return GraphedEncoder, (self.encoder, self.mode)  # copies capture graphs of their own

    def release(self) -> None:
        """Give up the graphs and their memory; a process that is forked while they exist could not end."""
        self.captured = None

    def __call__(self, frames: Float[Tensor, "batch frames bins"]) -> Float[Tensor, "batch embedding"]:
        """Compute the embeddings of a batch in single precision, in whichever way is right.

        Raises:
            SingerVerifyError: `mode` is True, and the encoder cannot be captured.
        """
        if not self._is_wanted(frames):
            return self.encoder(frames)  # type: ignore[no-any-return]
        if self.captured is None or not self.captured.is_valid():
            self.captured = self._capture(frames)
        if self.captured is None or not self.captured.fits(frames):
            if self.captured is not None:
                shape = " × ".join(map(str, self.captured.frames.shape))
                log_once(
                    log, f"Batches of other shapes than {shape} go through the encoder itself, without its CUDA graph."
                )
            return self.encoder(frames)  # type: ignore[no-any-return]
        embeddings: Tensor = _Replay.apply(self.captured, frames, *self.captured.parameters)
        return embeddings

    def _is_wanted(self, frames: Tensor) -> bool:
        if self.mode is False or self.has_failed:
            return False
        num_devices = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
        if self.mode is True:
            require_graph_device(frames.device, num_devices)
        if not frames.is_cuda:
            return False
        if num_devices > 1:
            log_once(log, "Several devices train together: steps are not captured as CUDA graphs.")
            return False
        package = type(self.encoder).__module__.partition(".")[0]
        if self.mode == "auto" and package != OWN_PACKAGE:
            log_once(
                log,
                f"{type(self.encoder).__qualname__} is not captured as a CUDA graph; where its forward runs the same "
                f"kernels for every batch, trainer.cuda_graph=true makes it faster.",
            )
            return False
        return torch.is_grad_enabled() and any(parameter.requires_grad for parameter in self.encoder.parameters())

    def _capture(self, frames: Float[Tensor, "batch frames bins"]) -> "_CapturedEncoder | None":
        try:
            captured = _CapturedEncoder(self.encoder, frames)
        except RuntimeError as error:  # what torch raises for all that cannot be captured, and for full memory
            self.has_failed = True
            reason = str(error).strip().split("\n")[0]
            if self.mode is True:
                raise SingerVerifyError(
                    f"trainer.cuda_graph=true: {type(self.encoder).__qualname__} cannot be captured ({reason}); take "
                    f"trainer.cuda_graph=false."
                ) from error
            warn_once(log, f"The encoder runs without a CUDA graph, because capturing it failed: {reason}")
            return None
        shape = " × ".join(map(str, frames.shape))
        log_once(log, f"The encoder's training steps run as a CUDA graph, for batches of {shape}.")
        return captured


class _CapturedEncoder:
    """The graphs of an encoder's forward and backward pass, for one shape and precision.

    `torch.cuda.make_graphed_callables` does the same, but a loader's thread that pins memory during its capture makes
    that fail, and it hands out gradients that the next pass overwrites while they are accumulated.
    """

    def __init__(self, encoder: nn.Module, frames: Float[Tensor, "batch frames bins"]) -> None:
        self.frames = frames.detach().clone()
        self.parameters = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
        self.tensors = [*encoder.parameters(), *encoder.buffers()]
        self.state = self._describe_state()
        with _keep_random_state(frames.device), _keep_buffers(encoder), _autocast_without_cache():
            self._run_passes(encoder)
            pool = torch.cuda.graph_pool_handle()
            self.forward_graph, self.backward_graph = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
            # thread_local: threads of the loader may pin memory meanwhile
            with torch.cuda.graph(self.forward_graph, pool=pool, capture_error_mode="thread_local"):
                embeddings = encoder(self.frames)
            self.output_gradient = torch.zeros_like(embeddings)
            with torch.cuda.graph(self.backward_graph, pool=pool, capture_error_mode="thread_local"):
                self.gradients = torch.autograd.grad(
                    embeddings, self.parameters, self.output_gradient, allow_unused=True
                )
        self.embeddings = embeddings.detach()

    def _run_passes(self, encoder: nn.Module) -> None:
        """Run forward and backward passes on a stream of their own, as capturing asks for."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(NUM_WARMUP_PASSES):
                embeddings = encoder(self.frames)
                torch.autograd.grad(embeddings, self.parameters, torch.zeros_like(embeddings), allow_unused=True)
        torch.cuda.current_stream().wait_stream(stream)

    def _describe_state(self) -> tuple[Any, ...]:
        """Return what the graphs take for granted: where weights lie, which of them learn, and the precision."""
        return (
            [tensor.data_ptr() for tensor in self.tensors],
            [tensor.requires_grad for tensor in self.tensors],
            (torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")),
        )

    def is_valid(self) -> bool:
        """Whether the graphs still belong to the encoder; moving it, for instance, gives its weights other places."""
        return self.state == self._describe_state()

    def fits(self, frames: Tensor) -> bool:
        return frames.shape == self.frames.shape and frames.dtype == self.frames.dtype

    def replay_forward(self, frames: Float[Tensor, "batch frames bins"]) -> Float[Tensor, "batch embedding"]:
        """Compute the embeddings of a batch.

        Where parameters still hold gradients of the call before, to which others are to be added, they get memory of
        their own first, since the graphs share theirs.
        """
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            held = parameter.grad
            if held is not None and gradient is not None and held.data_ptr() == gradient.data_ptr():
                parameter.grad = held.clone()
        self.frames.copy_(frames)
        self.forward_graph.replay()
        return self.embeddings.clone()

    def replay_backward(self, output_gradient: Float[Tensor, "batch embedding"]) -> list[Tensor | None]:
        """Compute the gradients of the parameters that learn, in memory that the next call writes again."""
        self.output_gradient.copy_(output_gradient)
        self.backward_graph.replay()
        return [None if gradient is None else gradient.detach() for gradient in self.gradients]


class _Replay(torch.autograd.Function):
    """A pass through the graphs as one operation of autograd."""

    @staticmethod
    def forward(ctx: Any, captured: _CapturedEncoder, frames: Tensor, *parameters: Tensor) -> Tensor:
        ctx.captured = captured
        return captured.replay_forward(frames)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, output_gradient: Tensor) -> tuple[Tensor | None, ...]:
        return (None, None, *ctx.captured.replay_backward(output_gradient))


@contextmanager
def _keep_random_state(device: torch.device) -> Iterator[None]:
    """Undo what the block draws: a resumed training captures once more, and continues with the same numbers."""
    state = torch.cuda.get_rng_state(device)
    try:
        yield
    finally:
        torch.cuda.set_rng_state(state, device)


@contextmanager
def _keep_buffers(encoder: nn.Module) -> Iterator[None]:
    """Undo what the block does to running statistics, in their place."""
    buffers = [(buffer, buffer.clone()) for buffer in encoder.buffers()]
    try:
        yield
    finally:
        for buffer, before in buffers:
            buffer.copy_(before)


def _autocast_without_cache() -> torch.autocast:
    """Return the autocast of the moment, such that weights are cast within the graph and not once before it."""
    return torch.autocast(
        "cuda", torch.get_autocast_dtype("cuda"), torch.is_autocast_enabled("cuda"), cache_enabled=False
    )


def require_graph_choice(mode: object) -> None:
    """Refuse a value of `trainer.cuda_graph` that is none.

    Raises:
        SingerVerifyError: naming it and the choices.
    """
    if not any(mode is choice or (isinstance(mode, str) and mode == choice) for choice in CUDA_GRAPH_CHOICES):
        raise SingerVerifyError(f"trainer.cuda_graph={mode}: expected auto, true or false.")


def require_graph_device(device: torch.device, num_devices: int) -> None:
    """Refuse `trainer.cuda_graph=true` where no graph can be captured.

    Args:
        device: device of the training.
        num_devices: number of devices that train together.

    Raises:
        SingerVerifyError: it is no GPU, or there are several.
    """
    if device.type == "cuda" and num_devices == 1:
        return
    found = f"the training runs on {device.type}" if num_devices == 1 else f"{num_devices} devices train together"
    raise SingerVerifyError(
        f"trainer.cuda_graph=true: {found}; expected one CUDA device; take trainer.cuda_graph=auto."
    )
