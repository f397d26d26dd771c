"""What both servers need to speak HTTP: views, negotiation, errors, tokens; calls between them.

The lowest layer of the servers: `manager_app` and `broker_app` import it, it imports the wire
contract of `myqueue` alone.
"""
