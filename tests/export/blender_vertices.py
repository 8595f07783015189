"""Runs where ``bpy`` is, which may be another Python: imports a GLB and saves what Blender makes of it.

``python blender_vertices.py FILE.glb OUT.npz FPS FRAME…`` writes, of every skinned mesh NAME:

``NAME/vertices`` (frames × V × 3, world, metres, Blender's z up), ``NAME/rest`` (V × 3, the same with the armature at
rest), ``NAME/bones``, ``NAME/parents`` (name of each bone's parent, empty for the root), ``NAME/rig`` (name of the
armature) and ``NAME/height_m`` (its custom property).

Beside them are the names ``meshes``, ``objects`` and ``actions``.
"""

import sys

import bpy
import numpy as np


def main(glb, out, fps, *frames):
    """Import ``glb`` and save what is in it."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.fps = int(fps)
    bpy.ops.import_scene.gltf(filepath=glb)
    skinned = {}
    for shown in bpy.data.objects:
        rigs = [modifier.object for modifier in shown.modifiers if modifier.type == "ARMATURE"]
        if shown.type == "MESH" and rigs:
            skinned[shown.name] = (shown, rigs[0])
    found = {
        "meshes": np.array(sorted(skinned)),
        "objects": np.array(sorted(thing.name for thing in bpy.data.objects)),
        "actions": np.array(sorted(action.name for action in bpy.data.actions)),
    }
    for name, (shown, rig) in skinned.items():
        bones = rig.data.bones
        found[f"{name}/bones"] = np.array([bone.name for bone in bones])
        found[f"{name}/parents"] = np.array([bone.parent.name if bone.parent else "" for bone in bones])
        found[f"{name}/rig"] = np.array(rig.name)
        found[f"{name}/height_m"] = np.array(shown["height_m"])
        moving = []
        for frame in frames:
            scene.frame_set(int(frame))
            moving.append(evaluated(shown))
        found[f"{name}/vertices"] = np.stack(moving)
        rig.data.pose_position = "REST"
        scene.frame_set(int(frames[0]))
        found[f"{name}/rest"] = evaluated(shown)
        rig.data.pose_position = "POSE"
    np.savez(out, **found)


def evaluated(shown):
    """Vertices in the world as Blender draws them."""
    final = shown.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = final.to_mesh()
    flat = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", flat)
    final.to_mesh_clear()
    matrix = np.array(final.matrix_world)
    return flat.reshape(-1, 3).astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3]


main(*sys.argv[1:])
