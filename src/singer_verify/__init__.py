"""Voice identity embeddings of singing."""

import os

# OpenMP reads this once, when torch is loaded. Threads that wait for each other then sleep instead of spinning: on a
# machine whose cores are not all free, spinning makes an LSTM step more than twenty times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# oneDNN reads this at its first bf16 product. Some virtual machines advertise AMX and kill the process that uses it;
# bf16 on a CPU does without it, unless the user says otherwise.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
