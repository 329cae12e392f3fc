"""Streams of chunks: their order, their sizes, how their images and labels change, and their prices."""
