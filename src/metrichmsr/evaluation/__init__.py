"""Metrics, and the evaluation of a recovery on real photos with ground truth.

| module | concept |
| --- | --- |
| :mod:`~metrichmsr.evaluation.metrics` | MPJPE, PA-MPJPE, PVE, PCK, OKS, depth errors, coverage |
| :mod:`~metrichmsr.evaluation.real` | the runner over the real sets, ``metrichmsr evaluate real`` |
| :mod:`~metrichmsr.evaluation.keypoints`, :mod:`~metrichmsr.evaluation.pose` | 2D keypoints; 3D joints |
| :mod:`~metrichmsr.evaluation.depth_sensor`, :mod:`~metrichmsr.evaluation.pedestrians` | distances |
| :mod:`~metrichmsr.evaluation.height_video` | the stature of one person through a video |
| :mod:`~metrichmsr.evaluation.baselines`, :mod:`~metrichmsr.evaluation.distances` | constants to beat |
| :mod:`~metrichmsr.evaluation.report`, :mod:`~metrichmsr.evaluation.pictures` | Markdown, JSON, worst cases |
"""
