"""Writes the screenshots of the riders' page in docs/images: ``make pictures``.

They show the models in build/, as ``make web`` serves them.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from local.aws.lambda_container import HOST

from ..web.test_server import ROOT, server
from .browser import Visit, chromium, open_page

IMAGES = ROOT / "docs" / "images"
COLORS = 128  # per picture
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True}


def quoted(visit: Visit) -> None:
    for pickup, dropoff in (
        ("hell's kitchen", "barclays"),
        ("astoria", "jfk"),
        ("grand central", "lga"),
    ):
        visit.ride(pickup, dropoff)
    visit.page.evaluate("document.activeElement.blur()")


def listed(visit: Visit) -> None:
    visit.page.get_by_role("button", name="Manhattan").click()
    visit.choose("Pick-up", "columbia")
    visit.page.locator("#dropoff").fill("wall")


def failed(visit: Visit) -> None:
    quoted(visit)
    visit.page.context.set_offline(True)
    visit.page.get_by_label("Distance").fill("12")
    visit.expect_state("error")


PICTURES: dict[str, tuple[dict[str, Any], Callable[[Visit], None]]] = {
    "page-light": (DESKTOP, quoted),
    "page-dark": ({**DESKTOP, "color_scheme": "dark"}, quoted),
    "page-list": (DESKTOP, listed),
    "page-phone": (PHONE, quoted),
    "page-offline": (PHONE, failed),
}


def main(directory: Path = IMAGES) -> int:
    """Write all screenshots; return 1 if a model is missing."""
    models = ROOT / "build" / "model", ROOT / "build" / "cost-model"
    if not all((location / "MLmodel").exists() for location in models):
        print("no model in build/: run make model", file=sys.stderr)
        return 1
    duration, cost = models
    with server(duration, COST_MODEL_LOCATION=str(cost)) as (_, port), chromium() as browser:
        for name, (context, arrange) in PICTURES.items():
            visit = open_page(browser, f"http://{HOST}:{port}/", reduced_motion="reduce", **context)
            arrange(visit)
            visit.page.wait_for_timeout(600)  # until animations end
            picture = Image.open(io.BytesIO(visit.page.screenshot()))
            small = picture.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
            small.save(directory / f"{name}.png", optimize=True)
            print(directory / f"{name}.png")
            visit.page.context.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
