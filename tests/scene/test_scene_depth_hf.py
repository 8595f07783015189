"""Models of the transformers library, small and random but of its own classes."""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    transformers = pytest.importorskip("transformers")

from metrichmsr.errors import ModelFileError
from metrichmsr.scene.depth import hf_models
from metrichmsr.scene.depth.protocol import SceneAnchors
from metrichmsr.scene.depth.registry import load_depth_source
from metrichmsr.structures import Camera

pytestmark = pytest.mark.filterwarnings("ignore")

WIDTH, HEIGHT = 130, 90
DINO = {"model_type": "dinov2", "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 56}


@pytest.fixture
def picture() -> np.ndarray:
    ramp = np.linspace(0, 255, HEIGHT * WIDTH * 3).reshape(HEIGHT, WIDTH, 3)
    return (0.5 * ramp + np.random.default_rng(5).integers(0, 128, ramp.shape)).astype(np.uint8)


@pytest.fixture
def known(make_camera) -> Camera:
    return make_camera(WIDTH, HEIGHT, source="exif")


def save(model, folder: Path, recipe: dict) -> str:
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(recipe))
    return str(folder)


def depth_anything(folder: Path, **fields) -> str:
    torch.manual_seed(2)
    config = transformers.DepthAnythingConfig(
        backbone_config=transformers.Dinov2Config(
            **{key: value for key, value in DINO.items() if key != "model_type"},
            out_indices=[1, 2, 3, 4],
            reshape_hidden_states=False,
            apply_layernorm=True,
        ),
        reassemble_hidden_size=32,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=4,
        **fields,
    )
    model = transformers.DepthAnythingForDepthEstimation(config)
    # Random weights give what a ReLU may cut to nothing; a constant above it keeps the map alive.
    torch.nn.init.constant_(model.head.conv3.bias, 0.5)
    recipe = {"size": {"height": 70, "width": 70}, "keep_aspect_ratio": True, "ensure_multiple_of": 14, "resample": 3}
    return save(model, folder, recipe | {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]})


