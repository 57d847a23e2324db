"""Decoding of audio files into mono float32 samples in [-1, 1] at a given sample rate."""

from singer_verify.audio.decoding import AUDIO_SUFFIXES
from singer_verify.audio.loading import load_audio

__all__ = ["AUDIO_SUFFIXES", "load_audio"]
