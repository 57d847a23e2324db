"""Where there is no GPU, and what is refused."""

import copy
import pickle

import pytest
import torch

from singer_verify.encoders.lstm import LSTMEncoder
from singer_verify.errors import SingerVerifyError
from singer_verify.training.cuda_graph import GraphedEncoder, require_graph_choice, require_graph_device
from singer_verify.training.module import Verifier


@pytest.mark.parametrize("mode", ["auto", False])
def test_on_a_processor_the_encoder_itself_runs(mode: str | bool) -> None:
    encoder, frames = LSTMEncoder(3, 4, 2, 5), torch.rand(2, 7, 3)
    assert torch.equal(GraphedEncoder(encoder, mode)(frames), encoder(frames))


def test_a_graph_that_must_be_needs_a_gpu() -> None:
    with pytest.raises(
        SingerVerifyError, match=r"trainer.cuda_graph=true: the training runs on cpu; expected one CUDA"
    ):
        GraphedEncoder(LSTMEncoder(3, 4, 2, 5), True)(torch.rand(2, 7, 3))


def test_a_graph_that_must_be_needs_one_gpu() -> None:
    require_graph_device(torch.device("cuda", 0), 1)
    with pytest.raises(SingerVerifyError, match=r"trainer.cuda_graph=true: 2 devices train together; expected one"):
        require_graph_device(torch.device("cuda", 0), 2)


@pytest.mark.parametrize("mode", ["on", 1, None, "true"])
def test_other_choices_are_refused(mode: object) -> None:
    with pytest.raises(SingerVerifyError, match=r"trainer.cuda_graph=.*: expected auto, true or false"):
        require_graph_choice(mode)


def test_copies_run_their_own_encoder() -> None:
    """An average of the weights is made of a copy of the module; DDP pickles it."""
    verifier = Verifier(LSTMEncoder(3, 4, 2, 5), cuda_graph=False)
    for copied in (copy.deepcopy(verifier), pickle.loads(pickle.dumps(verifier))):
        assert copied.graphed_encoder.encoder is copied.encoder
        assert copied.encoder is not verifier.encoder
        assert copied.graphed_encoder.mode is False


def test_layers_one_by_one_are_the_stack() -> None:
    """With dropout, a GPU runs layer by layer."""
    for bidirectional in (False, True):
        encoder = LSTMEncoder(3, 4, 3, 5, bidirectional=bidirectional)
        frames = torch.rand(2, 7, 3)
        outputs, hidden = encoder._run_lstm_with_dropout(frames)
        expected, (last, _) = encoder.lstm(frames)
        torch.testing.assert_close((outputs, hidden), (expected, last))
        encoder = LSTMEncoder(3, 4, 3, 5, dropout=0.5, bidirectional=bidirectional)
        first, second = (encoder._run_lstm_with_dropout(frames)[0] for _ in range(2))
        assert not torch.allclose(first, second)
