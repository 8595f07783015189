"""The metric scene (paper §5): depth sources, anchors of the recovered people, refinement, ground, surfaces."""
