"""A service whose models are made up: it recovers two people of known stature from any photo."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Iterator

import pytest
from app_photos import STATURES, save_photo

from metrichmsr.app.service import RecoveryService
from metrichmsr.app.workspace import Upload, Workspace


@pytest.fixture(scope="module", autouse=True)
def no_loop_is_left() -> Iterator[None]:
    """Gradio makes an event loop for the main thread and leaves it open, which Python complains of much later."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of asking where there is none
        try:
            loop = asyncio.get_event_loop()
        except RuntimeError:
            return
    loop.close()
    asyncio.set_event_loop(None)


@pytest.fixture
def fake_recover(make_recovery, make_camera, make_person) -> Callable:
    """Two people of :data:`STATURES`; remembers the options it was asked with, and what it was given."""

    def recover(options, photo):
        recover.asked.append((options, photo))
        if recover.error is not None:
            raise recover.error
        height, width = photo.rgb.shape[:2]
        camera = make_camera(width, height, source="estimated:panorama")
        people = tuple(
            make_person(i, (0.6 - 1.2 * i, 0.1, 4.0 + i), camera, height_m=stature)
            for i, stature in enumerate(STATURES)
        )
        warnings = ("--height 1.8 was taken for all 2 people; give a JSON by id to tell them apart", "<b>odd</b>")
        return make_recovery(photo.path, people, camera=camera, image=photo.rgb, warnings=warnings)

    recover.asked, recover.error = [], None
    return recover


@pytest.fixture
def workspace(tmp_path) -> Iterator[Workspace]:
    made = Workspace(tmp_path)
    yield made
    made.close()


@pytest.fixture
def service(fake_recover, workspace) -> RecoveryService:
    return RecoveryService(fake_recover, workspace, max_pixels=1_000_000)


@pytest.fixture
def upload(workspace) -> Callable[..., Upload]:
    """Puts a file where Gradio puts uploads."""

    def make(content: bytes | None = None, name: str = "holiday.jpg", folder: str = "0123abcd") -> Upload:
        path = workspace.root / folder / "upload.jpg"
        path.parent.mkdir(exist_ok=True)
        if content is None:
            save_photo(path)
        else:
            path.write_bytes(content)
        return Upload(path, name)

    return make
