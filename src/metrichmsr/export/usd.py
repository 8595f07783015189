"""``scene.usdz``: everybody with a skeleton and the textured surroundings, as one USD package.

Convention:
    y up, 1 unit = 1 metre, the frame of ``scene.glb``. ``/scene/person_<id>`` is a SkelRoot with ``skeleton`` and
    ``body``; bind and rest pose are the recovered pose, as in ``scene.glb`` (:mod:`metrichmsr.export.gltf_skin` says
    why), so programs without UsdSkel show the same. Joint paths are made of the bones' names with ``_`` for what USD
    does not allow; the names themselves are in ``jointNames``.

Source: OpenUSD's documentation, "UsdSkel: In-Depth" and "UsdPreviewSurface". Needs the extra ``usd``.
"""

from __future__ import annotations

import importlib
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from metrichmsr.bodies.rig import strongest
from metrichmsr.errors import MissingPackageError
from metrichmsr.export.atomic import OutputError, atomic_file
from metrichmsr.export.frames import moved, y_up_from_camera
from metrichmsr.export.palette import linear_color
from metrichmsr.export.photo_texture import photo_jpeg
from metrichmsr.export.skeleton import Skeleton
from metrichmsr.scene.outlines import Surroundings
from metrichmsr.structures import Person, Recovery

USDZ = "scene.usdz"
_LAYER, _PHOTO = "scene.usdc", "photo.jpg"
_INFLUENCES = 8


def require_usd() -> None:
    """Raise :class:`MissingPackageError` now, not after a long run, where USD cannot be written."""
    _pxr("Usd")


def _pxr(*names: str) -> tuple[Any, ...]:
    # Its type stubs lack what is loaded late.
    try:
        return tuple(importlib.import_module(f"pxr.{name}") for name in names)
    except ImportError:
        raise MissingPackageError("USD needs usd-core: pip install 'metrichmsr[usd]'") from None


def write_usd(recovery: Recovery, path: Path, surroundings: Surroundings | None = None) -> None:
    """Write ``scene.usdz`` atomically. ``surroundings`` of the recovery are found where they are not given.

    Raises:
        MissingPackageError: usd-core is not installed.
        OutputError: USD could not make the package.
    """
    Sdf, Usd, UsdGeom, UsdUtils = _pxr("Sdf", "Usd", "UsdGeom", "UsdUtils")

    surroundings = surroundings or Surroundings.of(recovery)
    with tempfile.TemporaryDirectory() as name:
        layer = Path(name, _LAYER)
        stage = Usd.Stage.CreateNew(str(layer))
        UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
        UsdGeom.SetStageMetersPerUnit(stage, 1.0)
        root = UsdGeom.Xform.Define(stage, "/scene")
        stage.SetDefaultPrim(root.GetPrim())
        matrix = y_up_from_camera(recovery)
        for person in recovery.people:
            _add_person(stage, person, matrix)
        if surroundings is not None:
            _add_surroundings(stage, surroundings, matrix, Path(name, _PHOTO))
        stage.GetRootLayer().Save()
        del stage
        with atomic_file(path) as temporary:
            if not UsdUtils.CreateNewUsdzPackage(Sdf.AssetPath(str(layer)), str(temporary)):
                raise OutputError(f"{path}: USD could not make the package")


def _add_person(stage: Any, person: Person, matrix: np.ndarray) -> None:
    Gf, Sdf, UsdGeom, UsdSkel, Vt = _pxr("Gf", "Sdf", "UsdGeom", "UsdSkel", "Vt")

    name = f"person_{person.id}"
    base = UsdSkel.Root.Define(stage, f"/scene/{name}")
    # Vertices relative to the pelvis, as in scene.glb: micrometres in float32 however far the person stands.
    pelvis = moved(np.asarray(person.translation_m)[None], matrix)[0]
    base.AddTranslateOp().Set(Gf.Vec3d(*pelvis.tolist()))
    for key in ("height_m", "height_std_m", "distance_m", "distance_std_m", "score"):
        base.GetPrim().SetCustomDataByKey(f"metrichmsr:{key}", float(getattr(person, key)))
    vertices = moved(person.vertices_m, matrix) - pelvis
    mesh = UsdGeom.Mesh.Define(stage, f"/scene/{name}/body")
    _fill(mesh, vertices, person.faces)
    _bind_material(stage, mesh, name, color=linear_color(person.id))
    skeleton = Skeleton.of(person)
    if skeleton is None or person.rig is None:
        return
    rest = UsdSkel.Skeleton.Define(stage, f"/scene/{name}/skeleton")
    paths = _joint_paths(skeleton)
    world = np.tile(np.eye(4), (len(paths), 1, 1))
    world[:, :3, :3] = matrix[:3, :3] @ skeleton.bone_rotations()
    world[:, :3, 3] = moved(skeleton.heads_m, matrix) - pelvis
    local = world.copy()
    for bone, parent in enumerate(skeleton.parents[1:], start=1):
        local[bone] = np.linalg.inv(world[parent]) @ world[bone]
    rest.CreateJointsAttr(Vt.TokenArray(paths))
    rest.CreateJointNamesAttr(Vt.TokenArray(list(skeleton.names)))
    # USD multiplies row vectors from the left.
    rest.CreateBindTransformsAttr(Vt.Matrix4dArray.FromNumpy(world.swapaxes(1, 2).copy()))
    rest.CreateRestTransformsAttr(Vt.Matrix4dArray.FromNumpy(local.swapaxes(1, 2).copy()))
    binding = UsdSkel.BindingAPI.Apply(mesh.GetPrim())
    kept = strongest(person.rig, _INFLUENCES)
    count = kept.skin_bones.shape[1]
    indices = Vt.IntArray.FromNumpy(kept.skin_bones.astype(np.int32).ravel())
    binding.CreateJointIndicesPrimvar(False, count).Set(indices)
    binding.CreateJointWeightsPrimvar(False, count).Set(Vt.FloatArray.FromNumpy(kept.skin_weights.ravel()))
    binding.CreateGeomBindTransformAttr(Gf.Matrix4d(1))
    binding.CreateSkeletonRel().SetTargets([Sdf.Path(f"/scene/{name}/skeleton")])
    UsdSkel.BindingAPI.Apply(base.GetPrim())


