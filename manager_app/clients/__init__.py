"""Registered producers and consumers, as the hot views see them."""
