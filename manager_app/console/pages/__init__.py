"""One module for each page of the console, with the actions that start there."""
