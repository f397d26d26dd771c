"""What a broker does on request: the calls that change something."""
