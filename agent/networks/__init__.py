"""Networks, the places where keys are read in them, and their FLOPs."""
