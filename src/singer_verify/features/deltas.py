"""Static features with their regression deltas over time."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from singer_verify.errors import require_at_least, require_between
from singer_verify.features.recipe import resolve_recipe


class Deltas(nn.Module):
    """A recipe's frames x with first- and optionally second-order deltas: regression slopes over neighbouring frames.

    d[t] = Σ k (x[t+k] - x[t-k]) / (2 Σ k²), k = 1, ..., reach; the first and last frame are repeated beyond the edges
    (The HTK Book 3.4, section 5.9). The second order is the slope of the first.

    Shape: samples (..., samples) → (..., frames, bins · (1 + orders)): bins, first order, second order.

    Args:
        base: the static recipe, by its name in conf/features or as its settings: `features.base=mel80`.
        orders: highest delta order, 1 or 2.
        reach: frames on each side in the regression.
    """

    slopes: Tensor

    def __init__(self, base: Any, orders: int = 2, reach: int = 2) -> None:
        super().__init__()
        require_at_least(1, orders=orders, reach=reach)
        require_between(1, 2, orders=orders)
        self.base, self.orders, self.reach = resolve_recipe(base), orders, reach
        self.sample_rate, self.hop_ms, self.bandwidth_hz = (
            self.base.sample_rate,
            self.base.hop_ms,
            self.base.bandwidth_hz,
        )
        self.num_bins = self.base.num_bins * (1 + orders)
        steps = torch.arange(-reach, reach + 1, dtype=torch.float64)
        self.register_buffer("slopes", (steps / steps.square().sum()).float(), persistent=False)

    @property
    def recipe(self) -> dict[str, Any]:
        own = {"base": self.base.recipe, "orders": self.orders, "reach": self.reach}
        return {"_target_": f"{__name__}.Deltas"} | own

    def forward(self, samples: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch frames bins"]:
        orders = [self.base(samples)]
        for _ in range(self.orders):
            orders.append(self._compute_slope(orders[-1]))
        return torch.cat(orders, dim=-1)

    def _compute_slope(self, frames: Float[Tensor, "*batch frames bins"]) -> Float[Tensor, "*batch frames bins"]:
        first, last = (
            edge.expand(*frames.shape[:-2], self.reach, -1) for edge in (frames[..., :1, :], frames[..., -1:, :])
        )
        padded = torch.cat([first, frames, last], dim=-2)
        return padded.unfold(-2, 2 * self.reach + 1, 1) @ self.slopes
