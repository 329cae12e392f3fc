"""Checkpoints, records and TensorBoard events: the only code that writes to a run directory."""
