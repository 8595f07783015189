"""Things worn: MakeHuman proxies that hang on Anny's body, fitted to any shape and pose of a whole crowd at once.

A proxy's vertex is a weighted mean of three vertices of MakeHuman's base mesh plus an offset that grows with the part
of the body it covers; it is skinned with the weights of what it hangs on. Anny lacks the base mesh's helper vertices,
which ``weights/anny_helpers.npz`` gives back. Carried things hang on the head of a bone instead. All proxies lie one
behind the other in a few tensors, so that dressing a crowd is a handful of gathers, whatever everybody wears.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.bodies.protocol import Skinning
from metrichmsr.errors import ModelFileError

HELPERS = Path(__file__).parent.parent / "weights" / "anny_helpers.npz"
_BONES = 4
_BASE_VERTICES = 19158


@dataclass(frozen=True)
class Proxy:
    """One thing to wear or carry, as it is stored. Axes and metres of Anny's body frame."""

    name: str
    ref: Int[np.ndarray, "N 3"]
    """Vertices it hangs on: MakeHuman base mesh vertices, or −1 − bone for the head of a bone."""
    weight: Float[np.ndarray, "N 3"]
    offset: Float[np.ndarray, "N 3"]
    faces: Int[np.ndarray, "F 3"]
    uv: Float[np.ndarray, "T 2"]
    face_uv: Int[np.ndarray, "F 3"]
    hides: Bool[np.ndarray, "19158"]
    """Base mesh vertices that it covers."""
    extent_m: Float[np.ndarray, "3"] | None
    """Size of the covered part on the body that the offsets were made for; None: offsets never grow."""


def proxy_from(name: str, arrays: dict[str, np.ndarray]) -> Proxy:
    """A proxy from the arrays of its file.

    Raises:
        KeyError, ValueError: they are not those of a proxy.
    """
    ref, faces, face_uv, uv = arrays["ref"].astype(np.int64), arrays["faces"], arrays["fuv"], arrays["uv"]
    if not (_rows_within(ref, 3, _BASE_VERTICES) and _rows_within(faces, 3, len(ref))):
        raise ValueError("its indices do not fit")
    if arrays["w"].shape != ref.shape or arrays["off"].shape != ref.shape or arrays["ref_extent"].shape != (3,):
        raise ValueError("its weights, offsets or extent do not fit")
    if uv.ndim != 2 or uv.shape[1] != 2 or face_uv.shape != faces.shape or not _rows_within(face_uv, 3, len(uv)):
        raise ValueError("its texture coordinates do not fit")
    if arrays["hide_bits"].dtype != np.uint8 or arrays["hide_bits"].size * 8 < _BASE_VERTICES:
        raise ValueError("its mask of covered vertices does not fit")
    finite = all(np.isfinite(arrays[key]).all() for key in ("w", "off", "uv", "ref_extent"))
    if not finite:
        raise ValueError("it holds numbers that are not finite")
    if not (arrays["ref_extent"] > 0).all():
        raise ValueError("what it covers has no size")
    return Proxy(
        name=name,
        ref=ref,
        weight=arrays["w"],
        offset=arrays["off"],
        faces=faces.astype(np.int64),
        uv=uv,
        face_uv=face_uv.astype(np.int64),
        hides=np.unpackbits(arrays["hide_bits"])[:_BASE_VERTICES].astype(bool),
        extent_m=arrays["ref_extent"],
    )


def _rows_within(index: np.ndarray, width: int, count: int) -> bool:
    """Whether these are rows of that many indices from 0 to below ``count``, and any at all."""
    fits = index.ndim == 2 and index.shape[1] == width and len(index) > 0 and index.dtype.kind in "iu"
    return bool(fits and index.min() >= 0 and index.max() < count)


@dataclass(frozen=True)
class WornMesh:
    """Posed things of a crowd: I items, one behind the other."""

    vertices_m: Float[Tensor, "N 3"]
    """In the frame of the bodies' root rotation and translation (the world)."""
    item_of_vertex: Int64[Tensor, "N"]
    faces: Int64[Tensor, "F 3"]
    """Rows of ``vertices_m``."""
    face_uv: Int64[Tensor, "F 3"]
    """Rows of ``uv``."""
    uv: Float[Tensor, "T 2"]
    item_of_face: Int64[Tensor, "F"]


