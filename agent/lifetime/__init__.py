"""The loop, and lifetimes that share what they have in common."""
