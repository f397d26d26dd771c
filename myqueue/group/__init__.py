"""Members of consumer groups. Start with `membership`; reading is in `reading`. Pure."""
