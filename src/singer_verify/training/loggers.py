"""TensorBoard's events of a run, and nothing else, in the run folder."""

from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.compat.proto.event_pb2 import Event, SessionLog


class RunTensorBoardLogger(TensorBoardLogger):
    """Lightning's logger without its `hparams.yaml`: the run's `config.yaml` says all of it.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: str) -> None:
        super().__init__(save_dir=folder, name="", version="")

    @rank_zero_only
    def save(self) -> None:
        self.experiment.flush()

    @rank_zero_only
    def drop_events_from(self, step: int) -> None:
        """Have TensorBoard drop what was logged at this step or later before the run was stopped."""
        restart = Event(step=step, session_log=SessionLog(status=SessionLog.START))
        self.experiment._get_file_writer().add_event(restart)
