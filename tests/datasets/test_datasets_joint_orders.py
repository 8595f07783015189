"""Joint orders are permutations written down once: names decide, and the sets' own names must agree."""

import numpy as np
import pytest

from metrichmsr.datasets import joint_orders
from metrichmsr.structures import COCO17

ORDERS = {name: order for name, order in vars(joint_orders).items() if name.isupper() and not name.startswith("_")}


def test_every_order_has_the_number_of_joints_in_its_name():
    assert len(ORDERS) == 9
    for name, order in ORDERS.items():
        assert len(order) == int("".join(c for c in name[-2:] if c.isdigit())), name
        assert len(set(order)) == len(order), name


@pytest.mark.parametrize("name", ORDERS)
def test_every_order_contains_the_twelve_limb_joints(name):
    assert set(joint_orders.LIMBS12) <= set(ORDERS[name])


def test_limbs_are_coco_without_the_face():
    assert COCO17[5:] == joint_orders.LIMBS12


@pytest.mark.parametrize(
    ("own", "ours"),
    [
        ("rankle", "right_ankle"),
        ("Left Shoulder", "left_shoulder"),
        ("right_hip", "right_hip"),
        ("neck", "neck"),
        ("lelbow", "left_elbow"),
        ("Head top", "head_top"),
        ("left_ear", "left_ear"),
        ("spine", "spine"),
    ],
)
def test_names_are_translated(own, ours):
    assert joint_orders.canonical_name(own) == ours


def test_selection_follows_names_and_marks_what_is_missing():
    joints = np.arange(28, dtype=float).reshape(14, 2)
    selected = joint_orders.select_joints(joints, joint_orders.LSP14, COCO17)
    for i, name in enumerate(COCO17):
        if name in joint_orders.LSP14:
            np.testing.assert_array_equal(selected[i], joints[joint_orders.LSP14.index(name)])
        else:
            assert np.isnan(selected[i]).all()
    assert joint_orders.present(selected).sum() == 12


def test_selection_is_undone_by_selecting_back():
    joints = np.random.default_rng(0).normal(size=(17, 3))
    there = joint_orders.select_joints(joints, COCO17, joint_orders.CROWDPOSE14)
    back = joint_orders.select_joints(there, joint_orders.CROWDPOSE14, joint_orders.LIMBS12)
    np.testing.assert_array_equal(back, joints[5:])


def test_a_wrong_number_of_names_is_an_error():
    with pytest.raises(ValueError, match="3 joints but 17 names"):
        joint_orders.select_joints(np.zeros((3, 2)), COCO17, COCO17)
