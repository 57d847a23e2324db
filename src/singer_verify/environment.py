"""Environment variables that torch reads as it is loaded; programs set them first, a library import sets none."""

import os


def set_torch_environment() -> None:
    """Set how torch's threads wait and which CPU instructions it uses, unless the user has; call before torch loads."""
    # Read by OpenMP once, as torch is loaded. Threads that wait for each other then sleep instead of spinning: on a
    # machine whose cores are not all free, spinning makes an LSTM step more than twenty times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Read by oneDNN at its first bf16 product. Some virtual machines advertise AMX and kill the process that uses it.
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
