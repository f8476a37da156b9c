"""Objects to sentence: detectors, and a model that reads what they find."""
