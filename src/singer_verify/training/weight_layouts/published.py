"""Published weights that can be imported: where they come from, their licence, and what they reach on singing."""

from collections.abc import Mapping
from dataclasses import dataclass, field

# Corpora on which published weights are measured, and the trials of each that count: all pairs of utterances, but for
# those of one take or one sentence.
MEASURED_CORPORA = {
    "RAVDESS song": "17 singers, across sentences",
    "MIR-1K": "13 singers, across songs",
    "makam": "6 singers, across songs",
}


@dataclass(frozen=True)
class PublishedWeights:
    """Weights that other authors trained and published.

    Attributes:
        name: name of the network.
        origin: who trained it, on what, and where it is to be had.
        licence: SPDX identifier of the licence of the weights.
        sha256: SHA-256 of the file that was measured; None where none was.
        num_parameters: number of parameters of the encoder.
        options: options of `import-weights` besides the file and `--out`.
        eers: equal error rate by corpus of `MEASURED_CORPORA`, on none of which they were trained.
    """

    name: str
    origin: str
    licence: str
    sha256: str | None = None
    num_parameters: int | None = None
    options: str = ""
    eers: Mapping[str, float] = field(default_factory=dict)


PUBLISHED_WEIGHTS = (
    PublishedWeights(
        "CAM++",
        "3D-Speaker, 200 000 speakers of Chinese and English: campplus_cn_en_common.pt of "
        "https://modelscope.cn/models/iic/speech_campplus_sv_zh_en_16k-common_advanced",
        "Apache-2.0",
        sha256="92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199",
        num_parameters=6_848_544,
        eers={"RAVDESS song": 0.074, "MIR-1K": 0.014, "makam": 0.033},
    ),
    PublishedWeights(
        "LSTM 3 × 256",
        "Resemblyzer, 1.6 M steps of English speech: pretrained.pt of https://github.com/resemble-ai/Resemblyzer",
        "Apache-2.0",
        sha256="39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
        num_parameters=1_423_616,
        options="--features resemblyzer",
        eers={"RAVDESS song": 0.184, "MIR-1K": 0.111, "makam": 0.201},
    ),
    PublishedWeights(
        "ECAPA-TDNN",
        "wespeaker, 5994 speakers of VoxCeleb2: avg_model.pt of "
        "https://github.com/wenet-e2e/wespeaker/blob/master/docs/pretrained.md",
        "CC-BY-4.0",
    ),
    PublishedWeights(
        "ResNet34",
        "wespeaker, 5994 speakers of VoxCeleb2: avg_model.pt of "
        "https://github.com/wenet-e2e/wespeaker/blob/master/docs/pretrained.md",
        "CC-BY-4.0",
        num_parameters=6_630_000,
    ),
)


def find_published_weights(sha256: str) -> PublishedWeights | None:
    """Find the published weights that a file holds, by the SHA-256 of the file."""
    return next((weights for weights in PUBLISHED_WEIGHTS if weights.sha256 == sha256), None)
