"""Several processes: the parent, which delivers nothing, and the workers, each of which is an engine."""
