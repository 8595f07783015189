"""The shipped recovery on a handful of real frames: a floor under its accuracy, not a record of it."""

import pytest

from metrichmsr.evaluation.blazepose_world import BlazePoseWorld
from metrichmsr.evaluation.real import evaluate_real

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(shared_dir):
    from metrichmsr.recover import Recoverer, RecoverOptions

    folder = shared_dir / "data" / "real"
    if not folder.is_dir():
        pytest.skip("no real sets beside the repository")
    recoverer = Recoverer(RecoverOptions(depth="none"))
    sets = ("rgbd_uc3m_height", "mpi3dhp_mini")
    done = evaluate_real(
        lambda image, camera, /: recoverer(image, camera=camera),
        folder,
        sets=sets,
        others={"BlazePose": BlazePoseWorld()},
    )
    return {result.name: result for result in done}


def test_standing_people_are_found_and_nobody_in_the_empty_room(results):
    counts = results["rgbd_uc3m_height"].counts
    assert (counts["matched"], counts["false alarms"], counts["no common pixels"]) == (4, 0, 0)


def test_standing_people_are_about_where_the_sensor_sees_them(results):
    recovered = results["rgbd_uc3m_height"].tables[0].rows[0].values
    assert recovered["mean_abs_percent"] < 15
    assert results["rgbd_uc3m_height"].tables[-1].rows[0].values["mean_abs_cm"] < 12


def test_bodies_and_blazepose_beat_the_constant(results):
    body, blazepose, figure = (row.values for row in results["mpi3dhp_mini"].tables[0].rows)
    for values in (body, blazepose):
        assert values["n"] == 4
        assert values["mpjpe_mm"] < 0.6 * figure["mpjpe_mm"]
        assert values["pa_mpjpe_mm"] < 0.6 * figure["pa_mpjpe_mm"]
