"""Grafana's dashboards as code: `python -m monitoring.dashboards` writes them to monitoring/grafana/dashboards/."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "grafana" / "dashboards"
SOURCE = {"type": "prometheus", "uid": "prometheus"}
# Grafana's grid is 24 wide.
WIDTH, HEIGHT = 12, 8


@dataclass(frozen=True)
class Panel:
    """One question and its answer: a query, how its lines are named, the unit, the kind of picture."""

    title: str
    query: str
    legend: str = ""
    unit: str = "short"
    kind: str = "timeseries"


DASHBOARDS = {
    "pipeline": (
        "Medilink: the night",
        [
            Panel(
                "Since the last release",
                "time() - max(medilink_last_published_timestamp_seconds)",
                unit="s",
                kind="stat",
            ),
            Panel("Newest run succeeded", "min(medilink_last_run_succeeded)", kind="stat"),
            Panel(
                "Runs by how they ended, per day",
                "sum by (state) (increase(medilink_runs_total[1d]))",
                "{{state}}",
            ),
            Panel(
                "Seconds of each step",
                "max by (step) (medilink_last_run_step_duration_seconds)",
                "{{step}}",
                unit="s",
            ),
            Panel(
                "Rows by what became of them, per day",
                "sum by (disposition) (increase(medilink_rows_total[1d]))",
                "{{disposition}}",
            ),
            Panel(
                "Share of rows that failed, per day",
                'sum by (table) (increase(medilink_rows_total{disposition="failed"}[1d]))'
                " / sum by (table) (increase(medilink_rows_total[1d]))",
                "{{table}}",
                unit="percentunit",
            ),
            Panel("Files by status", 'sum by (status) (medilink_files{feed!=""})', "{{status}}"),
            Panel(
                "Rows in quarantine",
                "sum by (feed, disposition) (medilink_quarantine_open_rows)",
                "{{feed}} {{disposition}}",
            ),
            Panel(
                "Age of the oldest row in quarantine",
                "time() - min by (feed, disposition) (medilink_quarantine_oldest_timestamp_seconds)",
                "{{feed}} {{disposition}}",
                unit="s",
            ),
            Panel("Tests of dbt that failed", "max(medilink_last_run_failed_tests)", kind="stat"),
        ],
    ),
    "api": (
        "Medilink: the API",
        [
            Panel("Instances that answer", 'sum(up{job="api"})', kind="stat"),
            Panel(
                "Requests per second",
                "sum by (route) (rate(medilink_api_requests_total[5m]))",
                "{{route}}",
                unit="reqps",
            ),
            Panel(
                "Share of requests that failed",
                'sum(rate(medilink_api_requests_total{status=~"5.."}[5m]))'
                " / sum(rate(medilink_api_requests_total[5m]))",
                unit="percentunit",
            ),
            Panel(
                "Refused, per second",
                'sum by (status) (rate(medilink_api_requests_total{status=~"4.."}[5m]))',
                "{{status}}",
                unit="reqps",
            ),
            *(
                Panel(
                    f"Latency, {percent} % are faster",
                    f"histogram_quantile({percent / 100}, sum by (le, route)"
                    " (rate(medilink_api_request_seconds_bucket[5m])))",
                    "{{route}}",
                    unit="s",
                )
                for percent in (50, 95, 99)
            ),
        ],
    ),
}


def render(name: str) -> str:
    """The JSON that Grafana reads."""
    title, panels = DASHBOARDS[name]
    dashboard: dict[str, Any] = {
        "uid": f"medilink-{name}",
        "title": title,
        "tags": ["medilink"],
        "timezone": "utc",
        "schemaVersion": 41,
        "editable": False,
        "refresh": "1m",
        "time": {"from": "now-7d", "to": "now"},
        "panels": [_panel(index, panel) for index, panel in enumerate(panels)],
    }
    return json.dumps(dashboard, indent=2) + "\n"


def _panel(index: int, panel: Panel) -> dict[str, Any]:
    return {
        "id": index + 1,
        "type": panel.kind,
        "title": panel.title,
        "datasource": SOURCE,
        "gridPos": {"x": index % 2 * WIDTH, "y": index // 2 * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [{"refId": "A", "datasource": SOURCE, "expr": panel.query, "legendFormat": panel.legend}],
    }


if __name__ == "__main__":
    for name in DASHBOARDS:
        (FOLDER / f"{name}.json").write_text(render(name), encoding="utf-8")
