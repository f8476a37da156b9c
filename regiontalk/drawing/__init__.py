"""Results on pictures: boxes, labels, attention."""
