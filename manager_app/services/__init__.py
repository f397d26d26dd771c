"""What is written to the manager's database: one module per noun, one transaction per call."""
