"""A paper's comparison table again: which runs it takes, and what they say beside the printed numbers."""
