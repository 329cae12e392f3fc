"""Streams of chunks: their order and how they are cut, what changes on the way, and at which price."""
