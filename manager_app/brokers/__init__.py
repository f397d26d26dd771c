"""Calls to brokers: the HTTP client, and what a manager orders of many brokers at once."""
