"""Ways to look into a running process."""
