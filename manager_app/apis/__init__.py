"""The views of a manager: they read the input, make one call, and render what it returns."""
