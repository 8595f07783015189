"""Training: losses, data, schedule, the trainer, ablations, the gate that lets a checkpoint through."""
