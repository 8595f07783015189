"""Results in the browser, in metres: scene, people, rulers, doubt, and a tape measure (docs/viewer.md).

- ``result_folder.py`` reads what ``metrichmsr recover`` wrote; ``photo.py`` finds the picture, ``depth_maps.py`` the depth.
- ``content.py`` makes shapes of it in the world frame, with ``shapes.py`` and ``surroundings.py``. No browser up to here.
- ``picking.py`` and ``measure.py``: from clicks to points, from points to metres and their sigma.
- ``layers.py`` hands shapes to viser, ``panel.py`` is the panel beside them, ``viewer.py`` ties both, ``serve.py`` runs it.
"""
