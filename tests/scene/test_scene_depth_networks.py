"""Adapters of foreign networks, against doubles with the packages' own call signatures (written after their code)."""

from __future__ import annotations

import math
import sys
import types
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from metrichmsr.errors import InputError, MissingPackageError, ModelFileError
from metrichmsr.scene.depth import depth_anything_3, mapanything, moge
from metrichmsr.scene.depth.registry import load_depth_source
from metrichmsr.structures import Camera

WIDTH, HEIGHT = 320, 240
K = np.array([[300.0, 0, 170], [0, 300.0, 110], [0, 0, 1]])


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def known() -> Camera:
    return Camera(K=K, width=WIDTH, height=HEIGHT, source="exif")


@pytest.fixture
def unknown(known) -> Camera:
    return replace(known, source="assumed")


def install(monkeypatch, **modules: dict[str, Any]) -> None:
    """Put modules in place; a name's dots are given as double underscores."""
    for name, members in modules.items():
        parts = name.replace("__", ".").split(".")
        for end in range(1, len(parts)):
            monkeypatch.setitem(sys.modules, ".".join(parts[:end]), types.ModuleType(".".join(parts[:end])))
        module = types.ModuleType(".".join(parts))
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, module.__name__, module)


# --- MapAnything ------------------------------------------------------------------------------------------------------


