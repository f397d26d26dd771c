"""Programs for those who change the project; nothing here is installed or imported by it."""
