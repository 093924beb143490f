"""Labels that are derived rather than read: relatedness tables, folds and groups."""
