"""Lives of data directories that end at failpoints."""
