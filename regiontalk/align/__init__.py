"""Words and regions in one space: encoders, MaxSim score, losses, snippets."""
