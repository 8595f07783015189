"""Training of the scene's two networks: embedded depth and human-guided refinement (paper §5)."""