class ProxyPool:
    """All proxies, ready to be worn.

    Args:
        proxies: what there is.
        body: Anny, unrestricted, on the device where crowds are.
    """

    def __init__(self, proxies: Sequence[Proxy], body: AnnyBody, *, helpers: Path = HELPERS) -> None:
        device = body.template.device
        if not helpers.is_file():
            raise ModelFileError(f"{helpers}: missing; reinstall metrichmsr or run scripts/build_anny_helpers.py")
        with np.load(helpers, allow_pickle=False) as file:
            table = dict(file)
        self.names = tuple(proxy.name for proxy in proxies)
        skin_vertices, bones = body.num_vertices, body.num_bones
        # Rows that vertices hang on: skin, helpers, bone heads.
        row_of_base = np.full(_BASE_VERTICES + bones, -1, dtype=np.int64)
        row_of_base[body.base_vertex_ids.cpu().numpy()] = np.arange(skin_vertices)
        row_of_base[table["base_id"]] = skin_vertices + np.arange(len(table["base_id"]))
        self._first_head = skin_vertices + len(table["base_id"])
        # −1 − bone, counted from the end of the table, is the bone's head.
        row_of_base[::-1][:bones] = self._first_head + np.arange(bones)
        self._rows = self._first_head + bones
        dense = np.zeros((self._rows, bones), dtype=np.float32)
        dense[:skin_vertices] = body.skin.T.cpu().numpy()
        np.add.at(
            dense,
            (skin_vertices + np.arange(len(table["bone"]))[:, None], table["bone"]),
            table["bone_weight"].astype(np.float32) / 255,
        )
        dense[self._first_head + np.arange(bones), np.arange(bones)] = 1
        rest = self._extended(
            body.rest(body.default_shape()[None]).vertices_m.transpose(1, 2),
            body.rest(body.default_shape()[None]).joints_m,
            table,
        )[0]
        columns: dict[str, list[np.ndarray]] = {k: [] for k in ("ref", "weight", "offset", "bone", "bone_weight")}
        faces, face_uv, uv, corners, extents, hides = [], [], [], [], [], []
        for proxy in proxies:
            ref = row_of_base[proxy.ref]
            if (ref < 0).any():
                raise ModelFileError(f"{proxy.name}: hangs on vertices that neither body nor helpers have")
            share = np.clip(proxy.weight, 0, None)
            share = share / share.sum(1, keepdims=True).clip(1e-9)
            skin = (dense[ref] * share[..., None]).sum(1)
            top = np.argsort(-skin, axis=1)[:, :_BONES]
            top_weight = np.take_along_axis(skin, top, 1)
            values = (ref, proxy.weight, proxy.offset, top, top_weight / top_weight.sum(1, keepdims=True).clip(1e-9))
            for column, value in zip(columns.values(), values, strict=True):
                column.append(value)
            faces.append(proxy.faces)
            face_uv.append(proxy.face_uv)
            uv.append(proxy.uv)
            used = np.unique(ref)
            place = rest[used].cpu().numpy()
            corners.append(np.stack([used[place.argmin(0)], used[place.argmax(0)]]))
            extents.append(np.full(3, np.nan) if proxy.extent_m is None else proxy.extent_m)
            hides.append(proxy.hides[body.base_vertex_ids.cpu().numpy()])

        def tensor(values: np.ndarray, dtype: torch.dtype) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(values)).to(device, dtype)

        def joined(parts: Sequence[np.ndarray], width: int) -> np.ndarray:
            return np.concatenate([np.zeros((0, width)), *parts])

        self._ref = tensor(joined(columns["ref"], 3), torch.int64)
        self._weight = tensor(joined(columns["weight"], 3), torch.float32)
        self._offset = tensor(joined(columns["offset"], 3), torch.float32)
        self._bone = tensor(joined(columns["bone"], _BONES), torch.int64)
        self._bone_weight = tensor(joined(columns["bone_weight"], _BONES), torch.float32)
        self._faces = tensor(joined(faces, 3), torch.int64)
        self._face_uv = tensor(joined(face_uv, 3), torch.int64)
        self.uv = tensor(joined(uv, 2), torch.float32)
        self._counts = {
            "vertex": tensor(np.array([len(part) for part in columns["ref"]]), torch.int64),
            "face": tensor(np.array([len(part) for part in faces]), torch.int64),
            "uv": tensor(np.array([len(part) for part in uv]), torch.int64),
        }
        self._corners = tensor(np.stack(corners) if corners else np.zeros((0, 2, 3)), torch.int64)
        self._extents = tensor(np.stack(extents) if extents else np.zeros((0, 3)), torch.float32)
        self.hides = tensor(np.stack(hides) if hides else np.zeros((0, skin_vertices)), torch.bool)
        """Skin vertices that each proxy covers."""
        anchor = np.full(self._rows, skin_vertices, dtype=np.int64)
        anchor[:skin_vertices] = np.arange(skin_vertices)
        anchor[skin_vertices : self._first_head] = table["index"][:, 0]
        self._anchor = tensor(anchor, torch.int64)
        """Skin vertex next to each row that vertices hang on; for bone heads one past the last."""
        self._helper = {
            name: tensor(table[name], torch.int64 if name == "index" else torch.float32)
            for name in ("index", "weight", "offset")
        }

    def _extended(
        self,
        rest_planes: Float[Tensor, "B 3 V"],
        heads: Float[Tensor, "B J 3"],
        table: dict[str, np.ndarray] | None = None,
    ) -> Float[Tensor, "B R 3"]:
        """All rows that vertices can hang on, of unposed bodies: skin, helpers, bone heads."""
        like = rest_planes
        if table is None:
            index, weight, offset = (self._helper[name] for name in ("index", "weight", "offset"))
        else:
            index = torch.from_numpy(table["index"].astype(np.int64)).to(like.device)
            weight = torch.from_numpy(table["weight"].astype(np.float32)).to(like.device)
            offset = torch.from_numpy(table["offset"].astype(np.float32)).to(like.device)
        skin = rest_planes.transpose(1, 2)
        helpers = offset.expand(len(skin), -1, -1).clone()
        for k in range(index.shape[1]):
            helpers += skin.index_select(1, index[:, k]) * weight[:, k, None]
        return torch.cat([skin, helpers, heads], dim=1)

    def wear(
        self,
        person: Int64[Tensor, "I"],
        proxy: Int64[Tensor, "I"],
        skinning: Skinning,
        *,
        loose: Float[Tensor, "I"],
        beneath: Bool[Tensor, "I V"] | None = None,
    ) -> WornMesh:
        """Put things on people.

        Args:
            person: who wears each item: rows of the skinning.
            proxy: which proxy each is.
            skinning: of everybody.
            loose: factor on the offsets from the skin; 1 is as made.
            beneath: skin vertices where something else is worn over an item; its faces there are left out.
        """
        people = len(skinning.shifts_m)
        extended = self._extended(skinning.rest_m, skinning.rest_joints_m).expand(people, -1, -1)
        flat = extended.reshape(-1, 3)
        low, high = self._corners[proxy].unbind(1)  # I 3
        axis = torch.arange(3, device=flat.device)
        base = (person * self._rows)[:, None]
        extent = (flat[base + high, axis] - flat[base + low, axis]) / self._extents[proxy]
        growth = torch.where(torch.isfinite(extent), extent.clamp(0.1, 4), 1.0) * loose[:, None]
        vertex, item = _ranges(self._counts["vertex"], proxy)
        wearer = person.index_select(0, item)
        ref = self._ref.index_select(0, vertex) + (wearer * self._rows)[:, None]
        weight = self._weight.index_select(0, vertex)
        rest = self._offset.index_select(0, vertex) * growth.index_select(0, item)
        for k in range(3):
            rest += flat.index_select(0, ref[:, k]) * weight[:, k, None]
        moves = torch.cat([skinning.rotations, skinning.shifts_m[..., None]], dim=-1).flatten(2).flatten(0, 1)
        bones = skinning.rotations.shape[1]
        bone = self._bone.index_select(0, vertex) + (wearer * bones)[:, None]
        bone_weight = self._bone_weight.index_select(0, vertex)
        move = torch.zeros(len(vertex), 12, device=flat.device)
        for k in range(_BONES):
            move.addcmul_(moves.index_select(0, bone[:, k]), bone_weight[:, k, None])
        move = move.view(-1, 3, 4)
        posed = (move[..., :3] * rest[:, None]).sum(-1) + move[..., 3]
        face, item_of_face = _ranges(self._counts["face"], proxy)
        first_vertex = torch.cumsum(self._counts["vertex"][proxy], 0) - self._counts["vertex"][proxy]
        faces = self._faces.index_select(0, face) + first_vertex.index_select(0, item_of_face)[:, None]
        if beneath is not None:
            over = torch.nn.functional.pad(beneath, (0, 1)).flatten()
            anchor = self._anchor[self._ref.index_select(0, vertex)] + (item * (beneath.shape[1] + 1))[:, None]
            unseen = over[anchor].all(1)
            shown = ~unseen[faces].all(1)
            faces, face, item_of_face = faces[shown], face[shown], item_of_face[shown]
        first_uv = torch.cumsum(self._counts["uv"], 0) - self._counts["uv"]
        return WornMesh(
            vertices_m=posed,
            item_of_vertex=item,
            faces=faces,
            face_uv=self._face_uv.index_select(0, face) + first_uv[proxy].index_select(0, item_of_face)[:, None],
            uv=self.uv,
            item_of_face=item_of_face,
        )


def _ranges(counts: Int64[Tensor, "G"], chosen: Int64[Tensor, "I"]) -> tuple[Int64[Tensor, "N"], Int64[Tensor, "N"]]:
    """Rows of the chosen groups, one group behind the other, and whose row each is."""
    starts = torch.cumsum(counts, 0) - counts
    count = counts[chosen]
    item = torch.repeat_interleave(torch.arange(len(chosen), device=counts.device), count)
    first = torch.cumsum(count, 0) - count
    place = torch.arange(len(item), device=counts.device) - first.index_select(0, item)
    return starts[chosen].index_select(0, item) + place, item
