"""What a broker stores: one SQLite file, written by one thread, and its twin in memory."""
