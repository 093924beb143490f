"""Faces: geometry, named alignments, detectors, and the engine that turns pictures into packed aligned crops."""