def depth_pro(folder: Path, fov_deg: float = 60.0) -> str:
    if not hasattr(transformers, "DepthProConfig"):
        pytest.skip("Depth Pro came with transformers 4.49")
    torch.manual_seed(2)
    vit = {**DINO, "image_size": 32, "patch_size": 8}
    config = transformers.DepthProConfig(
        patch_size=32,
        fusion_hidden_size=16,
        intermediate_hook_ids=[2, 0],
        intermediate_feature_dims=[8, 8],
        scaled_images_ratios=[0.5, 1.0],
        scaled_images_overlap_ratios=[0.0, 0.25],
        scaled_images_feature_dims=[8, 8],
        image_model_config=vit,
        patch_model_config=vit,
        fov_model_config=vit,
        use_fov_model=True,
        num_fov_head_layers=0,
    )
    recipe = {"size": {"height": 64, "width": 64}, "resample": 2, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    model = transformers.DepthProForDepthEstimation(config)
    *_, last = (layer for layer in model.fov_model.modules() if isinstance(layer, torch.nn.Conv2d))
    torch.nn.init.constant_(last.weight, 0.0)
    torch.nn.init.constant_(last.bias, fov_deg)
    return save(model, folder, recipe)


def raw_output(folder: str, pixels: torch.Tensor):
    model = transformers.AutoModelForDepthEstimation.from_pretrained(folder).eval()
    with torch.inference_mode():
        return model(pixel_values=pixels)


def test_metric_depth_anything_gives_the_networks_metres(tmp_path, picture, known, capfd) -> None:
    folder = depth_anything(tmp_path, depth_estimation_type="metric", max_depth=20)
    capfd.readouterr()
    source = load_depth_source(folder)
    assert "Loading weights" not in "".join(capfd.readouterr())
    estimate = source(picture, known)
    assert estimate.metric
    assert estimate.depth_m.shape == (HEIGHT, WIDTH)
    assert 0 < np.nanmin(estimate.depth_m) <= np.nanmax(estimate.depth_m) < 20
    assert source.name == f"transformers:{folder}"
    recipe = json.loads((tmp_path / "preprocessor_config.json").read_text())
    raw = raw_output(folder, hf_models._plain(picture, recipe)).predicted_depth[0]
    assert estimate.depth_m.mean() == pytest.approx(float(raw.mean()), rel=1e-2)


def test_metres_at_the_end_of_the_reach_are_unknown(tmp_path, picture, known, monkeypatch) -> None:
    source = load_depth_source(depth_anything(tmp_path, depth_estimation_type="metric", max_depth=20))
    head = transformers.DepthAnythingForDepthEstimation.forward

    def far(self, pixel_values):
        found = head(self, pixel_values=pixel_values)
        found.predicted_depth[:, :10] = 19.9
        return found

    monkeypatch.setattr(transformers.DepthAnythingForDepthEstimation, "forward", far)
    depth = source(picture, known).depth_m
    assert np.isnan(depth[:5]).all()
    assert np.isfinite(depth[-20:]).all()


def test_relative_depth_anything_is_inverted_and_claims_no_metres(tmp_path, picture, known) -> None:
    folder = depth_anything(tmp_path, depth_estimation_type="relative")
    source = load_depth_source(folder)
    estimate = source(picture, known)
    assert not estimate.metric
    assert np.nanmedian(estimate.depth_m) == pytest.approx(1)
    assert len(estimate.warnings) == 1
    # With a person at 4 m the person's pixels come to 4 m.
    person = np.full((HEIGHT, WIDTH), -1, dtype=np.int16)
    person[20:70, 40:80] = 0
    depth = np.where(person == 0, np.float32(4), np.float32(np.nan))
    anchors = SceneAnchors(depth, person == 0, person, np.array([0.05], dtype=np.float32))
    anchored = source(picture, known, anchors=anchors).depth_m
    assert np.median(anchored[person == 0]) == pytest.approx(4, rel=0.02)
    order = np.argsort(estimate.depth_m, axis=None)
    assert (np.diff(anchored.reshape(-1)[order]) >= -1e-4).all()


def test_the_picture_is_prepared_as_the_librarys_own_processor_does(tmp_path, picture) -> None:
    processors = pytest.importorskip("transformers.models.dpt.image_processing_pil_dpt")
    recipe = hf_models._DEFAULTS["depth_anything"]
    processor = processors.DPTImageProcessorPil(
        **{key: value for key, value in recipe.items() if key != "resample"}, resample=recipe["resample"]
    )
    for image in (picture, picture.transpose(1, 0, 2), np.tile(picture, (9, 8, 1))):
        expected = torch.as_tensor(np.asarray(processor(images=image, return_tensors="np")["pixel_values"]))
        ours = hf_models._plain(np.ascontiguousarray(image), recipe)
        assert ours.shape == expected.shape
        # Pillow rounds to 8 bits, and not always at the same point of the way.
        assert (ours - expected).abs().mean() < 0.01


def test_zoedepth_is_padded_as_the_librarys_own_processor_does(picture) -> None:
    processors = pytest.importorskip("transformers.models.zoedepth.image_processing_pil_zoedepth")
    recipe = hf_models._DEFAULTS["zoedepth"]
    processor = processors.ZoeDepthImageProcessorPil(size=recipe["size"], ensure_multiple_of=32)
    expected = torch.as_tensor(np.asarray(processor(images=picture, return_tensors="np")["pixel_values"]))
    np.testing.assert_allclose(hf_models._padded(picture, recipe), expected, atol=1e-4)


def test_zoedepth_loses_its_padding_and_keeps_the_place(picture, known) -> None:
    recipe = hf_models._DEFAULTS["zoedepth"]
    top, left = hf_models._padding(HEIGHT, WIDTH, recipe)
    # The depth of a step in the picture's middle, as a network sees it on the padded picture.
    wide = np.where(np.arange(WIDTH + 2 * left) < left + WIDTH // 2, 2.0, 5.0)[None].repeat(HEIGHT + 2 * top, axis=0)
    small = wide[::2, ::2]
    depth = hf_models._zoedepth(small, recipe, picture).depth_m
    assert depth.shape == (HEIGHT, WIDTH)
    assert (depth[:, : WIDTH // 2 - 3] == 2).all()
    assert (depth[:, WIDTH // 2 + 3 :] == 5).all()


def test_a_zoedepth_model_runs(tmp_path, picture, known) -> None:
    torch.manual_seed(2)
    config = transformers.ZoeDepthConfig(
        backbone_config=transformers.BeitConfig(
            hidden_size=32,
            num_hidden_layers=4,
            num_attention_heads=2,
            intermediate_size=32,
            image_size=64,
            patch_size=16,
            use_relative_position_bias=True,
            out_indices=[1, 2, 3, 4],
            reshape_hidden_states=False,
        ),
        neck_hidden_sizes=[16, 16, 16, 16],
        fusion_hidden_size=16,
        bottleneck_features=16,
        num_relative_features=8,
        bin_embedding_dim=16,
        num_attractors=[4, 4, 4, 4],
        bin_configurations=[{"n_bins": 8, "min_depth": 0.001, "max_depth": 10.0, "name": "nyu"}],
    )
    recipe = {"size": {"height": 64, "width": 96}, "keep_aspect_ratio": True, "ensure_multiple_of": 32, "do_pad": True}
    folder = save(transformers.ZoeDepthForDepthEstimation(config), tmp_path, recipe)
    estimate = load_depth_source(folder)(picture, known)
    assert estimate.metric
    assert estimate.depth_m.shape == (HEIGHT, WIDTH)
    assert np.isfinite(estimate.depth_m).all()


def test_depth_pro_goes_with_the_known_focal_length_or_its_own(tmp_path, picture, known) -> None:
    folder = depth_pro(tmp_path)
    source = load_depth_source(f"transformers:{folder}")
    told = source(picture, known)
    assert told.metric
    # A camera of twice the focal length sees the same things at twice the distance.
    longer = source(picture, replace(known, K=known.K * [[2], [1], [1]]))
    near = told.depth_m < 400  # beyond 1000 m is unknown
    assert near.any()
    np.testing.assert_allclose(longer.depth_m[near], 2 * told.depth_m[near], rtol=1e-4)
    # Its own estimate does not hang on ours.
    assert told.K[0, 0] == pytest.approx(0.5 * WIDTH / math.tan(math.radians(30)))
    np.testing.assert_array_equal(told.K, longer.K)
    assumed = source(picture, replace(known, source="assumed"))
    np.testing.assert_allclose((assumed.depth_m / told.depth_m)[near], told.K[0, 0] / known.K[0, 0], rtol=1e-4)


def test_depth_pro_without_a_sensible_field_of_view_gives_none(tmp_path, picture, known) -> None:
    source = load_depth_source(depth_pro(tmp_path, fov_deg=-3.0))
    assert source(picture, known).K is None
    estimate = source(picture, replace(known, source="assumed"))
    assert estimate.K is None
    assert "assumed" in estimate.warnings[0]


def test_depth_pros_formula(known, picture) -> None:
    canonical, fov = np.full((8, 8), 0.5, dtype=np.float32), torch.tensor([60.0])
    estimate = hf_models._depth_pro(canonical, fov, picture, replace(known, source="assumed"))
    focal = 0.5 * WIDTH / math.tan(math.radians(30))
    np.testing.assert_allclose(estimate.depth_m, focal / WIDTH / 0.5, rtol=1e-5)
    np.testing.assert_allclose(estimate.K, [[focal, 0, WIDTH / 2], [0, focal, HEIGHT / 2], [0, 0, 1]])
    sky = hf_models._depth_pro(np.zeros((8, 8), dtype=np.float32), fov, picture, known)
    assert np.isnan(sky.depth_m).all()


def test_models_of_other_kinds_are_refused(tmp_path) -> None:
    folder = depth_anything(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "glpn"}))
    with pytest.raises(ModelFileError, match="a glpn; these can be used: depth_anything, depth_pro, zoedepth"):
        load_depth_source(folder)


def test_damaged_models_are_named(tmp_path) -> None:
    folder = depth_anything(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"size": {"shortest_edge": 5}}')
    with pytest.raises(ModelFileError, match=r"preprocessor_config\.json cannot be used"):
        load_depth_source(folder)
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelFileError, match="cannot be loaded"):
        load_depth_source(folder)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelFileError, match=r"no model\.safetensors"):
        load_depth_source(folder)


def test_nothing_is_downloaded(monkeypatch, tmp_path) -> None:
    import socket

    def never(*_, **__):
        raise AssertionError("opened a connection")

    monkeypatch.setattr(socket.socket, "connect", never)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    model = "depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf"
    with pytest.raises(ModelFileError, match=f"hf download {model}"):
        load_depth_source(model)
