"""Environment variables that torch reads as it is loaded; programs set them first, a library import sets none."""

import logging
import os
import subprocess
import sys
from pathlib import Path

log = logging.getLogger(__name__)

ISA_VARIABLE = "ONEDNN_MAX_CPU_ISA"
ISA_WITHOUT_AMX = "AVX512_CORE_BF16"  # the largest instruction set that leaves the matrix units alone
CPU_INFO = Path("/proc/cpuinfo")
AMX_FLAG = "amx_bf16"
PROBE = """
import torch
lstm = torch.nn.LSTM(64, 64)
with torch.autocast("cpu", dtype=torch.bfloat16):
    lstm(torch.ones(16, 8, 64))[0].float().sum().backward()
"""
MAX_PROBE_SECONDS = 120.0


def set_torch_environment(precision: object = 32) -> None:
    """Set how torch's threads wait and which CPU instructions it uses, unless the user has; call before torch loads.

    Args:
        precision: as Lightning takes it; where products are computed in bfloat16, the processor's matrix units are
            tried before they are used.
    """
    # Read by OpenMP once, as torch is loaded. Threads that wait for each other then sleep instead of spinning: on a
    # machine whose cores are not all free, spinning makes an LSTM step more than twenty times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Read by oneDNN at its first product in bfloat16.
    if "16" in str(precision) and ISA_VARIABLE not in os.environ and _has_amx():
        works = _runs_without_a_crash(PROBE)
        os.environ[ISA_VARIABLE] = "DEFAULT" if works else ISA_WITHOUT_AMX
        if not works:
            log.warning(
                "The processor's matrix units (AMX) end a process that uses them; they are left off (%s=%s).",
                ISA_VARIABLE,
                ISA_WITHOUT_AMX,
            )


def _has_amx() -> bool:
    """Whether the processor says that it has matrix units for bfloat16; some virtual machines say so wrongly."""
    try:
        return AMX_FLAG in CPU_INFO.read_text(errors="replace").split()
    except OSError:  # no Linux
        return False


def _runs_without_a_crash(script: str) -> bool:
    """Whether a Python script ends well in a process of its own."""
    try:
        process = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=MAX_PROBE_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return process.returncode == 0
