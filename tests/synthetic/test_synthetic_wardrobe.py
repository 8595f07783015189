"""How clothes lie over one another, which colours they come in, and who wears what."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import roma
import torch

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.synthetic.assets import AssetFolder
from metrichmsr.synthetic.body_regions import PELVIS, THIGHS, TORSO, BodyRegions
from metrichmsr.synthetic.crowd import Crowd
from metrichmsr.synthetic.garments import Proxy, ProxyPool
from metrichmsr.synthetic.outfits import Catalogue, WardrobeSettings
from metrichmsr.synthetic.procedural_skins import face_pictures
from metrichmsr.synthetic.recolour import WornTexture, recoloured
from metrichmsr.synthetic.textures import TexturePool
from metrichmsr.synthetic.wardrobe import Wardrobe

ASSETS = Path(__file__).parents[3] / "shared" / "data"
needs_assets = pytest.mark.skipif(not (ASSETS / "appearance").is_dir(), reason="no asset folder")


@pytest.fixture(scope="module")
def body() -> AnnyBody:
    return AnnyBody.load()


def shirt(body: AnnyBody) -> Proxy:
    """All of the skin, worn as a shirt."""
    ids = body.base_vertex_ids.numpy()
    ref, weight = np.stack([ids] * 3, axis=1), np.tile([1.0, 0, 0], (len(ids), 1))
    faces, nothing = body.faces.numpy().astype(np.int64), np.zeros(19158, dtype=bool)
    return Proxy("shirt", ref, weight, np.zeros((len(ids), 3)), faces, np.zeros((1, 2)), 0 * faces, nothing, np.ones(3))


def test_exactly_what_lies_beneath_is_left_out(body: AnnyBody) -> None:
    pool = ProxyPool([shirt(body)], body)
    skinning = body.skinning(body.identity_pose(2), body.default_shape().expand(2, -1))
    beneath = torch.zeros(2, body.num_vertices, dtype=torch.bool)
    beneath[1, : body.num_vertices // 2] = True
    two, none = torch.tensor([0, 1]), torch.zeros(2, dtype=torch.int64)
    worn = pool.wear(two, none, skinning, loose=torch.ones(2), beneath=beneath)
    whole = pool.wear(two, none, skinning, loose=torch.ones(2))
    assert torch.equal(worn.vertices_m, whole.vertices_m)
    hidden = beneath[1][body.faces].all(1)
    assert 0 < int(hidden.sum()) < len(body.faces)
    assert torch.equal(worn.faces[worn.item_of_face == 0], whole.faces[whole.item_of_face == 0])
    assert torch.equal(worn.faces[worn.item_of_face == 1], whole.faces[whole.item_of_face == 1][~hidden])


def test_new_colours_keep_their_hue_and_are_not_glaring() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        mean = float(generator.uniform(0.005, 0.9))
        texture = WornTexture(0, mean, float(min(1.0, mean * generator.uniform(1, 6))), False)
        wanted = tuple(generator.uniform(0.01, 0.9, 3))
        tint = np.array(recoloured((wanted[0], wanted[1], wanted[2]), texture))
        np.testing.assert_allclose(tint / tint.max(), np.array(wanted) / max(wanted), rtol=1e-9)
        assert tint.max() * texture.bright <= 1.1 + 1e-9
        assert (tint * mean <= np.array(wanted) + 1e-9).all()
    even = WornTexture(0, 0.5, 0.5, False)
    np.testing.assert_allclose(np.array(recoloured((0.3, 0.2, 0.1), even)) * even.mean, [0.3, 0.2, 0.1])


def test_regions_end_between_quads(body: AnnyBody) -> None:
    first, second = body.faces.unflatten(0, (-1, 2)).unbind(1)
    assert all(len(set(a) & set(b)) == 2 for a, b in zip(first.tolist(), second.tolist(), strict=True))
    halves = BodyRegions(body).of_face.unflatten(0, (-1, 2))
    assert torch.equal(halves[:, 0], halves[:, 1])


def test_painted_faces_have_eyes_and_lips(body: AnnyBody) -> None:
    pictures = face_pictures(body, np.random.default_rng(0), 3)
    assert len(pictures) == 3
    for picture in pictures:
        painted = (picture < 250).any(-1)
        assert 0.001 < painted.mean() < 0.1
        assert picture[..., 0].min() < 60  # pupils
        red = (picture[..., 0] > 240) & (picture[..., 1] < 230)
        assert red.any()  # lips
    assert not np.array_equal(pictures[0], pictures[1])


def test_skirts_and_coats_only_where_legs_allow() -> None:
    worn = {
        "suit_m": ["male_casualsuit01"],
        "suit_f": ["female_casualsuit01", "female_elegantsuit01"],
        "dress": ["F_Dress_01"],
        "top": ["VNeckTop"],
        "bottom": ["miniskirt", "Tightjeans"],
        "coat": ["Coat"],
    }
    catalogue = Catalogue(worn, {}, (), WardrobeSettings(plain=0.0, coat=1.0))
    skirts = {"F_Dress_01", "miniskirt", "female_elegantsuit01"}
    seen: dict[bool, set[str]] = {True: set(), False: set()}
    for allowed, names in seen.items():
        for i in range(200):
            outfit = catalogue.draw(30, 1.0, np.random.default_rng(i), coats=allowed, skirts=allowed)
            names.update(item.name for item in outfit.items)
    assert skirts | {"Coat"} <= seen[True]
    assert not (skirts | {"Coat"}) & seen[False]
    assert {"Tightjeans", "VNeckTop", "female_casualsuit01"} <= seen[False]


@pytest.mark.parametrize("plain", [0.0, 1.0])
@pytest.mark.parametrize("female", [0.0, 1.0])
def test_only_adults_are_shown_in_little(female: float, plain: float) -> None:
    little = {"swim": ["F_Bikini_01"], "bra": ["BrazBikiniBra"], "slip": ["BrazBikiniSlip"]}
    suits = {"suit_m": ["male_casualsuit01"], "suit_f": ["female_casualsuit01"]}
    settings = WardrobeSettings(plain=plain, little=0.5)
    catalogue = Catalogue(suits | little, {}, (), settings)
    sparse = {name for names in little.values() for name in names}
    adults = 0
    for i in range(300):
        for years in (0.0, 0.5, 1.0, 3.0, 6.0, 12.0, 17.9, 30.0):
            outfit = catalogue.draw(years, female, np.random.default_rng(i))
            names = {item.name for item in outfit.items}
            dressed = names & {"male_casualsuit01", "female_casualsuit01"}
            painted = np.isfinite(outfit.region_tint[[TORSO, PELVIS, THIGHS]]).all()
            assert years >= 18 or (not names & sparse and (dressed or painted))
            adults += years >= 18 and not (dressed or painted)
    assert adults > 0


@needs_assets
def test_nobody_with_bent_legs_wears_a_skirt(body: AnnyBody) -> None:
    people = 48
    rotvecs = torch.zeros(people, body.num_bones, 3)
    bent = torch.arange(people) % 2 == 0
    thighs = [body.bone_names.index(f"upperleg01.{side}") for side in "LR"]
    rotvecs[bent.nonzero(), torch.tensor(thighs)] = torch.tensor([-1.5, 0.0, 0.0])
    crowd = Crowd(
        pose=roma.rotvec_to_rotmat(rotvecs),
        shape=body.shape_from({"gender": 1.0}).expand(people, -1),
        translation_m=torch.zeros(people, 3),
        shot=torch.arange(people),
        support=("ground",) * people,
        pose_source=("test",) * people,
        n_shots=people,
    )
    settings = WardrobeSettings(plain=0.0, little=0.0, coat=0.5)
    wardrobe = Wardrobe.load(AssetFolder.find(ASSETS), TexturePool(), body=body, settings=settings)
    wears = wardrobe.dress(crowd, body, torch.Generator().manual_seed(0)).wears
    tearing = {"Coat", "JeansSkirt", "miniskirt", "female_elegantsuit01", *wardrobe.catalogue.worn["dress"]}
    assert not any(tearing & set(names) for names, sits in zip(wears, bent.tolist(), strict=True) if sits)
    assert sum(bool(tearing & set(names)) for names, sits in zip(wears, bent.tolist(), strict=True) if not sits) > 5


@needs_assets
def test_maps_of_bumps_are_no_colours(body: AnnyBody) -> None:
    wardrobe = Wardrobe.load(AssetFolder.find(ASSETS), TexturePool(), body=body)
    hats = [name for name in wardrobe.catalogue.worn["hat"] if name.startswith("fedora")]
    folder = ASSETS / "appearance" / "garments"
    for name in hats:
        colours = [path for path in folder.glob(f"{name}*.webp") if path.stem.split("__")[0] == name]
        maps = [path for path in colours if path.stem.endswith(("normal", "displacement"))]
        assert maps
        assert len(wardrobe._textures[name]) == len(colours) - len(maps)
