"""What is true of rendered pictures: bodies in the camera frame, who is seen where, which joints are visible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import roma
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from metrichmsr.bodies.protocol import BodyOutput
from metrichmsr.structures import BLAZEPOSE33, COCO17
from metrichmsr.synthetic.cameras import Cameras
from metrichmsr.synthetic.crowd import Crowd
from metrichmsr.synthetic.render import NOTHING, Rendered
from metrichmsr.synthetic.shadows import transform
from metrichmsr.synthetic.shots import NOBODY, OCCLUDED, OUTSIDE, VISIBLE, Shot, ShotPeople
from metrichmsr.synthetic.surfaces import GROUND, Surfaces

_NEAR_M = 0.05
_GRID = 48
"""Cells across a person's box, by which it is estimated how large they would be if nothing hid them."""
_FAR_OUTSIDE = 3.0
"""Amodal boxes of people who reach past the camera are cut at this many picture sizes beyond the picture."""


def _depth_under_skin(names: Sequence[str]) -> Float[Tensor, "n"]:
    """How far behind the skin or cloth that shows it a keypoint may lie on a body of 1.7 m, metres."""
    deep = {"hip": 0.17, "shoulder": 0.12, "elbow": 0.08, "knee": 0.10, "ankle": 0.08, "wrist": 0.06, "heel": 0.07}
    return torch.tensor([next((depth for part, depth in deep.items() if part in name), 0.045) for name in names])


@dataclass(frozen=True)
class Pictures:
    """S finished pictures of one size and their cameras, before they are taken apart."""

    images: UInt8[Tensor, "S H W 3"]
    rendered: Rendered
    K: Float[Tensor, "S 3 3"]
    """Of these pictures."""
    cameras: Cameras
    """Of the full pictures."""
    crop_from_full: Float[Tensor, "S 3 3"]
    inside: Bool[Tensor, "S H W"]
    """Pixels that the full picture has."""


@torch.no_grad()
def collect(
    pictures: Pictures,
    crowd: Crowd,
    body: BodyOutput,
    surfaces: Surfaces,
    *,
    keys: Sequence[str],
    wears: Sequence[tuple[str, ...]],
    environments: Sequence[str],
    settings: Sequence[dict[str, float | str]],
) -> list[Shot]:
    """One :class:`Shot` for every picture.

    Args:
        pictures: images, geometry, cameras.
        crowd: the people, in the order that owners of surfaces count.
        body: their bodies in the world frame.
        surfaces: all that was rendered.
        keys: names of the shots.
        wears: what each person wears.
        environments: name of each shot's surroundings.
        settings: what else was drawn for each shot.
    """
    motion = pictures.cameras.camera_from_world[:, :3].float()
    shot = crowd.shot
    inside = pictures.inside
    owner = torch.where(inside, pictures.rendered.owner, NOTHING)
    depth = torch.where(inside, pictures.rendered.depth_m, torch.nan)
    height, width = owner.shape[1:]

    def to_camera(points: Float[Tensor, "P n 3"]) -> Float[Tensor, "P n 3"]:
        flat = transform(points.reshape(-1, 3).float(), motion, shot.repeat_interleave(points.shape[1]))
        return flat.view_as(points)

    vertices, joints = to_camera(body.vertices_m), to_camera(body.joints_m)
    coco, landmarks = to_camera(body.coco17_m), to_camera(body.landmarks33_m)
    K = pictures.K.float()[shot]
    root = motion[shot, :, :3] @ crowd.pose[:, 0].float()
    pose = roma.rotmat_to_rotvec(torch.cat([root[:, None], crowd.pose[:, 1:].float()], dim=1))
    amodal = _amodal_boxes(vertices, K, height, width)
    boxes, seen_px = _visible_boxes(owner, shot, len(crowd))
    share = _visible_share(pictures, owner, depth, crowd, surfaces, vertices, amodal, seen_px, motion)
    coco_px, landmarks_px = _project(coco, K), _project(landmarks, K)
    tall = body.height_m / 1.7
    seen17 = _visibility(coco, coco_px, _depth_under_skin(COCO17).to(depth), owner, depth, inside, shot, tall)
    seen33 = _visibility(
        landmarks, landmarks_px, _depth_under_skin(BLAZEPOSE33).to(depth), owner, depth, inside, shot, tall
    )
    first = torch.searchsorted(shot, torch.arange(crowd.n_shots, device=shot.device))
    person_id = torch.where(owner >= 0, owner - first[:, None, None], NOBODY).to(torch.uint8)
    normals = torch.where(inside[..., None], pictures.rendered.normals * 127, 0).round().to(torch.int8)
    ends = torch.cat([first[1:], first.new_tensor([len(crowd)])])

    def numpy(tensor: Tensor) -> np.ndarray:
        return tensor.cpu().numpy()

    people = {
        "pose": pose,
        "shape": crowd.shape.float(),
        "translation_m": joints[:, 0],
        "height_m": body.height_m.float(),
        "joints_m": joints,
        "coco17_m": coco,
        "landmarks33_m": landmarks,
        "coco17_px": coco_px,
        "landmarks33_px": landmarks_px,
        "visibility": seen17,
        "visibility33": seen33,
        "box_xyxy": boxes,
        "amodal_box_xyxy": amodal,
        "visible_share": share,
    }
    rows = {name: numpy(tensor) for name, tensor in people.items()}
    planes = [numpy(t) for t in (pictures.images, depth, normals, person_id, owner == GROUND)]
    matrices = [
        numpy(t.float())
        for t in (pictures.K, pictures.cameras.camera_from_world, pictures.cameras.K, pictures.crop_from_full)
    ]
    sizes = torch.stack([pictures.cameras.width, pictures.cameras.height], 1).tolist()
    shots = []
    for i, (start, end) in enumerate(zip(first.tolist(), ends.tolist(), strict=True)):
        image, depth_i, normals_i, ids, ground = (plane[i].copy() for plane in planes)
        K_i, camera, full_K, crop = (matrix[i].copy() for matrix in matrices)
        shots.append(
            Shot(
                key=keys[i],
                image=image,
                depth_m=depth_i,
                normals=normals_i,
                person_id=ids,
                ground=ground,
                K=K_i,
                camera_from_world=camera,
                full_K=full_K,
                full_size=(int(sizes[i][0]), int(sizes[i][1])),
                crop_from_full=crop,
                people=ShotPeople(
                    **{name: array[start:end].copy() for name, array in rows.items()},
                    support=tuple(crowd.support[start:end]),
                    pose_source=tuple(crowd.pose_source[start:end]),
                    wears=tuple(wears[start:end]),
                ),
                environment=environments[i],
                settings=settings[i],
            )
        )
    return shots


