"""A broker's calls to managers and to other brokers over HTTP. Start with `manager_link`."""
