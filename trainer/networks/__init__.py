"""Networks: backbones, heads, and the schemes by which tasks share them."""