def _project(points: Float[Tensor, "P n 3"], K: Float[Tensor, "P 3 3"]) -> Float[Tensor, "P n 2"]:
    homogeneous = points @ K.transpose(1, 2)
    z = homogeneous[..., 2:]
    return torch.where(z > _NEAR_M, homogeneous[..., :2] / z.clamp_min(_NEAR_M), torch.nan)


def _amodal_boxes(
    vertices: Float[Tensor, "P V 3"], K: Float[Tensor, "P 3 3"], height: int, width: int
) -> Float[Tensor, "P 4"]:
    """Around all vertices before the camera; zeros where there is none."""
    places = _project(vertices, K)
    low, high = places.nan_to_num(nan=torch.inf).amin(1), places.nan_to_num(nan=-torch.inf).amax(1)
    size = places.new_tensor([width, height])
    box = torch.cat([low.clamp(min=-_FAR_OUTSIDE * size), high.clamp(max=(1 + _FAR_OUTSIDE) * size)], dim=-1)
    return torch.where((high > low).all(-1, keepdim=True), box, 0.0)


def _visible_boxes(
    owner: Int64[Tensor, "S H W"], shot: Int64[Tensor, "P"], people: int
) -> tuple[Float[Tensor, "P 4"], Int64[Tensor, "P"]]:
    """Boxes around the pixels that see each person, and how many they are."""
    height, width = owner.shape[1:]
    pixel = (owner.view(-1) >= 0).nonzero().squeeze(1)
    person = owner.view(-1).index_select(0, pixel)
    column = pixel % width
    row = torch.div(pixel, width, rounding_mode="floor") % height
    far = torch.iinfo(torch.int64).max

    def extreme(values: Tensor, start: int, kind: str) -> Tensor:
        return values.new_full((people,), start).scatter_reduce_(0, person, values, kind)

    count = torch.bincount(person, minlength=people)
    box = torch.stack(
        [
            extreme(column, far, "amin"),
            extreme(row, far, "amin"),
            extreme(column, -1, "amax") + 1,
            extreme(row, -1, "amax") + 1,
        ],
        dim=-1,
    )
    return torch.where(count[:, None] > 0, box, 0).float(), count


