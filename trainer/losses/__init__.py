"""Masked losses: one file, one loss, named as the literature names it (`trainer.losses.registry` lists them)."""
