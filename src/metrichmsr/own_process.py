"""What a process that is ours alone settles before torch is loaded. The command does; the library leaves it to you."""

from __future__ import annotations

import os


def settle() -> None:
    """Let OpenMP's threads sleep while they wait for each other, unless the environment says otherwise.

    By default they spin. A picture takes thousands of short parallel loops, and where another program keeps one of the
    cores busy, each of them waits until the system gives the late thread its turn: polishing one person took 0.78 s
    instead of 0.1 s. Read when torch is loaded, so it comes first.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
