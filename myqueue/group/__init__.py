"""Members of consumer groups. Start with `core`, then `membership`; `read_ahead` fetches. Pure."""