class FakeMapAnything(torch.nn.Module):
    """A wall at z = 3 m seen through the rays it is given, or through a camera of its own."""

    own_focal = 400.0
    encoder_weights = ("weight", "bias")

    def __init__(self) -> None:
        super().__init__()
        torch.hub.load("facebookresearch/dinov2", "dinov2_vits14", force_reload=False, pretrained=True)
        self.encoder = torch.nn.Linear(2, 2)
        self.encoder.data_norm_type = "dinov2"
        self.views: list[dict[str, Any]] = []

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *, local_files_only=False):
        assert local_files_only
        return cls()

    def infer(
        self, views, memory_efficient_inference=True, use_amp=True, apply_mask=True, mask_edges=True
    ) -> list[dict[str, torch.Tensor]]:
        allowed = {"img", "data_norm_type", "ray_directions", "intrinsics"}
        assert all(set(view) <= allowed for view in views)
        self.views = views
        (view,) = views
        _, _, height, width = view["img"].shape
        rays = view.get("ray_directions")
        # From the package's own counting: the first pixel's centre is 0.
        x, y = torch.meshgrid(torch.arange(width).float(), torch.arange(height).float(), indexing="xy")
        own = torch.tensor(
            [[self.own_focal, 0, (width - 1) / 2], [0, self.own_focal, (height - 1) / 2], [0, 0, 1.0]],
        )
        if rays is None:
            unnormed = torch.stack([(x - own[0, 2]) / own[0, 0], (y - own[1, 2]) / own[1, 1], torch.ones_like(x)], -1)
            rays = (unnormed / unnormed.norm(dim=-1, keepdim=True))[None]
        along = 3.0 / rays[..., 2:]
        mask = torch.ones(1, height, width, dtype=torch.bool)
        mask[:, : height // 2, : width // 2] = False
        confidence = torch.ones(1, height, width)
        confidence[:, :, width // 2 :] = 4.0
        return [
            {
                "pts3d_cam": rays * along,
                "ray_directions": rays,
                "depth_along_ray": along,
                "depth_z": (rays * along)[..., 2:3],
                "intrinsics": own[None],
                "non_ambiguous_mask": mask,
                "conf": confidence,
            }
        ]


@pytest.fixture
def map_anything(monkeypatch, tmp_path) -> FakeMapAnything:
    @dataclass
    class Norm:
        mean: torch.Tensor
        std: torch.Tensor

    made: list[FakeMapAnything] = []

    class Recording(FakeMapAnything):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    install(
        monkeypatch,
        mapanything__models={"MapAnything": Recording},
        uniception__models__encoders__image_normalizations={
            "IMAGE_NORMALIZATION_DICT": {"dinov2": Norm(torch.full((3,), 0.4), torch.full((3,), 0.2))}
        },
    )
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    code = tmp_path / "hub" / "facebookresearch_dinov2_main"
    code.mkdir(parents=True)
    (code / "hubconf.py").write_text(
        "dependencies = []\n"
        "def dinov2_vits14(pretrained=True):\n"
        "    assert not pretrained, 'the checkpoint brings the weights'\n"
        "    return 'encoder'\n"
    )
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({f"encoder.{name}": torch.zeros(2) for name in FakeMapAnything.encoder_weights}, folder / WEIGHTS)
    before = torch.hub.load
    source = mapanything.load_mapanything(str(folder))
    assert torch.hub.load is before
    made[-1].source = source
    return made[-1]


WEIGHTS = "model.safetensors"


def test_mapanything_is_told_the_rays_of_the_known_camera(map_anything, picture, known) -> None:
    estimate = map_anything.source(picture, known)
    (view,) = map_anything.views
    height, width = view["img"].shape[-2:]
    assert height % 14 == width % 14 == 0
    assert max(height, width) == 518
    # The ray of a pixel's centre, in the picture's own pixels.
    row, column = 17, 301
    u, v = (column + 0.5) * WIDTH / width, (row + 0.5) * HEIGHT / height
    ray = np.linalg.inv(K) @ [u, v, 1]
    np.testing.assert_allclose(view["ray_directions"][0, row, column], ray / np.linalg.norm(ray), atol=1e-6)
    assert estimate.K is None
    assert estimate.metric


def test_mapanything_gives_z_and_not_the_length_of_the_ray(map_anything, picture, known) -> None:
    depth = map_anything.source(picture, known).depth_m
    assert depth.shape == (HEIGHT, WIDTH)
    np.testing.assert_allclose(depth[np.isfinite(depth)], 3.0, rtol=1e-5)


def test_mapanything_sees_the_normalised_picture(map_anything, known) -> None:
    map_anything.source(np.full((HEIGHT, WIDTH, 3), 51, dtype=np.uint8), known)
    np.testing.assert_allclose(map_anything.views[0]["img"], (0.2 - 0.4) / 0.2, rtol=1e-5)
    assert map_anything.views[0]["data_norm_type"] == ["dinov2"]


def test_mapanything_estimates_the_camera_only_where_it_is_assumed(map_anything, picture, unknown) -> None:
    estimate = map_anything.source(picture, unknown)
    (view,) = map_anything.views
    assert "ray_directions" not in view
    height, width = view["img"].shape[-2:]
    focal = FakeMapAnything.own_focal
    expected = [[focal * WIDTH / width, 0, WIDTH / 2], [0, focal * HEIGHT / height, HEIGHT / 2], [0, 0, 1]]
    np.testing.assert_allclose(estimate.K, expected, rtol=1e-6)


def test_mapanything_masks_and_confidence(map_anything, picture, known) -> None:
    estimate = map_anything.source(picture, known)
    hole = np.zeros((HEIGHT, WIDTH), dtype=bool)
    hole[: HEIGHT // 2, : WIDTH // 2] = True
    np.testing.assert_array_equal(np.isnan(estimate.depth_m), hole)
    assert estimate.confidence[0, 0] == 0  # exp(...) + 1 at its least
    assert estimate.confidence[0, -1] == pytest.approx(0.75)
    assert estimate.confidence.dtype == np.float32


def test_mapanything_whose_checkpoint_lacks_the_encoder_is_refused(map_anything, tmp_path) -> None:
    save_file({"encoder.bias": torch.zeros(2)}, tmp_path / "model" / WEIGHTS)
    with pytest.raises(ModelFileError, match="1 parameters of the image encoder are missing"):
        mapanything.load_mapanything(str(tmp_path / "model"))


def test_mapanything_without_its_encoders_code_stays_offline(map_anything, tmp_path, monkeypatch) -> None:
    def never(*_, **__):
        raise AssertionError("asked the network")

    monkeypatch.setattr(torch.hub, "load", never)
    (tmp_path / "hub" / "facebookresearch_dinov2_main" / "hubconf.py").unlink()
    with pytest.raises(ModelFileError, match="git clone"):
        mapanything.load_mapanything(str(tmp_path / "model"))


# --- MoGe-2 -----------------------------------------------------------------------------------------------------------


class FakeMoGe(torch.nn.Module):
    """A plane at 2 m with a masked corner."""

    def __init__(self) -> None:
        super().__init__()
        self.scale_head = torch.nn.Linear(1, 1)
        self.fov = None

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, model_kwargs=None, **hf_kwargs):
        assert not Path(pretrained_model_name_or_path).is_file() or not hf_kwargs
        made = cls()
        made.loaded = pretrained_model_name_or_path, hf_kwargs
        FakeMoGe.last = made
        return made

    def infer(self, image, num_tokens=None, fov_x=None, apply_mask=True, use_fp16=True):
        assert image.ndim == 3
        assert 0 <= image.min() <= image.max() <= 1
        self.fov = fov_x
        self.seen = tuple(image.shape)
        _, height, width = image.shape
        depth = torch.full((height, width), 2.0)
        mask = torch.ones(height, width, dtype=torch.bool)
        mask[: height // 4] = False
        depth[~mask] = torch.inf
        return {"depth": depth, "mask": mask, "intrinsics": torch.tensor([[0.8, 0, 0.5], [0, 1.1, 0.5], [0, 0, 1]])}


@pytest.fixture
def moge_source(monkeypatch, tmp_path):
    install(monkeypatch, moge__model__v2={"MoGeModel": FakeMoGe})
    (tmp_path / "moge.pt").write_bytes(b"x")
    return moge.load_moge(str(tmp_path / "moge.pt"))


def test_moge_is_told_the_field_of_view_only_where_it_is_known(moge_source, picture, known, unknown) -> None:
    estimate = moge_source(picture, known)
    assert FakeMoGe.last.fov == pytest.approx(math.degrees(2 * math.atan(WIDTH / 2 / K[0, 0])))
    assert estimate.K is None
    estimate = moge_source(picture, unknown)
    assert FakeMoGe.last.fov is None
    expected = [[0.8 * WIDTH, 0, WIDTH / 2], [0, 1.1 * HEIGHT, HEIGHT / 2], [0, 0, 1]]
    np.testing.assert_allclose(estimate.K, expected, rtol=1e-6)


def test_moge_masks(moge_source, picture, known) -> None:
    estimate = moge_source(picture, known)
    assert np.isnan(estimate.depth_m[: HEIGHT // 4]).all()
    np.testing.assert_allclose(estimate.depth_m[HEIGHT // 4 :], 2.0)
    assert estimate.metric


def test_moge_of_a_large_picture_gives_its_size_back(moge_source, make_camera) -> None:
    estimate = moge_source(np.zeros((1600, 2400, 3), dtype=np.uint8), make_camera(2400, 1600))
    assert FakeMoGe.last.seen == (3, 683, 1024)
    assert estimate.depth_m.shape == (1600, 2400)
    np.testing.assert_allclose(estimate.depth_m[500:], 2.0)


def test_moge_without_metric_scale_claims_none(moge_source, picture, known) -> None:
    del FakeMoGe.last.scale_head
    assert not moge_source(picture, known).metric


# --- Depth Anything 3 -------------------------------------------------------------------------------------------------


@dataclass
class Prediction:
    depth: np.ndarray
    is_metric: int
    sky: np.ndarray | None = None
    conf: np.ndarray | None = None
    intrinsics: np.ndarray | None = None


class FakeDepthAnything3(torch.nn.Module):
    def __init__(self, model_name: str) -> None:
        super().__init__()
        self.model_name = model_name

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *, local_files_only=False):
        assert local_files_only
        return cls(Path(pretrained_model_name_or_path).name)

    def inference(self, image, process_res=504, process_res_method="upper_bound_resize"):
        (picture,) = image
        assert picture.dtype == np.uint8
        size = process_res, process_res * picture.shape[0] // picture.shape[1] // 14 * 14
        depth = np.full((1, size[1], size[0]), 2.0, dtype=np.float32)
        sky = np.zeros(depth.shape, dtype=bool)
        sky[:, :28] = True
        own = np.array([[[600.0, 0, size[0] / 2], [0, 600.0, size[1] / 2], [0, 0, 1]]], dtype=np.float32)
        if self.model_name.startswith(("da3metric", "da3mono")):
            return Prediction(depth, is_metric=0, sky=sky)
        conf = np.where(sky, 1.0, 5.0).astype(np.float32)
        return Prediction(depth, is_metric=int("nested" in self.model_name), conf=conf, intrinsics=own)


@pytest.fixture
def da3(monkeypatch, tmp_path):
    install(monkeypatch, depth_anything_3__api={"DepthAnything3": FakeDepthAnything3})

    def load(name: str):
        (tmp_path / name).mkdir()
        (tmp_path / name / WEIGHTS).write_bytes(b"x")
        return depth_anything_3.load_depth_anything_3(str(tmp_path / name))

    return load


def test_da3_metric_depth_goes_with_the_focal_length_it_saw(da3, picture, known) -> None:
    source = da3("da3metric-large")
    near = source(picture, known)
    # 320 pixels become 504: 300 px of focal length become 472.5, and as many 300ths of the output are metres.
    np.testing.assert_allclose(near.depth_m[40:], 2.0 * (300 * 504 / WIDTH) / 300, rtol=1e-2)
    far = source(picture, replace(known, K=K * [[2], [2], [1]]))
    np.testing.assert_allclose(far.depth_m[40:], 2 * near.depth_m[40:], rtol=1e-5)
    assert near.metric
    assert near.warnings == ()


def test_da3_metric_depth_of_an_assumed_camera_warns(da3, picture, unknown) -> None:
    assert "assumed" in da3("da3metric-large")(picture, unknown).warnings[0]


def test_da3_sky_is_unknown(da3, picture, known) -> None:
    for name in ("da3metric-large", "da3mono-large", "da3nested-giant-large"):
        depth = da3(name)(picture, known).depth_m
        assert np.isnan(depth[:16]).all()
        assert np.isfinite(depth[20:]).all()


def test_da3_nested_depth_is_scaled_from_its_own_camera_to_the_known_one(da3, picture, known, unknown) -> None:
    source = da3("da3nested-giant-large")
    own = source(picture, unknown)
    np.testing.assert_allclose(own.depth_m[40:], 2.0)
    focal = 0.5 * (own.K[0, 0] + own.K[1, 1])
    np.testing.assert_allclose(source(picture, known).depth_m[40:], 2.0 * 300 / focal, rtol=1e-5)
    assert own.confidence[-1, 0] == pytest.approx(0.8)
    np.testing.assert_allclose(own.K[:2, 2], [WIDTH / 2, HEIGHT / 2])


def test_da3_without_metres_claims_none(da3, picture, known) -> None:
    assert not da3("da3mono-large")(picture, known).metric
    assert not da3("da3-large")(picture, known).metric


# --- what they share --------------------------------------------------------------------------------------------------


def test_foreign_failures_name_picture_and_source(moge_source, picture, known, monkeypatch) -> None:
    def fails(*_, **__):
        raise RuntimeError("out of\nmemory")

    monkeypatch.setattr(FakeMoGe, "infer", fails)
    with pytest.raises(InputError, match=r"party\.jpg: depth source moge failed \(out of memory\)"):
        moge_source(picture, known, path=Path("party.jpg"))


def test_a_network_that_finds_nothing_is_an_error(moge_source, picture, known, monkeypatch) -> None:
    nothing = {"depth": torch.full((HEIGHT, WIDTH), torch.inf), "intrinsics": torch.eye(3)}
    monkeypatch.setattr(FakeMoGe, "infer", lambda *_, **__: nothing)
    with pytest.raises(InputError, match=r"party\.jpg: depth source moge found no depth"):
        moge_source(picture, known, path=Path("party.jpg"))


@pytest.mark.parametrize("name", ["mapanything", "moge", "depth_anything_3"])
def test_missing_weights_name_the_command_that_gets_them(name, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    packages = {"mapanything__models": "MapAnything", "moge__model__v2": "MoGeModel"}
    packages["depth_anything_3__api"] = "DepthAnything3"
    install(monkeypatch, **{module: {attribute: None} for module, attribute in packages.items()})
    with pytest.raises(ModelFileError, match=r"hf download .*--download"):
        load_depth_source(name)
    with pytest.raises(ModelFileError, match=r"hf download somebody/something"):
        load_depth_source(f"{name}:somebody/something")


@pytest.mark.parametrize("name", ["mapanything", "moge", "depth_anything_3", "transformers"])
def test_a_missing_package_is_named_before_its_weights(name, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingPackageError, match=rf"the package {name} is not installed; get it with `pip install "):
        load_depth_source(name)


def test_a_damaged_checkpoint_is_named(monkeypatch, tmp_path) -> None:
    class Broken(FakeMoGe):
        @classmethod
        def from_pretrained(cls, *_, **__):
            raise KeyError("model_config")

    install(monkeypatch, moge__model__v2={"MoGeModel": Broken})
    (tmp_path / "moge.pt").write_bytes(b"x")
    with pytest.raises(ModelFileError, match=r"moge\.pt cannot be loaded"):
        load_depth_source(f"moge:{tmp_path / 'moge.pt'}")
