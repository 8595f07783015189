"""Dressing a crowd: bodies, what they wear, and how it looks, as surfaces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.bodies.shape_prior import AGE, GENDER
from metrichmsr.rendering import vertex_normals
from metrichmsr.synthetic.assets import AssetFolder
from metrichmsr.synthetic.body_regions import NAPE, REGIONS, SCALP, BodyRegions
from metrichmsr.synthetic.carried import carried_things
from metrichmsr.synthetic.crowd import Crowd
from metrichmsr.synthetic.dressed import Dressed
from metrichmsr.synthetic.garments import Proxy, ProxyPool, WornMesh, proxy_from
from metrichmsr.synthetic.outfits import LEFT_OUT, Catalogue, Item, Outfit, WardrobeSettings, kinds_of
from metrichmsr.synthetic.patterns import cloth_patterns, hair_patterns, skin_patterns
from metrichmsr.synthetic.people_shapes import age_years
from metrichmsr.synthetic.procedural_skins import face_pictures
from metrichmsr.synthetic.recolour import NO_COLOUR, WornTexture, read_texture, recoloured
from metrichmsr.synthetic.splits import Split, of_split
from metrichmsr.synthetic.surfaces import PROP, Materials, Surfaces
from metrichmsr.synthetic.textures import TexturePool

_FEWEST_TO_SPLIT = 3
"""Kinds with fewer assets than this are for training alone."""
_OUTER = ("coat",)
_INNER = ("suit_f", "suit_m", "dress", "top", "bottom", "swim", "bra", "slip")
_OUTER_SWELL_M, _INNER_SWELL_M = 0.018, -0.006
"""How far what is worn over other clothes stands off, and how far those are drawn in."""
_SWELL_M = 0.02
"""How far cloth stands off that is twice as loose as made."""
_HANGING, _TOGETHER = 0.5, 0.5
"""Cosines between trunk and thighs, and between thighs, from which skirts and coats hang well."""


class Wardrobe:
    """Everything there is to wear. Build it with :meth:`load`."""

    def __init__(
        self,
        *,
        body: AnnyBody,
        proxies: Sequence[Proxy],
        catalogue: Catalogue,
        textures: dict[str, list[WornTexture]],
        patterns: dict[str, list[int]],
    ) -> None:
        self.catalogue = catalogue
        self._pool = ProxyPool(proxies, body)
        self._number = {proxy.name: i for i, proxy in enumerate(proxies)}
        self._carried = {name for name in self._number if name.startswith("carried_")}
        self._outer = {name for kind in _OUTER for name in catalogue.worn.get(kind, ())}
        self._inner = {name for kind in _INNER for name in catalogue.worn.get(kind, ())}
        self._textures = textures
        self._patterns = patterns
        self._regions = BodyRegions(body)

    @classmethod
    def load(
        cls,
        assets: AssetFolder | None,
        pool: TexturePool,
        *,
        body: AnnyBody | None = None,
        split: Split = "train",
        device: torch.device | str = "cpu",
        settings: WardrobeSettings | None = None,
    ) -> Wardrobe:
        """Read clothes of one split; textures go into the pool.

        Args:
            assets: the asset folder; None does with painted clothes.
            pool: where textures go.
            body: Anny; loaded if left out.
            split: share of the assets.
            device: where crowds are.
            settings: how people are dressed.
        """
        body = body if body is not None else AnnyBody.load().to(device)
        settings = settings or WardrobeSettings()
        proxies: list[Proxy] = carried_things(body)
        textures: dict[str, list[WornTexture]] = {}
        worn: dict[str, list[str]] = {}
        skins: dict[tuple[str, str], list[str]] = {}
        if assets is not None and assets.has("appearance"):
            root = assets.path / "appearance"
            kinds = {item.name: item.kind for kind in ("garments", "hair", "face") for item in assets.of_kind(kind)}
            for kind, names in kinds_of([name for name in kinds if name not in LEFT_OUT]).items():
                if len(names) >= _FEWEST_TO_SPLIT:
                    names = of_split(names, names, split)
                elif split != "train" and kind != "eyes":
                    names = []
                for name in names:
                    proxy = _read_proxy(assets, root / kinds[name] / f"{name}.npz")
                    pictures = [
                        root / kinds[name] / f"{name}.webp",
                        *sorted((root / kinds[name]).glob(f"{name}__*.webp")),
                    ]
                    pictures = [path for path in pictures if not path.stem.endswith(NO_COLOUR)]
                    shown = [read_texture(assets, pool, path) for path in pictures if path.exists()]
                    if proxy is not None:
                        proxies.append(proxy)
                        textures[name] = [texture for texture in shown if texture is not None]
                        worn.setdefault(kind, []).append(name)
            skins = _read_skins(assets, pool, textures, split)
        # What is procedural differs between splits as well.
        generator = np.random.default_rng({"train": 1, "val": 2, "test": 3}[split])
        patterns = {
            "cloth": [pool.add(picture) for picture in cloth_patterns(generator, 45)],
            "skin": [pool.add(picture) for picture in skin_patterns(generator, 4)],
            "face": [pool.add(picture) for picture in face_pictures(body, generator, 4)],
            "hair": [pool.add(picture) for picture in hair_patterns(generator, 3)],
        }
        carried = sorted(name for name in (proxy.name for proxy in proxies) if name.startswith("carried_"))
        catalogue = Catalogue(worn, skins, carried, settings)
        return cls(body=body, proxies=proxies, catalogue=catalogue, textures=textures, patterns=patterns)

    @torch.no_grad()
    def dress(self, crowd: Crowd, body: AnnyBody, generator: torch.Generator) -> Dressed:
        """Draw outfits for everybody and put them on.

        Args:
            crowd: people.
            body: Anny, unrestricted, on the crowd's device.
            generator: of the CPU.
        """
        seed = int(torch.randint(2**31, (1,), generator=generator))
        shape = crowd.shape.cpu()
        years = age_years(shape[:, AGE]).tolist()
        skinning = body.skinning(crowd.pose, crowd.shape, crowd.translation_m)
        upright = _legs_hang(body, skinning.joints_m).tolist()
        outfits = [
            self.catalogue.draw(
                age,
                float(female),
                np.random.default_rng((seed, i)),
                coats=upright[i] and crowd.support[i] == "ground",
                skirts=upright[i],
            )
            for i, (age, female) in enumerate(zip(years, shape[:, GENDER], strict=True))
        ]
        output = body.pose_with(skinning)
        rows = [(person, item) for person, outfit in enumerate(outfits) for item in outfit.items]
        device = crowd.pose.device
        person = torch.tensor([p for p, _ in rows], dtype=torch.int64, device=device)
        proxy = torch.tensor([self._number[item.name] for _, item in rows], dtype=torch.int64, device=device)
        loose = torch.tensor([item.loose for _, item in rows], device=device)
        beneath = self._beneath(person, proxy, [item.name for _, item in rows], len(crowd))
        worn = self._pool.wear(person, proxy, skinning, loose=loose, beneath=beneath)
        skin = self._skin(crowd, body, output.vertices_m, outfits, person, proxy)
        clothes = self._clothes(crowd, worn, person, [item for _, item in rows])
        return Dressed(
            surfaces=Surfaces.concatenate([skin, clothes]),
            output=output,
            wears=tuple(outfit.names for outfit in outfits),
        )

    def _beneath(
        self, person: Int64[Tensor, "I"], proxy: Int64[Tensor, "I"], names: list[str], people: int
    ) -> Bool[Tensor, "I V"] | None:
        """Where each item lies under a coat; None where nobody wears one."""
        outer = torch.tensor([name in self._outer for name in names], dtype=torch.bool)
        if not bool(outer.any()):
            return None
        device = person.device
        outer = outer.to(device)
        inner = torch.tensor([name in self._inner for name in names], dtype=torch.bool, device=device)
        over = torch.zeros(people, self._pool.hides.shape[1], dtype=torch.bool, device=device)
        over.index_put_((person[outer],), self._pool.hides[proxy[outer]], accumulate=True)
        return over[person] & inner[:, None]

    def _skin(
        self,
        crowd: Crowd,
        body: AnnyBody,
        vertices: Float[Tensor, "P V 3"],
        outfits: list[Outfit],
        person: Int64[Tensor, "I"],
        proxy: Int64[Tensor, "I"],
    ) -> Surfaces:
        """The bodies' own faces that nothing hides, painted region by region."""
        device, (people, count) = vertices.device, vertices.shape[:2]
        faces, regions = body.faces.long(), self._regions
        normals = vertex_normals(vertices, faces)
        puff = torch.tensor(np.stack([outfit.puff_m for outfit in outfits]), dtype=torch.float32, device=device)
        if bool((puff > 0).any()):
            out = puff @ regions.share.T
            vertices = vertices + normals * out[..., None]
        hidden = torch.zeros(people, count, dtype=torch.bool, device=device)
        hidden.index_put_((person,), self._pool.hides[proxy], accumulate=True)
        shown = ~(hidden[:, faces[:, 0]] & hidden[:, faces[:, 1]] & hidden[:, faces[:, 2]])
        owner, face = shown.nonzero(as_tuple=True)
        first = (owner * count)[:, None]
        return Surfaces(
            vertices_m=vertices.reshape(-1, 3),
            normals=normals.reshape(-1, 3),
            uv=body.uv.float(),
            shot_of_vertex=crowd.shot.repeat_interleave(count),
            faces=faces.index_select(0, face) + first,
            face_uv=body.face_uv.long().index_select(0, face),
            owner=owner,
            material=owner * REGIONS + regions.of_face.index_select(0, face),
            color=torch.ones(len(face), 3, device=device),
            # A closed skin is never seen from inside.
            two_sided=torch.zeros(len(face), dtype=torch.bool, device=device),
            casts_shadow=torch.ones(len(face), dtype=torch.bool, device=device),
            materials=self._skin_materials(outfits, device),
        )

    def _skin_materials(self, outfits: list[Outfit], device: torch.device) -> Materials:
        """Ten for everybody: one for each region."""
        texture = np.full((len(outfits), REGIONS), -1, dtype=np.int64)
        tint = np.ones((len(outfits), REGIONS, 3))
        gray = np.zeros((len(outfits), REGIONS))
        pattern, scale = np.full((len(outfits), REGIONS), -1, dtype=np.int64), np.ones((len(outfits), REGIONS))
        cloth, skins, faces, hair = (self._patterns[kind] for kind in ("cloth", "skin", "face", "hair"))
        for i, outfit in enumerate(outfits):
            tint[i] = outfit.skin_tint
            if outfit.skin:
                texture[i] = self._textures[outfit.skin][0].number
            else:
                texture[i] = faces[i % len(faces)]
                pattern[i] = skins[i % len(skins)]
                scale[i] = 2.0
            painted = np.asarray(np.isfinite(outfit.region_tint).all(1))
            texture[i, painted] = -1
            tint[i, painted] = outfit.region_tint[painted]
            chosen, times = outfit.region_pattern.T
            pattern[i, painted] = np.where(
                chosen[painted] >= 0, np.array(cloth)[(chosen[painted].clip(0, 0.999) * len(cloth)).astype(int)], -1
            )
            scale[i, painted] = times[painted]
            for region in (SCALP, NAPE):
                if painted[region]:
                    pattern[i, region], scale[i, region] = hair[i % len(hair)], 6.0
        return _materials(texture.ravel(), tint.reshape(-1, 3), gray.ravel(), pattern.ravel(), scale.ravel(), device)

    def _clothes(self, crowd: Crowd, worn: WornMesh, person: Int64[Tensor, "I"], items: list[Item]) -> Surfaces:
        device = worn.vertices_m.device
        normals = vertex_normals(worn.vertices_m, worn.faces)
        wearers = person.tolist()
        coated = {wearer for wearer, item in zip(wearers, items, strict=True) if item.name in self._outer}
        swell = torch.tensor(
            [self._swell_m(item, wearer in coated) for wearer, item in zip(wearers, items, strict=True)], device=device
        )
        vertices = worn.vertices_m + normals * swell.index_select(0, worn.item_of_vertex)[:, None]
        carried = torch.tensor([item.name in self._carried for item in items], dtype=torch.bool, device=device)
        solid = torch.tensor([not self._cut_out(item) for item in items], dtype=torch.bool, device=device)
        item_of_face = worn.item_of_face
        owner = torch.where(carried, PROP, person)
        count = len(worn.faces)
        return Surfaces(
            vertices_m=vertices,
            normals=normals,
            uv=worn.uv,
            shot_of_vertex=crowd.shot[person].index_select(0, worn.item_of_vertex),
            faces=worn.faces,
            face_uv=worn.face_uv,
            owner=owner.index_select(0, item_of_face),
            material=item_of_face,
            color=torch.ones(count, 3, device=device),
            two_sided=torch.ones(count, dtype=torch.bool, device=device),
            # Strands of hair and brows are drawn with holes, which shadows do not know.
            casts_shadow=solid.index_select(0, item_of_face),
            materials=self._item_materials(items, device),
        )

    def _swell_m(self, item: Item, coated: bool) -> float:
        """How far an item's cloth is moved along its normals."""
        loose = _SWELL_M * min(1.0, max(0.0, item.loose - 1))
        if item.name in self._outer:
            return _OUTER_SWELL_M + loose
        if item.name in self._inner:
            return _INNER_SWELL_M if coated else loose
        return 0.0

    def _cut_out(self, item: Item) -> bool:
        return any(texture.cut for texture in self._textures.get(item.name, ()))

    def _item_materials(self, items: list[Item], device: torch.device) -> Materials:
        cloth = self._patterns["cloth"]
        texture, tint, gray, pattern, scale, cutout, shininess = [], [], [], [], [], [], []
        for item in items:
            variants = self._textures.get(item.name)
            shown = variants[int(item.texture * 0.999 * len(variants))] if variants else None
            texture.append(-1 if shown is None else shown.number)
            tint.append(recoloured(item.tint, shown) if shown is not None and item.gray > 0.5 else item.tint)
            gray.append(item.gray)
            pattern.append(cloth[int(item.pattern * 0.999 * len(cloth))] if item.patterned else -1)
            scale.append(item.scale)
            cutout.append(shown is not None and shown.cut)
            shininess.append(item.shininess)
        return _materials(
            np.array(texture, dtype=np.int64),
            np.array(tint).reshape(-1, 3),
            np.array(gray),
            np.array(pattern, dtype=np.int64),
            np.array(scale),
            device,
            cutout=np.array(cutout, dtype=bool),
            shininess=np.array(shininess),
        )


