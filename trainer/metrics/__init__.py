"""Metrics in numpy float64, one idea per file (`trainer.metrics.registry` lists them)."""
