"""Lifetimes as a Gymnasium environment, and trainers of policies."""
