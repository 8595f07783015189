"""Rendering without OpenGL: depth, mask, face ids, barycentrics and shaded pictures, on CPU and CUDA."""

from metrichmsr.rendering.rasterizer import Fragments, interpolate, rasterize
from metrichmsr.rendering.scene import JoinedMesh, Mesh, SceneFragments, join_meshes, rasterize_scene
from metrichmsr.rendering.shading import shade, vertex_normals
from metrichmsr.rendering.views import Visibility, see

__all__ = [
    "Fragments",
    "JoinedMesh",
    "Mesh",
    "SceneFragments",
    "Visibility",
    "interpolate",
    "join_meshes",
    "rasterize",
    "rasterize_scene",
    "see",
    "shade",
    "vertex_normals",
]
