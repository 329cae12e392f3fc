"""Figures, one a file, in one style. No pyplot, no globals."""
