"""Floor 2 of affectdata: recipes, networks, losses, metrics, training and scoring."""
