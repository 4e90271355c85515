"""Writes ``operator/prometheus-rule.yaml`` from ``tandem-alerts.yaml``.

The Prometheus operator wants the rules inside an object of its own kind, and kustomize cannot put
one file inside another. Called by people after they changed an alert; a test holds the two equal.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
RULES = HERE / "tandem-alerts.yaml"
WRAPPED = HERE / "operator" / "prometheus-rule.yaml"

HEAD = """\
# Written by manifests/monitoring/wrap_rules.py from tandem-alerts.yaml. Do not edit.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: tandem-alerts
  namespace: tandem-system
  labels:
    app.kubernetes.io/part-of: tandem
spec:
"""


def wrapped() -> str:
    """The PrometheusRule's text: the rules file, indented, under a head."""
    lines = RULES.read_text().splitlines()
    return HEAD + "".join(f"  {line}".rstrip() + "\n" for line in lines)


if __name__ == "__main__":
    WRAPPED.write_text(wrapped())
    sys.exit(0)
