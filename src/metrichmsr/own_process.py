"""What a process that is ours alone settles before torch is loaded. The command does; the library leaves it to you."""

from __future__ import annotations

import os

SPINS = "1000"
"""Rounds that a thread of GNU's OpenMP waits awake; 300,000 by default."""


def settle() -> None:
    """Let OpenMP's threads sleep soon while they wait for each other, unless the environment says otherwise.

    A picture takes thousands of short parallel loops, each as slow as its last thread. Where other programs keep the
    cores busy, or a container has fewer of them than it shows, that thread does not run while the others spin on its
    core: polishing one person then took seconds where it takes a tenth of one. Alone on a machine, sleeping soon costs
    a tenth of the time. Read when torch is loaded, so it comes first.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
