"""The evaluation plan, scores, and the trajectory of a lifetime."""
