"""Writing results, one module per format.

| module | writes | frame, unit |
| --- | --- | --- |
| :mod:`~metrichmsr.export.result_json` | ``result.json``: the result contract; also reads it | camera frame, metres |
| :mod:`~metrichmsr.export.ply` | ``person_<id>.ply`` | camera frame (y down, z forward), metres |
| :mod:`~metrichmsr.export.glb` | ``scene.glb``: everybody with bones, surroundings | y up, z backwards, metres |
| :mod:`~metrichmsr.export.gltf_animation` | ``animation.glb``: a sequence, everybody moving | y up, metres |
| :mod:`~metrichmsr.export.usd` | ``scene.usdz``: the same as USD | y up, metres |
| :mod:`~metrichmsr.export.obj` | ``scene.obj``, ``.mtl``, photo | y up, metres |
| :mod:`~metrichmsr.export.bvh` | ``person_<id>.bvh``: bones and pose; motion | y up, metres, degrees |
| :mod:`~metrichmsr.export.parameters_npz` | ``recovery.npz``: all numbers | camera frame, metres |
| :mod:`~metrichmsr.export.colmap` | ``cameras.txt``, ``images.txt``, ``points3D.txt`` | camera frame, metres |
| :mod:`~metrichmsr.export.amass` | ``person_<id>_amass.npz``: SMPL family | z up, metres |
| :mod:`~metrichmsr.export.overlay` | ``overlay.png``: meshes over the photo, side and top view | metre grid |
| :mod:`~metrichmsr.export.report` | ``report.html``: all of it on one page, see ``docs/report.md`` | metres |
| :mod:`~metrichmsr.export.report_index` | ``index.html`` of a batch | metres |
| :mod:`~metrichmsr.export.people_table` | ``people.csv`` or ``.parquet``: a row per person | camera frame, metres |
| :mod:`~metrichmsr.export.explain_write` | ``explain.json`` and pictures of routing, see ``docs/explain.md`` | crop |
| :mod:`~metrichmsr.export.onnx` | the network as ``.onnx`` with its ``.json`` | camera frame, metres |
| :mod:`~metrichmsr.export.write` | a whole result folder, put in place at once | |
| :mod:`~metrichmsr.export.sequence` | nothing: reads the results of a sequence as motions | camera frame, metres |
| :mod:`~metrichmsr.export.read` | nothing: reads a result folder back, for ``metrichmsr convert`` | |

What each format holds and which programs open it: ``docs/export.md``.
"""

from metrichmsr.export.atomic import OutputError
from metrichmsr.export.result_json import read_result
from metrichmsr.export.write import FORMATS, Format, write_recovery

__all__ = ["FORMATS", "Format", "OutputError", "read_result", "write_recovery"]
