"""Errors a user can cause and mend. The command line prints them as one line, without a traceback."""

from __future__ import annotations

from collections.abc import Collection


class MetricHMSRError(Exception):
    """Base of all errors that name a cause outside the program: a file, an option, a missing model."""


class InputError(MetricHMSRError):
    """An image, video, box file or intrinsics file that cannot be used; the message names the file and the cause."""


class ModelFileError(MetricHMSRError):
    """A body model or checkpoint that is missing, or not what its name says."""


class UsageError(MetricHMSRError):
    """Options that contradict each other or make no sense (exit status 2)."""


class MissingPackageError(UsageError):
    """Something was asked for that needs a package which is not installed; the message says how to get it.

    A usage error, for it concerns the run: where it concerns one input (a video among photos), that one is an
    :class:`InputError`, and the others are done.
    """


def what_it_has(names: Collection[str]) -> str:
    """What a file has entries for, in a few words: for messages that it has none for something else."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"it has {', '.join(list(names)[:3])}{more}" if names else "it is empty"
