"""Encoders side by side: a cosine is the weighted mean of theirs, and whatever holds for an encoder holds for them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.tiny_run import make_corpus, run, tiny

from singer_verify.encoders.encoder import build_encoder, group_parameters_by_part
from singer_verify.encoders.fusion import FusionEncoder
from singer_verify.encoders.statistics import StatisticsEncoder
from singer_verify.errors import SingerVerifyError
from singer_verify.inference import load_model

LSTM = {
    "_target_": "singer_verify.encoders.lstm.LSTMEncoder",
    "hidden_size": 16,
    "num_layers": 2,
    "embedding_size": 10,
    "relu": False,
}
STATISTICS = {"_target_": "singer_verify.encoders.statistics.StatisticsEncoder"}
FRAMES = torch.randn(5, 12, 8, generator=torch.Generator().manual_seed(0))


def test_a_cosine_is_the_weighted_mean_of_cosines() -> None:
    fusion = FusionEncoder(8, {"lstm": LSTM, "statistics": STATISTICS}, {"lstm": 3, "statistics": 1})
    embeddings = fusion(FRAMES)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(5))
    assert embeddings.shape == (5, fusion.embedding_size) == (5, 10 + 16)
    lstm, statistics = (encoder(FRAMES) for encoder in fusion.encoders.values())
    expected = (3 * lstm @ lstm.T + statistics @ statistics.T) / 4
    torch.testing.assert_close(embeddings @ embeddings.T, expected)


def test_weights_are_equal_by_default() -> None:
    fusion = FusionEncoder(8, {"a": STATISTICS, "b": STATISTICS})
    torch.testing.assert_close(fusion(FRAMES), torch.cat(2 * [StatisticsEncoder(8)(FRAMES)], dim=1) / 2**0.5)


def test_settings_rebuild_it() -> None:
    fusion = FusionEncoder(
        8, {"lstm": LSTM, "statistics": STATISTICS | {"projection": True}}, {"lstm": 2, "statistics": 1}
    )
    rebuilt = build_encoder(fusion.settings)
    rebuilt.load_state_dict(fusion.state_dict())
    torch.testing.assert_close(rebuilt(FRAMES), fusion(FRAMES))
    assert rebuilt.settings == fusion.settings


def test_each_encoder_is_a_part_that_can_be_frozen() -> None:
    fusion = FusionEncoder(8, {"lstm": LSTM, "statistics": STATISTICS | {"projection": True}})
    assert list(group_parameters_by_part(fusion)) == ["encoders.lstm", "encoders.statistics"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"encoders": {"lstm": LSTM}}, "at least 2 encoders"),
        ({"encoders": [LSTM, STATISTICS]}, "at least 2 encoders"),
        ({"encoders": {"a": STATISTICS, "b": STATISTICS}, "weights": 3}, "weights=3: expected a weight for each"),
        ({"encoders": {"lstm": LSTM, "b": {"hidden_size": 3}}}, r"encoder\.encoders\.b=.*_target_"),
        ({"encoders": {"lstm": LSTM, "b.c": STATISTICS}}, r"encoder\.encoders\.b\.c: expected a name"),
        ({"encoders": {"a": STATISTICS, "b": STATISTICS}, "weights": {"a": 1}}, "a weight for each of a, b"),
        ({"encoders": {"a": STATISTICS, "b": STATISTICS}, "weights": {"a": 1, "b": 0}}, r"weights\.b=0"),
        ({"encoders": {"a": STATISTICS, "b": STATISTICS}, "weights": {"a": 1, "b": "x"}}, r"weights\.b=x"),
        ({"encoders": {"a": STATISTICS, "b": {"_target_": "os.system"}}}, r"os\.system"),
    ],
)
def test_refuses_settings(settings: dict, said: str) -> None:
    with pytest.raises(SingerVerifyError, match=said):
        FusionEncoder(8, **settings)


def test_it_is_trained_and_embeds_like_any_encoder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus")
    kept = [override for override in tiny(corpus) if not override.startswith("encoder.")]
    small = ["encoder.encoders.lstm.hidden_size=8", "encoder.encoders.lstm.num_layers=1"]
    trained = run(monkeypatch, *kept, "encoder=lstm+statistics", *small, folder=tmp_path / "run")
    model = load_model(trained)
    assert isinstance(model.encoder, FusionEncoder)
    path = next((corpus / "val").rglob("*.npy"))
    assert np.linalg.norm(model.embed(path)) == pytest.approx(1.0, abs=1e-6)


def test_a_projection_of_statistics_begins_as_none() -> None:
    torch.testing.assert_close(StatisticsEncoder(8, projection=True)(FRAMES), StatisticsEncoder(8)(FRAMES))
    assert "projection" not in StatisticsEncoder(8).settings
