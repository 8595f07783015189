"""A small scene that needs no assets: two people on a floor with a box beside them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from metrichmsr.bodies.anny import AnnyBody
from metrichmsr.bodies.protocol import BodyOutput
from metrichmsr.rendering import vertex_normals
from metrichmsr.synthetic.cameras import Cameras
from metrichmsr.synthetic.crowd import Crowd
from metrichmsr.synthetic.environments import Environments, Lights
from metrichmsr.synthetic.surfaces import GROUND, PROP, Materials, Surfaces

BODY_TO_WORLD = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""Anny's z up to the world's y up: a body of identity pose faces +z."""


class PlainBackground:
    """The same grey everywhere."""

    def render(self, K: torch.Tensor, camera_from_world: torch.Tensor, *, height: int, width: int) -> torch.Tensor:
        return torch.full((len(K), height, width, 3), 0.4)


def plain_materials(n: int, texture: int = -1) -> Materials:
    return Materials(
        texture=torch.full((n,), texture),
        tint=torch.full((n, 3), 0.5),
        gray=torch.zeros(n),
        pattern=torch.full((n,), -1),
        pattern_scale=torch.ones(n),
        cutout=torch.zeros(n, dtype=torch.bool),
        shininess=torch.zeros(n),
    )


def surface(
    vertices: torch.Tensor, faces: torch.Tensor, owner: int, *, shot: int, casts: bool = True, texture: int = -1
) -> Surfaces:
    count = len(faces)
    return Surfaces(
        vertices_m=vertices,
        normals=vertex_normals(vertices, faces),
        uv=torch.zeros(1, 2),
        shot_of_vertex=torch.full((len(vertices),), shot),
        faces=faces,
        face_uv=torch.zeros(count, 3, dtype=torch.long),
        owner=torch.full((count,), owner),
        material=torch.zeros(count, dtype=torch.long),
        color=torch.ones(count, 3),
        two_sided=torch.ones(count, dtype=torch.bool),
        casts_shadow=torch.full((count,), casts),
        materials=plain_materials(1, texture),
    )


def box(low: torch.Tensor, high: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    corners = torch.tensor([[x, y, z] for x in (0.0, 1.0) for y in (0.0, 1.0) for z in (0.0, 1.0)])
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [face for a, b, c, d in quads for face in ((a, b, c), (a, c, d))]
    return low + corners * (high - low), torch.tensor(faces)


def floor_quad(reach: float) -> tuple[torch.Tensor, torch.Tensor]:
    r = reach
    return torch.tensor([[-r, 0.0, -r], [r, 0, -r], [r, 0, r], [-r, 0, r]]), torch.tensor([[0, 2, 1], [0, 3, 2]])


def look_at(eye: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    z = torch.nn.functional.normalize(target - eye, dim=-1)
    x = torch.nn.functional.normalize(torch.linalg.cross(z, torch.tensor([0.0, 1, 0])), dim=-1)
    rotation = torch.stack([x, torch.linalg.cross(z, x), z])
    matrix = torch.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, -(rotation @ eye)
    return matrix


@dataclass(frozen=True)
class SmallScene:
    crowd: Crowd
    body: BodyOutput
    surfaces: Surfaces
    environments: Environments
    cameras: Cameras
    faces: torch.Tensor


def make_small_scene() -> SmallScene:
    """Shot 0: one person. Shot 1: two people, the second behind the first, and a box before the first's feet."""
    model = AnnyBody.load()
    pose = torch.eye(3).expand(3, model.num_bones, 3, 3).clone()
    pose[:, 0] = BODY_TO_WORLD
    shape = torch.stack([model.shape_from({"gender": g, "age": 0.7}) for g in (0.0, 1.0, 0.0)])
    stand = model(pose, shape)
    place = torch.tensor([[0.0, 0, 0], [0.2, 0, 0], [-0.15, 0, -1.0]])
    place[:, 1] = -stand.vertices_m[..., 1].amin(1)
    body = model(pose, shape, place)
    crowd = Crowd(
        pose=pose,
        shape=shape,
        translation_m=place,
        shot=torch.tensor([0, 1, 1]),
        support=("ground",) * 3,
        pose_source=("test",) * 3,
        n_shots=2,
    )
    parts = [surface(body.vertices_m[i], model.faces, i, shot=int(crowd.shot[i])) for i in range(3)]
    parts += [surface(*floor_quad(6), GROUND, shot=s, casts=False, texture=-2 if s else -1) for s in (0, 1)]
    parts.append(surface(*box(torch.tensor([0.0, 0, 0.5]), torch.tensor([0.4, 0.5, 0.9])), PROP, shot=1))
    lights = Lights(
        irradiance_sh=torch.tensor([[[4.0] * 3] + [[0.5] * 3] + [[0.0] * 3] * 7] * 2),
        sun_direction=torch.nn.functional.normalize(torch.tensor([[0.6, 1.0, 0.5]] * 2), dim=-1),
        sun_irradiance=torch.full((2, 3), 2.5),
        sun_radius=torch.full((2,), 0.01),
    )
    K = torch.tensor([[[320.0, 0, 160], [0, 320, 120], [0, 0, 1]], [[300.0, 0, 150], [0, 310, 130], [0, 0, 1]]])
    poses = torch.stack(
        [
            look_at(torch.tensor([0.5, 1.6, 3.4]), torch.tensor([0.0, 0.8, 0])),
            look_at(torch.tensor([-0.2, 1.9, 3.6]), torch.tensor([0.1, 0.8, 0])),
        ]
    )
    cameras = Cameras(K=K, width=torch.tensor([320, 320]), height=torch.tensor([240, 240]), camera_from_world=poses)
    environments = Environments(None, PlainBackground(), lights, ("plain", "plain"))
    return SmallScene(crowd, body, Surfaces.concatenate(parts), environments, cameras, model.faces)
