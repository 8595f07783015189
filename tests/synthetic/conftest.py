"""The small scene, made once."""

from __future__ import annotations

import pytest
from small_scenes import SmallScene, make_small_scene


@pytest.fixture(scope="session")
def small_scene() -> SmallScene:
    """See :func:`small_scenes.make_small_scene`."""
    return make_small_scene()
