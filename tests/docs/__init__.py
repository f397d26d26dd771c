"""Tests of what the documentation says about itself and the code."""
