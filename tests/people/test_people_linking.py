"""Who is the same person from frame to frame."""

from __future__ import annotations

import numpy as np
import pytest

from metrichmsr.people.linking import link_people

FRAME_S = 1 / 25


def link(*frames: list[tuple[float, float, float]], step_s: float = FRAME_S) -> list[list[tuple[int, int]]]:
    places = [np.array(frame, dtype=float).reshape(-1, 3) for frame in frames]
    return link_people(places, [step_s * i for i in range(len(frames))])


def test_two_who_pass_each_other_keep_their_names():
    """In either order of detection; they walk at 1.5 m/s, half a metre apart in depth."""
    rng = np.random.default_rng(0)
    frames, truth = [], []
    for i in range(50):
        x = 1.5 * FRAME_S * i - 1.5
        people = [(x, 0.0, 4.0), (-x, 0.0, 4.6)]
        order = rng.permutation(2)
        frames.append([people[k] for k in order])
        truth.append([int(np.flatnonzero(order == person)[0]) for person in (0, 1)])
    tracks = link(*frames)
    assert len(tracks) == 2
    for track in tracks:
        person = truth[0].index(track[0][1])
        assert track == [(frame, indices[person]) for frame, indices in enumerate(truth)]


def test_who_is_away_for_a_moment_comes_back():
    here = (0.0, 0.0, 4.0)
    assert link([here], [], [(0.1, 0.0, 4.1)]) == [[(0, 0), (2, 0)]]


def test_who_is_away_for_long_is_somebody_new():
    here = (0.0, 0.0, 4.0)
    assert link([here], [], [here], step_s=1.5) == [[(0, 0)], [(2, 0)]]


@pytest.mark.parametrize(("jump_m", "tracks"), [(0.4, 1), (1.5, 2)])
def test_nobody_jumps(jump_m, tracks):
    assert len(link([(0.0, 0.0, 4.0)], [(jump_m, 0.0, 4.0)])) == tracks


def test_far_away_distances_may_change_more():
    assert len(link([(0.0, 0.0, 30.0)], [(0.0, 0.0, 32.0)])) == 1
    assert len(link([(0.0, 0.0, 3.0)], [(0.0, 0.0, 5.0)])) == 2


def test_a_newcomer_does_not_take_a_name():
    """Nearer to where the first was than the first is now: the sum of distances decides, and both get a place."""
    tracks = link([(0.0, 0.0, 4.0), (1.0, 0.0, 4.0)], [(0.9, 0.0, 4.0), (0.1, 0.0, 4.0), (5.0, 0.0, 6.0)])
    assert tracks == [[(0, 0), (1, 1)], [(0, 1), (1, 0)], [(1, 2)]]


def test_empty_frames_make_no_tracks():
    assert link([], []) == []
