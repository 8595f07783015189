"""Photographs with labelled keypoints: what samples say of them, what losses hold, and that runs learn from them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("accelerate")

from metrichmsr import cli
from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.bodies.shape_prior import ShapePrior
from metrichmsr.datasets import read_coco
from metrichmsr.errors import InputError
from metrichmsr.hmr.config import SMALL
from metrichmsr.hmr.pose_prior import PosePrior
from metrichmsr.people import Landmarker
from metrichmsr.structures import COCO17
from metrichmsr.training.config import TrainConfig
from metrichmsr.training.data import TrainingData
from metrichmsr.training.landmark_errors import LandmarkErrors
from metrichmsr.training.photo_losses import labelled_joints2d_loss, pose_prior_loss, shape_prior_loss
from metrichmsr.training.photos import samples_from_photo
from metrichmsr.training.samples import Samples, kind_of, read_samples, write_samples
from metrichmsr.training.simulated import SimulatedLandmarks
from metrichmsr.training.trainer import BEST, LOG, Trainer

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
TINY = replace(SMALL, width=24, heads=2, hidden=48, queries=2, slots=2, patch_layers=1, global_layers=1)
WOMAN = {"nose": (1010, 535), "left_shoulder": (975, 585), "right_shoulder": (1030, 590), "left_hip": (985, 700),
         "right_hip": (1025, 700), "left_knee": (960, 800), "right_knee": (1040, 800)}  # fmt: skip
"""Some joints of the woman in street.jpg, by eye and 0-based."""


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("coco") / "person_keypoints.json"
    triples = [(*WOMAN[name], 2) if name in WOMAN else (0, 0, 0) for name in COCO17]
    one = {"image_id": 1, "bbox": [897, 520, 208, 415], "area": 40000, "iscrowd": 0}
    few = [triple if name == "nose" else (0, 0, 0) for name, triple in zip(COCO17, triples, strict=True)]
    people = [{**one, "keypoints": [x for triple in chosen for x in triple]} for chosen in (triples, few)]
    category = {"name": "person", "keypoints": list(COCO17)}
    images = [{"id": 1, "file_name": "street.jpg"}, {"id": 2, "file_name": "elsewhere.jpg"}]
    path.write_text(json.dumps({"categories": [category], "annotations": people, "images": images}))
    return path


@pytest.fixture(scope="module")
def photo(labels: Path) -> Samples:
    (frame,) = read_coco(labels, PHOTOS)
    assert len(frame.people) == 2
    made = samples_from_photo(frame, Landmarker(), AnnyBody.load(), np.random.default_rng(0))
    assert made is not None
    return made


@pytest.fixture(scope="module")
def simulated() -> Samples:
    return SimulatedLandmarks.load(None).sample(24, torch.Generator().manual_seed(0))


def test_labels_are_in_the_crop_and_those_with_too_few_stay_out(photo: Samples) -> None:
    assert len(photo) == 1
    assert photo.keypoints is not None
    labelled = photo.keypoints[0, :, 2]
    assert [name for name, weight in zip(COCO17, labelled, strict=True) if weight] == list(WOMAN)
    assert (photo.keypoints[0, :, :2].abs() < 1).all()
    # What BlazePose sees of the same joints lies near, in the same crop.
    seen = photo.landmarks[0, [11, 12, 23, 24], :2]
    assert (seen - photo.keypoints[0, [5, 6, 11, 12], :2]).norm(dim=-1).max() < 0.25
    assert photo.pose.isnan().all()
    assert photo.landmarks.isfinite().all()


def test_shards_of_photos_come_back(photo: Samples, tmp_path: Path) -> None:
    path = tmp_path / "photos.safetensors"
    write_samples(path, photo)
    assert kind_of(path) == "photos"
    back = read_samples([path])
    assert back.keypoints is not None
    assert photo.keypoints is not None
    assert torch.equal(back.keypoints, photo.keypoints)


def test_by_command(labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "samples", "--kind", "photos", "--out", str(tmp_path)]
    assert cli.main([*arguments, "--labels", str(labels), "--pictures", str(PHOTOS)]) == 0
    (shard,) = tmp_path.iterdir()
    assert shard.name == "train_photos_00_00000.safetensors"
    assert len(read_samples([shard])) == 1
    assert cli.main(arguments) == 2
    assert "--labels and --pictures" in capsys.readouterr().err


def test_reprojection_counts_what_is_labelled_and_nothing_else() -> None:
    K = torch.tensor([[[400.0, 0, 128], [0, 400, 128], [0, 0, 1]]])
    joints = torch.rand(1, 17, 3, generator=torch.Generator().manual_seed(0)) - 0.5 + torch.tensor([0.0, 0.0, 4.0])
    place = torch.stack([(400 * joints[0, :, k] / joints[0, :, 2] + 128) / 128 - 1 for k in (0, 1)], dim=-1)
    weight = (torch.arange(17) < 7).float()
    keypoints = torch.cat([place, weight[:, None]], dim=-1)[None]
    assert labelled_joints2d_loss(joints, keypoints, K, 256).item() == pytest.approx(0, abs=1e-6)
    moved = keypoints.clone()
    moved[0, 7:, :2] += 0.5
    assert labelled_joints2d_loss(joints, moved, K, 256).item() == pytest.approx(0, abs=1e-6)
    moved[0, 0, :2] += torch.tensor([0.3, -0.4])
    assert labelled_joints2d_loss(joints, moved, K, 256).item() == pytest.approx(0.7 / 7, abs=1e-5)
    assert labelled_joints2d_loss(joints, moved * torch.tensor([1.0, 1.0, 0.0]), K, 256).item() == 0
    behind = joints * torch.tensor([1.0, 1.0, -1.0])
    assert labelled_joints2d_loss(behind, moved, K, 256).item() == 0


def test_pose_energy_is_the_marginal_of_the_mixture() -> None:
    prior = PosePrior.load()
    coefficients, _ = prior.sample(3, torch.Generator().manual_seed(0))
    d = prior.n_coefficients
    for row, energy in zip(coefficients.double(), prior.pose_energy(coefficients), strict=True):
        logs = []
        for weight, mean, whiten in zip(prior.log_weights, prior.means.double(), prior.whiten.double(), strict=True):
            covariance = torch.linalg.inv(whiten.T @ whiten)[:d, :d]
            offset = row - mean[:d]
            quadratic = offset @ torch.linalg.solve(covariance, offset)
            logs.append(weight - 0.5 * (quadratic + torch.logdet(covariance) + d * math.log(2 * math.pi)))
        assert energy.item() == pytest.approx(-torch.stack(logs).logsumexp(0).item(), abs=0.05)


def test_priors_prefer_people() -> None:
    import roma

    prior, shapes = PosePrior.load(), ShapePrior.load()
    coefficients, _ = prior.sample(8, torch.Generator().manual_seed(0))
    natural = prior.to_rotvecs(coefficients)
    twisted = natural + torch.randn(natural.shape, generator=torch.Generator().manual_seed(1))
    root = torch.zeros(8, 1, 3)

    def cost(rotvecs: torch.Tensor) -> torch.Tensor:
        return pose_prior_loss(roma.rotvec_to_rotmat(torch.cat([root, rotvecs], dim=1)), prior)

    assert (cost(natural) < cost(twisted)).all()
    usual = shapes.sample(8, torch.Generator().manual_seed(0))
    giants = usual.clone()
    giants[:, 4] = 3.0
    assert (shape_prior_loss(usual, shapes) < shape_prior_loss(giants, shapes)).all()


def test_photos_join_and_are_never_measured_on(photo: Samples, simulated: Samples, tmp_path: Path) -> None:
    pictures = replace(
        simulated[torch.arange(8)], features=torch.zeros(8, 192, 16, 16).half(), mask=torch.zeros(8, 1, 16, 16).half()
    )
    for name, part in {"a": photo, "b": simulated, "c": pictures}.items():
        write_samples(tmp_path / f"{name}.safetensors", part)
    config = TrainConfig(batch=1, simulated=0.3, photos=0.3, upright=2.0)
    data = TrainingData.read([tmp_path], tmp_path / "b.safetensors")
    assert [(p.features is not None, p.keypoints is not None) for p in data.pools] == [
        (True, False), (False, False), (True, True)
    ]  # fmt: skip
    whole = list(islice(data.batches(config)(0), 200))
    assert 40 <= sum(batch.keypoints is not None for batch in whole) <= 80
    for start in (1, 17):
        again = list(islice(data.batches(config)(start), 20))
        assert all(torch.equal(a.K_crop, b.K_crop) for a, b in zip(again, whole[start:], strict=False))
    with pytest.raises(InputError, match=r"a\.safetensors.*no truth"):
        TrainingData.read([tmp_path], tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="photographs"):
        LandmarkErrors.of(photo, AnnyBody.load())


def test_a_run_learns_from_labels_and_goes_on_to_the_bit(photo: Samples, simulated: Samples, tmp_path: Path) -> None:
    config = TrainConfig(
        network=TINY, steps=80, batch=1, warmup=5, vertices=60, validate_every=40, log_every=1, precision="no", ema=0.5,
        learning_rate=3e-3, landmark_swaps=0.0, landmark_misses=0.0,
    )  # fmt: skip
    held = simulated[torch.arange(4)]
    Trainer(config, lambda step: iter([photo] * (80 - step)), held, tmp_path / "whole").run()
    log = [json.loads(line) for line in (tmp_path / "whole" / LOG).read_text().splitlines()]
    told = [record["photo_joints2d"] for record in log if "photo_joints2d" in record]
    assert told[-1] < 0.6 * told[0]
    Trainer(config, lambda step: iter([photo] * (40 - step)), held, tmp_path / "parts").run()
    Trainer(config, lambda step: iter([photo] * (80 - step)), held, tmp_path / "parts").run()
    one, other = (read_file(tmp_path / name / BEST) for name in ("whole", "parts"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def read_file(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def test_bad_labels_are_named(labels: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none of the pictures"):
        read_coco(labels, tmp_path)
    with pytest.raises(InputError, match="not a folder"):
        read_coco(labels, tmp_path / "nowhere")
    cats = tmp_path / "cats.json"
    cats.write_text(json.dumps({"categories": [{"name": "cat"}], "annotations": [], "images": []}))
    with pytest.raises(InputError, match=r"cats\.json"):
        read_coco(cats, PHOTOS)
