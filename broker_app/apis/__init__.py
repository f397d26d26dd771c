"""The HTTP API of a broker; each view reads its input, checks the token and makes one call."""