def _visible_share(
    pictures: Pictures,
    owner: Int64[Tensor, "S H W"],
    depth: Float[Tensor, "S H W"],
    crowd: Crowd,
    surfaces: Surfaces,
    vertices: Float[Tensor, "P V 3"],
    amodal: Float[Tensor, "P 4"],
    seen_px: Int64[Tensor, "P"],
    motion: Float[Tensor, "S 3 4"],
) -> Float[Tensor, "P"]:
    """Pixels seen of those there would be if nothing else were there and the picture had no edge.

    Estimated, to a few hundredths, for people who may be hidden or cut off; 1 for all others.
    """
    device = owner.device
    low, high = amodal[:, :2], amodal[:, 2:]
    full_low, full_high = _limits(pictures)
    cut = ((low < full_low[crowd.shot]) | (high > full_high[crowd.shot])).any(-1)
    cut |= (vertices[..., 2] < _NEAR_M).any(-1)
    hidden = _others_in_front(owner, depth, crowd, vertices, amodal)
    doubtful = ((cut | hidden) & (seen_px > 0) & ((high - low) > 0.5).all(-1)).nonzero().squeeze(1)
    share = torch.where((seen_px > 0) | ~(cut | hidden), 1.0, 0.0)
    if not len(doubtful):
        return share
    view = torch.full((len(crowd),), -1, device=device)
    view[doubtful] = torch.arange(len(doubtful), device=device)
    of_people = (surfaces.owner >= 0).nonzero().squeeze(1)
    picture = view[surfaces.owner[of_people]]
    of_people, picture = of_people[picture >= 0], picture[picture >= 0]
    # People alone, as the cells of a small grid over their box that hold a vertex; of cells at the rim, half counts.
    corner = surfaces.faces[:, 0].index_select(0, of_people)
    shot = surfaces.shot_of_vertex.index_select(0, corner)
    x, y, z = transform(surfaces.vertices_m.index_select(0, corner), motion, shot).unbind(-1)
    fx, fy, cx, cy = (pictures.K[:, i, j].float().index_select(0, shot) for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    start, cell = low[doubtful], (high - low)[doubtful] / _GRID
    u = (x / z * fx + cx - start[picture, 0]) / cell[picture, 0]
    v = (y / z * fy + cy - start[picture, 1]) / cell[picture, 1]
    index = (picture * _GRID + v.clamp(0, _GRID - 1).long()) * _GRID + u.clamp(0, _GRID - 1).long()
    held = torch.zeros(len(doubtful) * _GRID * _GRID, device=device)
    held[index[z > _NEAR_M]] = 1
    held = held.view(-1, 1, _GRID, _GRID)
    inner = -torch.nn.functional.max_pool2d(-torch.nn.functional.pad(held, (1, 1, 1, 1)), 3, stride=1)
    area = (0.5 * (held + inner)).sum((1, 2, 3)) * cell.prod(-1)
    share[doubtful] = (seen_px[doubtful] / area.clamp_min(1)).clamp(0, 1).float()
    return share


def _limits(pictures: Pictures) -> tuple[Float[Tensor, "S 2"], Float[Tensor, "S 2"]]:
    """Corners of what is both in this picture and in the full one, pixels of this one."""
    height, width = pictures.inside.shape[1:]
    size = torch.stack([pictures.cameras.width, pictures.cameras.height], 1).float()
    scale = torch.stack([pictures.crop_from_full[:, 0, 0], pictures.crop_from_full[:, 1, 1]], 1).float()
    shift = pictures.crop_from_full[:, :2, 2].float()
    here = shift.new_tensor([width, height])
    return shift.clamp_min(0), torch.minimum(size * scale + shift, here)


def _others_in_front(
    owner: Int64[Tensor, "S H W"],
    depth: Float[Tensor, "S H W"],
    crowd: Crowd,
    vertices: Float[Tensor, "P V 3"],
    amodal: Float[Tensor, "P 4"],
) -> Bool[Tensor, "P"]:
    """Whether anything that is neither they nor the floor lies in their box and nearer than their farthest point."""
    height, width = owner.shape[1:]
    farthest = vertices[..., 2].amax(1)
    hidden = torch.zeros(len(crowd), dtype=torch.bool, device=owner.device)
    v = torch.arange(height, device=owner.device) + 0.5
    u = torch.arange(width, device=owner.device) + 0.5
    for person, shot in enumerate(crowd.shot.tolist()):
        x0, y0, x1, y1 = amodal[person]
        in_box = ((v > y0) & (v < y1))[:, None] & ((u > x0) & (u < x1))
        other = (owner[shot] != person) & (owner[shot] != GROUND) & (owner[shot] != NOTHING)
        hidden[person] = (in_box & other & (depth[shot] < farthest[person])).any()
    return hidden


def _visibility(
    points: Float[Tensor, "P n 3"],
    places: Float[Tensor, "P n 2"],
    under_skin: Float[Tensor, "n"],
    owner: Int64[Tensor, "S H W"],
    depth: Float[Tensor, "S H W"],
    inside: Bool[Tensor, "S H W"],
    shot: Int64[Tensor, "P"],
    scale: Float[Tensor, "P"],
) -> UInt8[Tensor, "P n"]:
    height, width = owner.shape[1:]
    column, row = places.floor().nan_to_num(nan=-1).clamp(-1, max(height, width) + 1).long().unbind(-1)
    in_picture = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    at = (shot[:, None], row.clamp(0, height - 1), column.clamp(0, width - 1))
    in_picture &= inside[at]
    person = torch.arange(len(shot), device=shot.device)[:, None]
    own = owner[at] == person
    near_skin = points[..., 2] - depth[at] < under_skin * scale[:, None]
    seen = own & near_skin
    return torch.where(in_picture, torch.where(seen, VISIBLE, OCCLUDED), OUTSIDE).to(torch.uint8)
