"""The control plane: where replicas live, who is registered, who is alive, where to pass calls on.

It takes no part in consensus and meets the brokers over HTTP alone.
"""
