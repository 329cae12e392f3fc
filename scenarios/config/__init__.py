"""Settings, presets, and the specs that name members of families."""
