"""The command that measures how fast this machine embeds recordings with a model."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from singer_verify.cli.application import JsonOption, ModelArgument, app, takes_trust
from singer_verify.cli.console import print_result

if TYPE_CHECKING:  # torch takes seconds to import
    from singer_verify.sweeps.machine_speed import MachineSpeed

MIN_BENCH_S, MAX_BENCH_S = 1.0, 3600.0


@app.command()
@takes_trust
def bench(
    model_path: ModelArgument,
    seconds: Annotated[float, typer.Option(help="About how long to measure.")] = 30.0,
    device: Annotated[
        str, typer.Option(help="cpu, cuda or cuda:N; auto: the processor and, if there is one, the GPU.")
    ] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure what this machine does with a model: speed by device, threads and batch, first call, memory.

    Files of 10 s of synthesised singing at 44.1 kHz are embedded, so no corpus is needed. Speeds are multiples of real
    time: the median of the repetitions and their range.
    """
    from singer_verify.errors import require_between
    from singer_verify.reports.console_tables import build_machine_speed_table, format_cold_start
    from singer_verify.sweeps.machine_speed import measure_machine

    require_between(MIN_BENCH_S, MAX_BENCH_S, **{"--seconds": seconds})
    with Console(stderr=True).status("Measuring") as status:
        result = measure_machine(model_path, device, seconds, lambda what: status.update(f"Measuring {what}"))
    if as_json:
        typer.echo(json.dumps(_build_record(result, model_path), indent=2))
    else:
        print_result(build_machine_speed_table(result, str(model_path)))
        for line in format_cold_start(result):
            typer.echo(line)


def _build_record(result: "MachineSpeed", model: Path) -> dict[str, Any]:
    """Build plain values; what the system does not tell is null."""
    cold_start = {name: None if math.isnan(value) else value for name, value in vars(result.cold_start).items()}
    measurements = [asdict(measurement) | {"median": measurement.median} for measurement in result.measurements]
    gpu_peak_mib = None if math.isnan(result.gpu_peak_mib) else result.gpu_peak_mib
    record = {"model": str(model), "cold_start": cold_start, "measurements": measurements}
    return record | {"gpu": result.gpu or None, "gpu_peak_mib": gpu_peak_mib}
