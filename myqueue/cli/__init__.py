"""The command `myqueue`. Start with `main`; each command has a module."""
