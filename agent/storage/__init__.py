"""The only writers of a run directory."""
