"""Readers of data sets in their official layouts, as typed records in this project's conventions; and shards.

The real sets are the user's: a folder given by option or by ``METRICHMSR_REAL_DATA``. What we make ourselves is kept
in tar shards (:mod:`~metrichmsr.datasets.shards`, read by :mod:`~metrichmsr.datasets.shard_reader`).
"""

from metrichmsr.datasets.height_video import HeightVideo, read_sports2d
from metrichmsr.datasets.joint_orders import LIMBS12, LSP14, MPI3DHP17, canonical_name, select_joints
from metrichmsr.datasets.keypoints2d import KeypointFrame, KeypointPerson, read_coco, read_lspet, read_mmpose_mini
from metrichmsr.datasets.pedestrians import Pedestrian, PedestrianFrame, read_kitti, read_nuscenes
from metrichmsr.datasets.photo import DATA_VARIABLE, PhotoFile, list_photos, real_data_folder
from metrichmsr.datasets.pose3d import Pose3dFrame, read_mpi3dhp
from metrichmsr.datasets.rgbd import RGBD_SETS, RgbdFrame, RgbdPerson, read_rgbd
from metrichmsr.datasets.shard_reader import ShardReader
from metrichmsr.datasets.shards import ShardEntry, ShardError, ShardIndex, ShardWriter

__all__ = [
    "DATA_VARIABLE",
    "LIMBS12",
    "LSP14",
    "MPI3DHP17",
    "RGBD_SETS",
    "HeightVideo",
    "KeypointFrame",
    "KeypointPerson",
    "Pedestrian",
    "PedestrianFrame",
    "PhotoFile",
    "Pose3dFrame",
    "RgbdFrame",
    "RgbdPerson",
    "ShardEntry",
    "ShardError",
    "ShardIndex",
    "ShardReader",
    "ShardWriter",
    "canonical_name",
    "list_photos",
    "read_coco",
    "read_kitti",
    "read_lspet",
    "read_mmpose_mini",
    "read_mpi3dhp",
    "read_nuscenes",
    "read_rgbd",
    "read_sports2d",
    "real_data_folder",
    "select_joints",
]
