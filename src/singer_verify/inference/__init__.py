"""Who sings: embeddings of recordings, their scores, galleries of known singers.

from singer_verify.inference import Embedder, Gallery, AudioClip, load_model_scoring, verify

embedder, scoring = Embedder.load(model), load_model_scoring(model)
verify(embedder, scoring, Path("a.wav"), AudioClip(samples, 44_100)).is_same
for recording, found in embedder.embed_many(paths): ...
"""

from singer_verify.audio.clip import AudioClip
from singer_verify.inference.embedder import Embedder
from singer_verify.inference.gallery import Gallery
from singer_verify.inference.identification import Candidate, IdentificationResult
from singer_verify.inference.scoring_file import load_model_scoring
from singer_verify.inference.verification import VerificationResult, verify
from singer_verify.inference.windows import RecordingEmbedding

__all__ = [
    "AudioClip",
    "Candidate",
    "Embedder",
    "Gallery",
    "IdentificationResult",
    "RecordingEmbedding",
    "VerificationResult",
    "load_model_scoring",
    "verify",
]
