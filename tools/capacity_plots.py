"""Draws the plots of docs/capacity.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from operate.capacity.design import Design, Mode, Workload
from operate.capacity.estimate import estimate, latency
from operate.capacity.recovery import catch_up
from training.reports.svg_style import ACCENT, INK, WARM, draw, standalone

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (7.2, 4.0)  # inches
RIDES = 1000.0  # a second, where the load is not varied
LOOKS = {
    Mode.PROVISIONED: (ACCENT, "provisioned", "solid"),
    Mode.ON_DEMAND: (WARM, "on demand", "solid"),
    Mode.ADVANTAGE: (INK, "on-demand advantage", (0, (4, 3))),
}


def cost_against_load(axes: Axes) -> None:
    """Draw the dollars a million rides of each capacity mode, with the template's defaults."""
    loads = np.logspace(0.5, 6, 90)
    for mode, (colour, label, dashes) in LOOKS.items():
        axes.plot(loads, [_dollars(Workload(float(rides)), mode) for rides in loads],
                  color=colour, label=label, linestyle=dashes, linewidth=1.8)  # fmt: skip
    axes.set(xscale="log", yscale="log", ylim=(0.03, 100), xlabel="rides a second, mean of a month",
             ylabel="dollars a million rides")  # fmt: skip
    axes.set_xticks([10, 100, 1000, 10_000, 100_000, 1e6],
                    ["10", "100", "1,000", "10,000", "100,000", "1,000,000"])  # fmt: skip
    axes.set_yticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
    axes.legend(loc="upper right")


def latency_against_window(axes: Axes) -> None:
    """Draw the longest latency for each batch window: by night, and at the mean load."""
    design = Design(Mode.PROVISIONED)
    windows = np.linspace(0, 20, 81)
    lines: dict[str, tuple[str, float, int]] = {
        "by night: 10 rides a second": (INK, 10.0, 1000),
        "at the mean load, batches of 1,000": (ACCENT, RIDES, 1000),
        "at the mean load, batches of 2,500": (WARM, RIDES, 2500),
    }
    for label, (colour, rides, most) in lines.items():
        found = [
            latency(rides, Workload(RIDES), replace(design, batch_size=most, window_seconds=w))
            for w in windows
        ]
        axes.plot(windows, found, color=colour, label=label, linewidth=1.8)
    axes.set(xlabel="batch window, seconds", ylabel="longest latency, seconds",
             xlim=(0, 20), ylim=(0, 24), xticks=range(0, 21, 5))  # fmt: skip
    axes.legend(loc="upper left")


def recovery(axes: Axes) -> None:
    """Draw the time to catch up after an outage of the scorer, for several numbers of shards."""
    outages = np.linspace(0, 6, 61)  # hours
    # At a constant load, a peak of n needs n shards.
    for peak, colour, dashes in (
        (1.25, INK, (0, (4, 3))), (2.5, INK, "solid"), (4.0, ACCENT, "solid"), (8.0, WARM, "solid"),
    ):  # fmt: skip
        workload = Workload(RIDES, peak=peak)
        fastest = catch_up(workload, Design(Mode.PROVISIONED))
        shards = estimate(workload, Design(Mode.PROVISIONED)).shards
        hours = [fastest.seconds(outage * 3600, RIDES) / 3600 for outage in outages]
        label = f"{shards} shards a stream: up to {fastest.rides_per_second:,.0f} a second"
        axes.plot(outages, hours, color=colour, linestyle=dashes, linewidth=1.8, label=label)
    axes.set(xlabel="outage of the scorer, hours", ylabel="hours until no ride waits",
             xlim=(0, 6), ylim=(0, 8.5))  # fmt: skip
    axes.legend(loc="upper left")


def where_on_demand_pays(axes: Axes) -> None:
    """Draw the dollars a million rides against the peak, divided by the mean load."""
    peaks = np.arange(1, 40.01, 0.05)
    for mode in (Mode.PROVISIONED, Mode.ON_DEMAND):
        colour, label, dashes = LOOKS[mode]
        axes.plot(peaks, [_dollars(Workload(RIDES, peak=float(peak)), mode) for peak in peaks],
                  color=colour, label=label, linestyle=dashes, linewidth=1.8)  # fmt: skip
    point = break_even(RIDES)
    axes.axvline(point, color=INK, linewidth=1, dashes=(5, 4))
    axes.text(point + 0.6, 0.04, f"{point:g} times the mean", color=INK)
    axes.set(xlabel="highest load, divided by the mean load", ylabel="dollars a million rides",
             xlim=(1, 40), ylim=(0, 0.5))  # fmt: skip
    axes.legend(loc="upper left")


def break_even(rides: float) -> float:
    """Return the peak, divided by the mean, from which on demand is cheaper than provisioned."""
    for peak in np.arange(1.0, 1000.0, 0.5):
        workload = Workload(rides, peak=float(peak))
        if _dollars(workload, Mode.PROVISIONED) >= _dollars(workload, Mode.ON_DEMAND):
            return float(peak)
    raise ValueError(f"at {rides} rides a second, on demand is never cheaper")


def _dollars(workload: Workload, mode: Mode) -> float:
    return estimate(workload, Design(mode)).dollars_a_million_rides


PLOTS: Mapping[str, Callable[[Axes], None]] = {
    "capacity-cost.svg": cost_against_load,
    "capacity-latency.svg": latency_against_window,
    "capacity-recovery.svg": recovery,
    "capacity-on-demand.svg": where_on_demand_pays,
}
"""File name -> the function that draws the plot."""


@cache
def svg(name: str) -> str:
    """Return the plot with the file name *name* as an SVG document."""
    return standalone(draw(name.removesuffix(".svg"), PLOTS[name], size=SIZE))
