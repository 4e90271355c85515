"""Prometheus for the lab: are the shipped alerts true when it counts?"""

from tandem_lab.monitoring.prometheus import Prometheus, PrometheusError, promtool

__all__ = ["Prometheus", "PrometheusError", "promtool"]
