"""Streams of chunks: their order, their sizes, how their images drift, and their prices."""