def _add_surroundings(stage: Any, surroundings: Surroundings, matrix: np.ndarray, photo: Path) -> None:
    Sdf, UsdGeom, Vt = _pxr("Sdf", "UsdGeom", "Vt")

    surface = surroundings.mesh()
    if not len(surface.faces):
        return
    photo.write_bytes(photo_jpeg(surroundings.recovery.image))
    mesh = UsdGeom.Mesh.Define(stage, "/scene/surroundings")
    _fill(mesh, moved(surface.vertices_m, matrix), surface.faces, smooth=False)
    # Texture coordinates of USD count upwards.
    uv = np.ascontiguousarray(surface.uv * (1, -1) + (0, 1), np.float32)
    primvar = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, "vertex")
    primvar.Set(Vt.Vec2fArray.FromNumpy(uv))
    _bind_material(stage, mesh, "photo", texture=photo.name)


def _fill(mesh: Any, vertices_m: np.ndarray, faces: np.ndarray, *, smooth: bool = True) -> None:
    UsdGeom, Vt = _pxr("UsdGeom", "Vt")

    from metrichmsr.export.normals import vertex_normals

    points = np.ascontiguousarray(vertices_m, np.float32)
    mesh.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(points))
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(faces), 3, np.int32)))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(np.ascontiguousarray(faces, np.int32).ravel()))
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    mesh.CreateExtentAttr(Vt.Vec3fArray.FromNumpy(np.stack([points.min(0), points.max(0)])))
    if smooth:
        mesh.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(vertex_normals(vertices_m, faces).astype(np.float32)))
        mesh.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    else:  # an open surface, seen from either side
        mesh.CreateDoubleSidedAttr(True)


def _bind_material(stage: Any, mesh: Any, name: str, *, color: Any = None, texture: str | None = None) -> None:
    Gf, Sdf, UsdShade = _pxr("Gf", "Sdf", "UsdShade")

    path = f"/scene/materials/{name}"
    material = UsdShade.Material.Define(stage, path)
    surface = UsdShade.Shader.Define(stage, f"{path}/surface")
    surface.CreateIdAttr("UsdPreviewSurface")
    surface.CreateInput("metallic", Sdf.ValueTypeNames.Float).Set(0.0)
    if texture is None:
        surface.CreateInput("roughness", Sdf.ValueTypeNames.Float).Set(0.8)
        surface.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f).Set(Gf.Vec3f(*color))
    else:
        reader = UsdShade.Shader.Define(stage, f"{path}/st")
        reader.CreateIdAttr("UsdPrimvarReader_float2")
        reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set("st")
        picture = UsdShade.Shader.Define(stage, f"{path}/picture")
        picture.CreateIdAttr("UsdUVTexture")
        picture.CreateInput("file", Sdf.ValueTypeNames.Asset).Set(f"./{texture}")
        picture.CreateInput("sourceColorSpace", Sdf.ValueTypeNames.Token).Set("sRGB")
        st = reader.CreateOutput("result", Sdf.ValueTypeNames.Float2)
        picture.CreateInput("st", Sdf.ValueTypeNames.Float2).ConnectToSource(st)
        rgb = picture.CreateOutput("rgb", Sdf.ValueTypeNames.Float3)
        # The photo holds its light already.
        surface.CreateInput("emissiveColor", Sdf.ValueTypeNames.Color3f).ConnectToSource(rgb)
        surface.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f).Set(Gf.Vec3f(0, 0, 0))
        surface.CreateInput("roughness", Sdf.ValueTypeNames.Float).Set(1.0)
    material.CreateSurfaceOutput().ConnectToSource(surface.CreateOutput("surface", Sdf.ValueTypeNames.Token))
    UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(material)


def _joint_paths(skeleton: Skeleton) -> list[str]:
    paths: list[str] = []
    for name, parent in zip(skeleton.names, skeleton.parents, strict=True):
        own = re.sub(r"\W", "_", name, flags=re.ASCII)
        paths.append(own if parent < 0 else f"{paths[parent]}/{own}")
    return paths
