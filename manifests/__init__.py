"""Floor 0 of affectdata: vocabulary, schemas, the lake and questions to it. Knows no dataset and no model."""
