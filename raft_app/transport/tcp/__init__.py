"""The transport over TCP; start with `transport.TcpTransport`."""
