"""What a broker tells on request: the calls that change nothing."""
