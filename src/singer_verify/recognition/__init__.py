"""Who sings: embeddings of recordings, their scores, galleries of known singers.

from singer_verify.recognition import Embedder, Gallery, Sound, scoring_of, verify

embedder, scoring = Embedder.load(model), scoring_of(model)
verify(embedder, scoring, Path("a.wav"), Sound(samples, 44_100)).is_same
for recording, found in embedder.embed_many(paths): ...
"""

from singer_verify.audio.sound import Sound
from singer_verify.recognition.embedded import Embedded
from singer_verify.recognition.embedder import Embedder
from singer_verify.recognition.gallery import Gallery
from singer_verify.recognition.identification import Candidate, Identification
from singer_verify.recognition.model_scoring import scoring_of
from singer_verify.recognition.verification import Verdict, verify

__all__ = [
    "Candidate",
    "Embedded",
    "Embedder",
    "Gallery",
    "Identification",
    "Sound",
    "Verdict",
    "scoring_of",
    "verify",
]
