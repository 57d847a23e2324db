"""Audio files to samples: mono, float32, in [-1, 1], at the sample rate asked for."""

from singer_verify.audio.decoding import AUDIO_SUFFIXES, PYAV_SUFFIXES, SOUNDFILE_SUFFIXES
from singer_verify.audio.loading import load_audio

__all__ = ["AUDIO_SUFFIXES", "PYAV_SUFFIXES", "SOUNDFILE_SUFFIXES", "load_audio"]
