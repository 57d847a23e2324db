"""The encoder: unit rows, every setting does something, and the state dict bears the names others expect."""

import os
import subprocess
import sys

import pytest
import torch

from singer_verify.encoders import lstm
from singer_verify.encoders.encoder import build_encoder
from singer_verify.encoders.lstm import POOLINGS, LSTMEncoder
from singer_verify.errors import SingerVerifyError
from singer_verify.logging_once import forget_messages

FRAMES = torch.rand(5, 12, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("initialisation", ["default", "orthogonal"])
def test_rows_have_unit_length(pooling: str, bidirectional: bool, initialisation: str) -> None:
    torch.manual_seed(0)
    encoder = LSTMEncoder(
        8, 16, 2, 10, bidirectional=bidirectional, pooling=pooling, initialisation=initialisation, dropout=0.1
    )
    torch.testing.assert_close(encoder(FRAMES).norm(dim=1), torch.ones(5))


def test_relu_keeps_embeddings_in_the_positive_quadrant() -> None:
    assert (LSTMEncoder(8, 16, 2, 10)(FRAMES) >= 0).all()
    assert (LSTMEncoder(8, 16, 2, 10, relu=False)(FRAMES) < 0).any()


def test_default_is_the_network_of_the_earlier_encoders() -> None:
    encoder = LSTMEncoder(40)
    expected = torch.nn.ModuleDict({"lstm": torch.nn.LSTM(40, 256, 3), "linear": torch.nn.Linear(256, 256)})
    shapes = {name: tensor.shape for name, tensor in encoder.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in expected.state_dict().items()}
    _, (hidden, _) = encoder.lstm(FRAMES.repeat(1, 1, 5))
    raw = encoder.linear(hidden[-1]).relu()
    torch.testing.assert_close(encoder(FRAMES.repeat(1, 1, 5)), raw / raw.norm(dim=1, keepdim=True))


def test_both_directions_reach_the_last_state() -> None:
    encoder = LSTMEncoder(8, 16, 1, 10, bidirectional=True, relu=False)
    changed = FRAMES.clone()
    changed[:, -1] += 1.0
    assert not torch.allclose(encoder(FRAMES), encoder(changed))


def test_embeddings_do_not_depend_on_batch_neighbours() -> None:
    """Another encoder divides by the maximum of the whole batch."""
    encoder = LSTMEncoder(8, 32, 3, 16).eval()
    together = encoder(FRAMES)
    for row in range(5):
        torch.testing.assert_close(encoder(FRAMES[row : row + 1])[0], together[row], atol=1e-6, rtol=0)


def test_orthogonal_initialisation_is_orthogonal() -> None:
    encoder = LSTMEncoder(8, 16, 2, 16, initialisation="orthogonal")
    for gate in encoder.lstm.weight_hh_l1.split(16):
        torch.testing.assert_close(gate @ gate.T, torch.eye(16), atol=1e-5, rtol=0)
    torch.testing.assert_close(encoder.lstm.bias_ih_l0 + encoder.lstm.bias_hh_l0, torch.eye(4)[1].repeat_interleave(16))


def test_settings_rebuild_the_encoder() -> None:
    encoder = LSTMEncoder(8, 16, 2, 10, pooling="mean", relu=False)
    rebuilt = build_encoder(encoder.settings)
    rebuilt.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(rebuilt(FRAMES), encoder(FRAMES))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_bins": 8, "hidden_size": 0}, r"encoder\.hidden_size=0"),
        (
            {"num_bins": 8, "pooling": "first"},
            "expected one of last, mean, attention, statistics",
        ),
        ({"num_bins": 8, "dropout": 1.5}, r"encoder\.dropout=1\.5"),
    ],
)
def test_refuses_settings(settings: dict, said: str) -> None:
    with pytest.raises(SingerVerifyError, match=said):
        LSTMEncoder(**settings)


def test_the_lstm_stays_in_single_precision_where_a_processor_runs_none_in_bfloat16(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lstm, "can_run_bf16_lstm", lambda: False)
    forget_messages()
    encoder = LSTMEncoder(8, 16, 2, 10)
    outputs: list[torch.Tensor] = []
    encoder.lstm.register_forward_hook(lambda module, inputs, output: outputs.append(output[0]))
    exact = encoder(FRAMES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = encoder(FRAMES)
        encoder(FRAMES).sum().backward()
    torch.testing.assert_close(outputs[1], outputs[0], atol=0, rtol=0)
    torch.testing.assert_close(mixed, exact, atol=0.02, rtol=0)  # the projection is in bfloat16
    assert not torch.equal(mixed, exact)
    assert caplog.text.count("runs no LSTM in bfloat16") == 1


def test_the_processor_answers_alike_anywhere_and_the_random_state_stays() -> None:
    state = torch.get_rng_state()
    lstm.can_run_bf16_lstm.cache_clear()
    answer = lstm.can_run_bf16_lstm()
    lstm.can_run_bf16_lstm.cache_clear()
    with torch.inference_mode():  # of a validation
        assert lstm.can_run_bf16_lstm() == answer
    torch.testing.assert_close(torch.get_rng_state(), state, atol=0, rtol=0)


@pytest.mark.slow
def test_a_processor_of_avx2_trains_in_mixed_precision() -> None:
    """OneDNN may be told that the processor has no more than AVX2, for which it has no LSTM in bfloat16."""
    script = (
        "import torch\nfrom singer_verify.encoders.lstm import LSTMEncoder, can_run_bf16_lstm\n"
        "encoder = LSTMEncoder(8, 16, 2, 10)\n"
        "with torch.autocast('cpu', dtype=torch.bfloat16):\n    encoder(torch.rand(5, 12, 8)).sum().backward()\n"
        "assert encoder.lstm.weight_hh_l0.grad.norm() > 0\nassert not can_run_bf16_lstm()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"})
