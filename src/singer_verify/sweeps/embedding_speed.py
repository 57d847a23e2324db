"""How fast a model embeds recordings, on one core."""

import time
from pathlib import Path

import torch

from singer_verify.inference import Model

MIN_SECONDS, MAX_RECORDINGS = 30.0, 32  # of audio that is embedded to measure
NUM_REPETITIONS = 2  # the faster one counts


def measure_embedding_speed(model: Model, paths: list[Path]) -> float:
    """Measure how many seconds of audio a model embeds in a second of processor time, on one core.

    Files are decoded, and frames computed, as `Model.embed` does. At least 30 s of audio are embedded, if the first 32
    recordings hold that much; before, one recording is embedded that does not count.

    Args:
        model: the model, on the CPU.
        paths: recordings that can be used, of which the first ones are embedded.
    """
    paths = paths[:MAX_RECORDINGS]
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model.embed(paths[0])
        return max(_embed_once(model, paths) for _ in range(NUM_REPETITIONS))
    finally:
        torch.set_num_threads(num_threads)


def _embed_once(model: Model, paths: list[Path]) -> float:
    embedded_s, start = 0.0, time.process_time()
    for path in paths:
        embedded_s += model.embed_windows(path).seconds
        if embedded_s >= MIN_SECONDS:
            break
    return embedded_s / (time.process_time() - start)
