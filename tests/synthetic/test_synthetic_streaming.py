"""Work spread over processes: order, bounds, errors with their job, and no process left behind."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import time
from functools import partial

import pytest

from metrichmsr.errors import InputError, UsageError
from metrichmsr.synthetic.streaming import WorkerError, stream


def make_square(offset: int):
    import torch

    assert multiprocessing.parent_process() is None or torch.get_num_threads() == 1

    def square(job: int) -> tuple[int, int]:
        if job < 0:
            raise InputError(f"hat_{-job}.npz: broken")
        if job == 1000:
            raise ValueError("too large")
        if job == 2000:
            os.kill(os.getpid(), signal.SIGKILL)
        if job % 4 == 0:
            time.sleep(0.02)
        return job * job + offset, os.getpid()

    return square


def broken_factory():
    raise InputError("assets: no such folder")


def no_children() -> bool:
    return not multiprocessing.active_children()


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_results_come_in_order(workers):
    results = list(stream(partial(make_square, 5), range(20), workers=workers))
    assert [(job, value) for job, (value, _) in results] == [(i, i * i + 5) for i in range(20)]
    assert len({process for _, (_, process) in results}) == max(1, workers)
    assert (os.getpid() in {process for _, (_, process) in results}) == (workers == 0)
    assert no_children()


def test_as_completed_gives_all():
    results = stream(partial(make_square, 0), range(20), workers=2, ordered=False)
    assert sorted(job for job, _ in results) == list(range(20))


def test_endless_jobs_are_taken_only_as_needed():
    taken = []

    def jobs():
        for number in itertools.count():
            taken.append(number)
            yield number

    results = stream(partial(make_square, 0), jobs(), workers=2, ahead=2)
    assert [next(results)[0] for _ in range(5)] == list(range(5))
    results.close()
    assert no_children()
    assert len(taken) <= 5 + 2 * 3 + 1, "bounded"


def test_errors_come_back_with_their_job():
    with pytest.raises(InputError, match=r"-7: hat_7.npz: broken"):
        list(stream(partial(make_square, 0), [1, 2, -7, 3], workers=2))
    assert no_children()
    with pytest.raises(WorkerError, match=r"(?s)1000: ValueError: too large.*in square"):
        list(stream(partial(make_square, 0), [1, 2, 1000, 3], workers=1))
    with pytest.raises(InputError, match="no such folder"):
        list(stream(broken_factory, [1], workers=1))
    assert no_children()


def test_a_worker_that_dies_is_told():
    with pytest.raises(WorkerError, match=r"by signal 9 \(out of memory\?\) while doing 2000"):
        list(stream(partial(make_square, 0), [2000], workers=1))
    assert no_children()


def test_usage():
    for options in ({"workers": -1}, {"workers": 1, "ahead": 0}):
        with pytest.raises(UsageError):
            next(stream(partial(make_square, 0), [1], **options))
    assert list(stream(partial(make_square, 0), [], workers=1)) == []
