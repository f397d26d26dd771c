"""Queue workers. Start with `worker.Worker`; the pure core is `work_loop`."""
