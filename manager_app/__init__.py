"""The control plane: placement of replicas, registered clients, health of brokers, consumer groups.

It takes no part in consensus and meets the brokers over HTTP alone.
"""
