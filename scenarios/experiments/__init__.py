"""What a user runs: one lifetime, several side by side, the curve."""
