"""Results in the browser, in metres: scene, people, rulers, uncertainty, and a tape measure (docs/viewer.md).

- ``result_folder.py`` reads what ``metrichmsr recover`` wrote; ``photo.py`` finds the picture, ``depth_maps.py`` depth.
- ``sequences.py`` tells which results are frames of one sequence.
- ``content.py`` makes shapes of a result in the world frame, with ``shapes.py``, ``surroundings.py`` and
  ``lighter_bodies.py``; no browser.
- ``picking.py`` and ``measure.py``: from clicks to points, from points to metres and their sigma.
- ``layers.py`` hands shapes to viser, ``panel.py`` is the panel beside them, ``viewpoints.py`` are places to look from.
- ``viewer.py`` ties all that together, ``serve.py`` starts and stops it, ``foreign_pages.py`` keeps other pages out.
"""
