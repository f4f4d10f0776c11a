"""Batch mode: segments any number of images with one fusion per cluster of similar images (SemLA, section E)."""
