"""The order in which a training asks for its batches."""

from collections.abc import Iterator

from torch.utils.data import Sampler


class StepsFrom(Sampler[int]):
    """The steps of a training, from the one at which it starts or continues; its length counts all of them."""

    def __init__(self, first: int, num_steps: int) -> None:
        self.first, self.num_steps = first, num_steps

    def __len__(self) -> int:
        return self.num_steps

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.num_steps))
