"""Voice identity embeddings of singing."""

import os

# OpenMP reads this once, when torch is loaded. Threads that wait for each other then sleep instead of spinning: on a
# machine whose cores are not all free, spinning makes an LSTM step more than twenty times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
