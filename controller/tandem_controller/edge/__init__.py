"""Where the controller meets others: the API server, kopf, admission, metrics, probes."""
