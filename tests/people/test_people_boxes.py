from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from metrichmsr.errors import InputError
from metrichmsr.people.boxes import ANY_IMAGE, boxes_for_image, read_boxes


def write(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


BOX = [10.0, 20.0, 60.5, 120.0]


@pytest.mark.parametrize(
    ("name", "content", "key"),
    [
        ("plain.json", [BOX], ANY_IMAGE),
        ("by_file.json", {"a.jpg": [BOX]}, "a.jpg"),
        ("coco.json", [{"bbox": [10, 20, 50.5, 100], "score": 0.9}], ANY_IMAGE),
        ("coco_named.json", [{"bbox": [10, 20, 50.5, 100], "file_name": "a.jpg"}], "a.jpg"),
        (
            "coco_full.json",
            {
                "images": [{"id": 7, "file_name": "a.jpg"}],
                "annotations": [{"image_id": 7, "bbox": [10, 20, 50.5, 100]}],
            },
            "a.jpg",
        ),
        ("corners.csv", "file,x0,y0,x1,y1,score\na.jpg,10,20,60.5,120,0.5\n", "a.jpg"),
        ("sizes.csv", "x,y,width,height\n10,20,50.5,100\n", ANY_IMAGE),
    ],
)
def test_all_spellings_give_the_same_box(tmp_path: Path, name: str, content: object, key: str) -> None:
    boxes = read_boxes(write(tmp_path, name, content))
    assert list(boxes) == [key]
    np.testing.assert_array_equal(boxes[key], [BOX])
    found = boxes_for_image(boxes, tmp_path / "a.jpg", width=100, height=150, source=name)
    np.testing.assert_array_equal(found, [BOX])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nan.json", "[[10, 20, NaN, 30]]", "box 0 has a number that is not finite"),
        ("inverted.json", [BOX, [60, 20, 10, 120]], "box 1 is empty"),
        ("short.json", [[1, 2, 3]], "box 0 is not"),
        ("words.json", {"a.jpg": [["x", 1, 2, 3]]}, "'a.jpg' box 0 is not"),
        ("flags.json", [[True, False, True, True]], "box 0 is not"),
        ("size.json", [{"bbox": [10, 20, -5, 30]}], "box 0 is empty"),
        ("no_bbox.json", [{"score": 1}], "box 0 is not"),
        ("number.json", "3", "must hold a list"),
        ("inner.json", {"a.jpg": 3}, "must map to a list"),
        ("broken.json", "[[1, 2", "neither JSON"),
        ("header.csv", "a,b\n1,2\n", "header needs"),
        ("cell.csv", "x0,y0,x1,y1\n1,2,three,4\n", "line 2 is not"),
        ("few.csv", "x0,y0,x1,y1\n1,2\n", "line 2 is not"),
    ],
)
def test_bad_files_name_file_and_entry(tmp_path: Path, name: str, content: object, message: str) -> None:
    path = write(tmp_path, name, content)
    with pytest.raises(InputError, match=message) as error:
        read_boxes(path)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.json"):
        read_boxes(tmp_path / "missing.json")
    binary = tmp_path / "binary.json"
    binary.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(InputError, match="not text"):
        read_boxes(binary)


def test_boxes_outside_the_picture_are_refused_and_those_reaching_out_kept() -> None:
    reaching = np.array([[-20.0, -5, 60, 300]])
    kept = boxes_for_image({ANY_IMAGE: reaching}, "a.jpg", width=100, height=150, source="b.json")
    np.testing.assert_array_equal(kept, reaching)
    with pytest.raises(InputError, match=r"b\.json: box 0 .* lies outside a\.jpg \(100×150 pixels\)"):
        boxes_for_image({ANY_IMAGE: np.array([[100.0, 0, 120, 30]])}, "a.jpg", width=100, height=150, source="b.json")


def test_boxes_are_found_by_path_name_and_stem() -> None:
    box = np.array([BOX])
    for key in ("photos/a.jpg", "a.jpg", "a", "elsewhere/a.jpg"):
        found = boxes_for_image({key: box, "b.jpg": 2 * box}, "photos/a.jpg", width=100, height=150, source="b.json")
        np.testing.assert_array_equal(found, box)
    assert boxes_for_image({"b.jpg": box}, "a.jpg", width=100, height=150, source="b.json").shape == (0, 4)


@pytest.mark.parametrize(("box", "hint"), [([0.1, 0.2, 0.5, 0.9], "not shares"), ([10, 10, 11, 90], "two pixels")])
def test_boxes_that_show_nothing_are_refused(box, hint):
    with pytest.raises(InputError, match=hint):
        boxes_for_image({ANY_IMAGE: np.array([box])}, "a.jpg", width=640, height=480, source="boxes.json")
