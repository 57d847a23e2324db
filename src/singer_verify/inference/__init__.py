"""Inference with a trained model: embed recordings, verify and identify singers, tell who sings when.

from singer_verify.inference import AudioClip, load_model, load_model_scoring, verify

model = load_model("runs/first")
scoring = load_model_scoring(model)
verify(model, scoring, "a.wav", AudioClip(samples, 44_100)).is_same
"""

from singer_verify.audio.clip import AudioClip
from singer_verify.inference.gallery import Gallery
from singer_verify.inference.identification import Candidate, IdentificationResult
from singer_verify.inference.model import Model, load_model
from singer_verify.inference.scoring_file import load_model_scoring
from singer_verify.inference.verification import VerificationResult, verify
from singer_verify.inference.windows import RecordingEmbedding

__all__ = [
    "AudioClip",
    "Candidate",
    "Gallery",
    "IdentificationResult",
    "Model",
    "RecordingEmbedding",
    "VerificationResult",
    "load_model",
    "load_model_scoring",
    "verify",
]
