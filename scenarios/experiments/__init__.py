"""Experiments: one lifetime, several side by side, and the relative value of learning."""
