"""The charts: Plotly figures in colours that colour-blind people tell apart, every axis with its unit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

# Okabe and Ito, "Color Universal Design" (2008).
BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW, BLACK = "#CC79A7", "#56B4E9", "#F0E442", "#000000"
INK, GRID = "#16242F", "#E3E9EE"
# What a letter takes of the width, and the name of a vertical axis; the letters of a number beside it, and of a name.
LETTER_PIXELS, TITLE_PIXELS, NUMBER_LETTERS, NAME_LETTERS = 7, 28, 6, 32
PRIORITIES = {"Critical": VERMILLION, "High": ORANGE, "Medium": SKY, "Low": BLUE}
STATES = {
    "succeeded": GREEN,
    "failed": VERMILLION,
    "abandoned": VERMILLION,
    "running": BLUE,
    "queued": SKY,
}

Rows = Sequence[dict[str, Any]]


def column(rows: Rows, name: str) -> list[Any]:
    """One column of rows."""
    return [row[name] for row in rows]


def figure(*, x: str, y: str, height: int = 320, names: Sequence[str] = ()) -> go.Figure:
    """An empty figure with the names of its axes, units included; `names` are to stand beside the vertical one.

    Room for what stands beside the axes is said here: to find it out, Plotly draws a chart several times (automargin),
    which took a second of the first page's wait. It does so for names that are longer than usual.
    """
    widest = max(map(len, names), default=NUMBER_LETTERS)
    left = 12 + LETTER_PIXELS * min(widest, NAME_LETTERS) + (TITLE_PIXELS if y else 0)
    drawn = go.Figure()
    drawn.update_layout(
        height=height,
        margin={"l": left, "r": 12, "t": 8, "b": 56 if x else 40},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": INK, "size": 13, "family": "Source Sans, sans-serif"},
        hovermode="x unified",
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0, "traceorder": "normal"},
        xaxis={"title": x or None, "gridcolor": GRID, "zeroline": False, "fixedrange": True},
        yaxis={"title": y or None, "gridcolor": GRID, "zeroline": False, "fixedrange": True},
        yaxis_automargin=widest > NAME_LETTERS,
        barcornerradius=3,
    )
    return drawn


def visits_per_day(rows: Rows) -> go.Figure:
    """Bars of visits per day, and the line of the seven-day mean."""
    drawn = figure(x="", y="visits per day")
    days = column(rows, "visited_on")
    drawn.add_bar(x=days, y=column(rows, "visit_count"), name="visits", marker_color="#9CC9E4")
    drawn.add_scatter(
        x=days,
        y=column(rows, "visit_count_7_day_average"),
        name="mean of 7 days",
        mode="lines",
        line={"color": BLUE, "width": 3},
    )
    drawn.update_yaxes(rangemode="tozero")
    return drawn


def priority_mix(rows: Rows) -> go.Figure:
    """Visits by priority, week by week or day by day, stacked."""
    drawn = figure(x="", y="visits per week")
    weeks = column(rows, "week")
    for priority, colour in PRIORITIES.items():
        drawn.add_bar(x=weeks, y=column(rows, priority), name=priority, marker_color=colour)
    drawn.update_layout(barmode="stack")
    return drawn


def ranked_bars(rows: Rows, label: str, value: str, unit: str, colour: str = BLUE) -> go.Figure:
    """Horizontal bars, the first row on top."""
    drawn = figure(x=unit, y="", height=90 + 26 * len(rows), names=column(rows, label))
    drawn.add_bar(
        x=column(rows, value),
        y=column(rows, label),
        orientation="h",
        marker_color=colour,
        text=column(rows, value),
        textposition="auto",
        hovertemplate="%{y}: %{x:,} " + unit + "<extra></extra>",
    )
    drawn.update_layout(hovermode="closest")
    drawn.update_yaxes(autorange="reversed", title=None, showgrid=False)
    return drawn


def conditions(rows: Rows) -> go.Figure:
    """Visits by condition; the urgent ones (level 1 or 2) stand out where they are known."""
    names = column(rows, "condition")
    drawn = figure(x="visits", y="", height=110 + 26 * len(rows), names=names)
    urgent = [row["urgent_visit_count"] for row in rows]
    others = [
        None if row["visit_count"] is None else row["visit_count"] - (row["urgent_visit_count"] or 0) for row in rows
    ]
    drawn.add_bar(x=urgent, y=names, orientation="h", name="level 1 or 2", marker_color=VERMILLION)
    drawn.add_bar(x=others, y=names, orientation="h", name="level 3 to 5", marker_color=BLUE)
    drawn.update_layout(barmode="stack", hovermode="y unified")
    drawn.update_yaxes(autorange="reversed", title=None, showgrid=False)
    return drawn


THRESHOLDS = {85: ORANGE, 92: VERMILLION}
"""Percent of beds occupied from which care is at risk, and from which it suffers."""


def occupancy(lines: Sequence[tuple[str, Rows]]) -> go.Figure:
    """Occupancy by quarter, a line for each name, over bands at 85 % and 92 %."""
    drawn = figure(x="", y="beds occupied, %", height=340)
    rates = [row["occupancy_rate"] for _, rows in lines for row in rows if row["occupancy_rate"] is not None]
    top, bottom = max([101.0, *rates]) + 1, min([80.0, *rates]) - 1
    drawn.add_hrect(y0=85, y1=92, fillcolor=ORANGE, opacity=0.12, line_width=0, layer="below")
    drawn.add_hrect(y0=92, y1=top, fillcolor=VERMILLION, opacity=0.12, line_width=0, layer="below")
    for rate, colour in THRESHOLDS.items():
        drawn.add_hline(y=rate, line={"color": colour, "width": 1, "dash": "dot"})
    colours = (BLUE, GREEN, BLACK, PURPLE, SKY, VERMILLION, ORANGE)
    dashes = ("solid", "dash", "dot")
    for number, (name, rows) in enumerate(lines):
        drawn.add_scatter(
            x=column(rows, "quarter_start_on"),
            y=column(rows, "occupancy_rate"),
            customdata=column(rows, "when"),
            name=name,
            mode="lines+markers" if len(rows) < 60 else "lines",
            line={
                "color": colours[number % len(colours)],
                "width": 2.5,
                "dash": dashes[number // len(colours) % len(dashes)],
            },
            hovertemplate="%{customdata}: %{y:.1f} %" if len(lines) == 1 else "%{y:.1f} %",
        )
    quarters = {row["quarter_start_on"] for _, rows in lines for row in rows}
    if len(quarters) == 1:
        # Around a single moment Plotly counts milliseconds.
        drawn.update_xaxes(tickvals=list(quarters), tickformat="%b %Y")
    drawn.update_yaxes(range=[bottom, top])
    drawn.update_layout(showlegend=len(lines) > 1)
    return drawn


def pressed(rows: Rows) -> go.Figure:
    """The fullest organisations; the colour is the band."""
    names = [f"{row['organisation_code']}  " for row in rows]
    drawn = figure(x="beds occupied, %", y="", height=340, names=names)
    rates = [row["occupancy_rate"] or 0 for row in rows]
    drawn.add_bar(
        x=rates,
        y=names,
        customdata=column(rows, "organisation_name"),
        orientation="h",
        marker_color=[VERMILLION if rate >= 92 else ORANGE if rate >= 85 else BLUE for rate in rates],
        text=[f"{rate:.1f} %" for rate in rates],
        textposition="auto",
        hovertemplate="%{customdata}: %{x:.1f} %<extra></extra>",
    )
    drawn.update_layout(hovermode="closest")
    drawn.update_yaxes(autorange="reversed", showgrid=False, type="category")
    return drawn


def sectors(rows: Rows) -> go.Figure:
    """Beds available and occupied by sector."""
    drawn = figure(x="beds, average per day", y="", height=110 + 52 * len(rows), names=column(rows, "sector"))
    for name, colour in (("beds available", "#9CC9E4"), ("beds occupied", BLUE)):
        drawn.add_bar(x=column(rows, name), y=column(rows, "sector"), orientation="h", name=name, marker_color=colour)
    drawn.update_layout(barmode="group", hovermode="y unified")
    drawn.update_yaxes(autorange="reversed", showgrid=False)
    return drawn


@cache
def _outline() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(__file__).with_name("nigeria.json").read_text(encoding="utf-8"))
    return found


def facility_map(rows: Rows) -> go.Figure:
    """Facilities on degrees of longitude and latitude over the outline of Nigeria; the area of a dot is its visits."""
    drawn = figure(x="degrees east", y="degrees north", height=470)
    outline = _outline()
    drawn.add_scatter(
        x=outline["lon"],
        y=outline["lat"],
        mode="lines",
        fill="toself",
        fillcolor="#EEF3F6",
        line={"color": "#8296A5", "width": 1.5},
        hoverinfo="skip",
        showlegend=False,
    )
    categories = {"Primary": BLUE, "Secondary": ORANGE, "Tertiary": VERMILLION}
    largest = max((row["visit_count"] or 0 for row in rows), default=0) or 1
    for name, colour in {**categories, "Other or unknown": PURPLE}.items():
        chosen = [
            row
            for row in rows
            if row["facility_category"] == name
            or (name == "Other or unknown" and row["facility_category"] not in categories)
        ]
        if not chosen:
            continue
        drawn.add_scatter(
            x=column(chosen, "longitude"),
            y=column(chosen, "latitude"),
            mode="markers",
            name=name,
            text=[f"{row['facility_name']}, {(row['state'] or '').title()}" for row in chosen],
            customdata=[[row["facility_id"], _counted(row["visit_count"])] for row in chosen],
            hovertemplate="%{text}<br>%{customdata[1]} visits<extra></extra>",
            marker={
                "color": colour,
                "size": [max(row["visit_count"] or 0, largest / 60) for row in chosen],
                "sizemode": "area",
                "sizeref": 2.0 * largest / 24**2,
                "opacity": 0.8,
                "line": {"color": "white", "width": 1},
            },
        )
    # A degree of latitude is a little longer than one of longitude at 9° north.
    drawn.update_layout(hovermode="closest")
    drawn.update_xaxes(range=[2.2, 15.1], dtick=2, constrain="domain")
    drawn.update_yaxes(range=[3.8, 14.3], dtick=2, constrain="domain", scaleanchor="x", scaleratio=1.012)
    return drawn


def run_durations(rows: Rows) -> go.Figure:
    """Seconds of each run, the oldest on the left."""
    drawn = figure(x="", y="seconds", height=260)
    for state in dict.fromkeys(column(rows, "state")):
        chosen = [row for row in rows if row["state"] == state]
        drawn.add_bar(
            x=[f"batch {row['batch']}" for row in chosen],
            y=column(chosen, "seconds"),
            name=state,
            marker_color=STATES.get(state, PURPLE),
        )
    drawn.update_xaxes(categoryorder="array", categoryarray=[f"batch {row['batch']}" for row in rows])
    # A single run is no wall.
    drawn.update_layout(hovermode="closest", bargap=0.9 if len(rows) < 4 else 0.3)
    drawn.update_xaxes(automargin=True)  # Many names are turned to stand upright.
    return drawn


def rows_per_day(rows: Rows) -> go.Figure:
    """What became of records, day by day."""
    drawn = figure(x="", y="records", height=260)
    colours = {
        "inserted": BLUE,
        "updated": SKY,
        "unchanged": "#B8C4CE",
        "duplicate": PURPLE,
        "parked": ORANGE,
        "failed": VERMILLION,
    }
    for name, colour in colours.items():
        drawn.add_bar(x=column(rows, "run_on"), y=column(rows, f"{name}_count"), name=name, marker_color=colour)
    drawn.update_layout(barmode="stack")
    drawn.update_xaxes(type="category", automargin=True)
    return drawn


def _counted(count: int | None) -> str:
    return "few" if count is None else f"{count:,}"