def _materials(
    texture: np.ndarray,
    tint: np.ndarray,
    gray: np.ndarray,
    pattern: np.ndarray,
    scale: np.ndarray,
    device: torch.device,
    *,
    cutout: np.ndarray | None = None,
    shininess: np.ndarray | None = None,
) -> Materials:
    def tensor(values: np.ndarray, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(device, dtype)

    count = len(texture)
    return Materials(
        texture=tensor(texture, torch.int64),
        tint=tensor(tint),
        gray=tensor(gray),
        pattern=tensor(pattern, torch.int64),
        pattern_scale=tensor(scale),
        cutout=tensor(np.zeros(count, dtype=bool) if cutout is None else cutout, torch.bool),
        shininess=tensor(np.zeros(count) if shininess is None else shininess),
    )


def _read_proxy(assets: AssetFolder, path: Path) -> Proxy | None:
    arrays = assets.read_npz(path)
    if arrays is None:
        return None
    try:
        return proxy_from(path.stem, arrays)
    except (KeyError, ValueError, IndexError) as error:
        assets.problems.append(f"{path}: not a garment ({error})")
        return None


def _legs_hang(body: AnnyBody, joints: Float[Tensor, "P J 3"]) -> Bool[Tensor, "P"]:
    """Whether both thighs go on where the trunk points, and lie near each other: what is skinned to two legs at once
    (skirts, tails of coats) would tear elsewhere.
    """
    at = body.bone_names.index
    trunk = joints[:, at("root")] - joints[:, at("neck01")]
    thighs = [joints[:, at(f"lowerleg01.{side}")] - joints[:, at(f"upperleg01.{side}")] for side in "LR"]
    similar = torch.nn.functional.cosine_similarity
    along = torch.stack([similar(trunk, thigh, dim=-1) for thigh in thighs]).amin(0)
    return (along > _HANGING) & (similar(*thighs, dim=-1) > _TOGETHER)


def _read_skins(
    assets: AssetFolder, pool: TexturePool, textures: dict[str, list[WornTexture]], split: Split
) -> dict[tuple[str, str], list[str]]:
    skins: dict[tuple[str, str], list[str]] = {}
    groups: dict[tuple[str, str], list[str]] = {}
    for item in assets.of_kind("skins"):
        words = item.name.split("__")[0].split("_")
        groups.setdefault((words[0], words[-1]), []).append(item.name)
    for group, names in groups.items():
        for name in of_split(names, names, split) if len(names) >= _FEWEST_TO_SPLIT else names:
            texture = read_texture(assets, pool, assets.path / "appearance" / "skins" / f"{name}.webp")
            if texture is not None:
                textures[name] = [texture]
                skins.setdefault(group, []).append(name)
    return skins
