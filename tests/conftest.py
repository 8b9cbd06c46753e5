"""One torch thread: tests are small, and on a machine of many cores waking the others takes longer than the work."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; processes that tests start inherit it
