"""Work spread over processes, as a stream: results come as they are asked for, and memory does not grow.

Each worker is started fresh (spawned), makes its own function once (loading assets and body model), and uses one
thread. It is sent a few jobs ahead and no more, so that a slow reader holds the workers back. Programs that stream with
workers need the usual ``if __name__ == "__main__":`` around what they do.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any, Generic, TypeVar

from metrichmsr.errors import MetricHMSRError, UsageError

J = TypeVar("J")
R = TypeVar("R")

Factory = Callable[[], Callable[[J], R]]
"""Called once in each worker: makes what does a job. Must survive pickling (``functools.partial`` of a function)."""

_GRACE_S = 5.0
_TRIM_EVERY = 16


class WorkerError(RuntimeError):
    """A job failed in a worker, or the worker died of it; the message names the job and holds the traceback there."""


def stream(
    factory: Factory[J, R], jobs: Iterable[J], *, workers: int, ordered: bool = True, ahead: int = 2
) -> Generator[tuple[J, R], None, None]:
    """Do all jobs and yield each with its result.

    Closing the iterator (leaving a loop, an error, Ctrl-C) ends the workers.

    Args:
        factory: makes the function that does a job.
        jobs: small things that survive pickling, such as seeds; may be endless.
        workers: processes; 0 works in this one, on every thread torch has.
        ordered: yield in the order of ``jobs``; otherwise as they are finished.
        ahead: jobs given to each worker before their results were taken.

    Raises:
        MetricHMSRError: A job raised it in a worker; it is raised again here, with the job named.
        WorkerError: A job raised anything else, or a worker died (memory ran out, somebody ended it).
        UsageError: Fewer than 0 workers, or less than one job ahead.
    """
    if workers < 0 or ahead < 1:
        raise UsageError(f"{workers} workers with {ahead} jobs ahead: at least 0 and 1")
    if workers == 0:
        do = factory()
        for number, job in enumerate(jobs):
            yield job, do(job)
            _return_memory(number)
        return
    pool = _Pool[J, R](factory, workers)
    try:
        yield from pool.run(iter(jobs), ordered=ordered, ahead=ahead)
    finally:
        pool.close()


@dataclass
class _Worker(Generic[J]):
    process: Any
    connection: Any
    jobs: dict[int, J] = field(default_factory=dict)
    """Sent and not answered yet, by number."""


class _Pool(Generic[J, R]):
    def __init__(self, factory: Factory[J, R], workers: int) -> None:
        context = multiprocessing.get_context("spawn")
        packed = pickle.dumps(factory)
        self.workers: list[_Worker[J]] = []
        try:
            for number in range(workers):
                ours, theirs = context.Pipe()
                process = context.Process(
                    target=_work, args=(theirs, packed), name=f"metrichmsr-stream-{number}", daemon=True
                )
                process.start()
                theirs.close()  # else the end of the worker would not end the pipe
                self.workers.append(_Worker(process, ours))
        except BaseException:
            self.close()
            raise

    def run(self, jobs: Iterator[J], *, ordered: bool, ahead: int) -> Iterator[tuple[J, R]]:
        numbered = enumerate(jobs)
        finished: dict[int, tuple[J, R]] = {}
        following = 0
        # Results that wait for an earlier one count too: one slow job must not let the others run away.
        window = len(self.workers) * (ahead + 1) if ordered else None
        pending: tuple[int, J] | None = next(numbered, None)
        while True:
            while pending is not None and (window is None or pending[0] < following + window):
                idlest = min(self.workers, key=lambda worker: len(worker.jobs))
                if len(idlest.jobs) >= ahead:
                    break
                self._send(idlest, *pending)
                pending = next(numbered, None)
            if not any(worker.jobs for worker in self.workers):
                break
            for number, job, result in self._receive():
                if ordered:
                    finished[number] = job, result
                else:
                    yield job, result
            while following in finished:
                yield finished.pop(following)
                following += 1

    def _send(self, worker: _Worker[J], number: int, job: J) -> None:
        worker.jobs[number] = job
        try:
            worker.connection.send((number, job))
        except (BrokenPipeError, ConnectionError):
            self._died(worker)

    def _receive(self) -> list[tuple[int, J, R]]:
        by_connection = {worker.connection: worker for worker in self.workers if worker.jobs}
        received: list[tuple[int, J, R]] = []
        for connection in wait(list(by_connection)):
            worker = by_connection[connection]
            try:
                number, fine, content = worker.connection.recv()
            except (EOFError, ConnectionError):
                self._died(worker)
                raise  # never reached: _died raises
            job = worker.jobs.pop(number)
            if not fine:
                _raise(job, *content)
            received.append((number, job, content))
        return received

    def _died(self, worker: _Worker[J]) -> None:
        worker.process.join(_GRACE_S)
        code = worker.process.exitcode
        how = f"with status {code}" if code is None or code >= 0 else f"by signal {-code}"
        hint = " (out of memory?)" if code == -signal.SIGKILL else ""
        job = next(iter(worker.jobs.values()), None)
        raise WorkerError(f"a worker ended {how}{hint} while doing {job}")

    def close(self) -> None:
        for worker in self.workers:
            worker.connection.close()
            worker.process.terminate()
        for worker in self.workers:
            worker.process.join(_GRACE_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.process.close()
        self.workers = []


def _raise(job: Any, error: Exception | None, name: str, message: str, trace: str) -> None:
    if isinstance(error, MetricHMSRError):
        raise type(error)(f"{job}: {message}") from WorkerError(trace)
    raise WorkerError(f"{job}: {name}: {message}\n\n{trace}") from error


def _work(connection: Any, packed: bytes) -> None:
    """What a worker process does: until the pipe ends, a job in, a result out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent decides
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    do: Callable[[Any], Any] | None = None
    done = 0
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionError):  # the parent is gone
        while True:
            number, job = connection.recv()
            try:
                if do is None:
                    do = pickle.loads(packed)()
                result = True, do(job)  # type: ignore[reportOptionalCall]
            except Exception as error:
                result = False, _told(error)
            connection.send((number, *result))
            done += 1
            _return_memory(done)


def _return_memory(done: int) -> None:
    # Tensors of ever other sizes leave the heap full of holes: a process that needs 600 MB was seen to hold 960 after
    # two minutes. Now and then it is told to give them back; that costs some milliseconds.
    if done % _TRIM_EVERY == _TRIM_EVERY - 1 and sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


def _told(error: Exception) -> tuple[Exception | None, str, str, str]:
    carried: Exception | None = error
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # some errors cannot be unpickled; what they say can
        carried = None
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return carried, type(error).__name__, str(error), text
