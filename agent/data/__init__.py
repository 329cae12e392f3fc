"""Chunks of labelled inputs, augmentation of images, and a store of samples."""
