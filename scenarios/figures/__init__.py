"""Figures, one in each file, in one style. They use no pyplot and no global state."""
