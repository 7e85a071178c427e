"""The riders' page in Chromium, served by gunicorn with ONNX models."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, Request, Route, expect

from local.aws.lambda_container import HOST, free_ports
from model_service.zones import ROAD_FACTOR, taxi_zones
from tools.road_factor import straight_miles

from ..support import models
from ..support.browser import Visit, chromium, needs_chromium, open_page, write_ranged
from .test_server import server

ROOT = Path(__file__).parents[2]
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
NARROW: dict[str, Any] = {"viewport": {"width": 320, "height": 640}}
PLACES: list[tuple[str, int, float, float]] = json.loads(
    (Path(__file__).parent / "places.json").read_text()
)
"""What riders type, the zone that the page has to choose, and where the place is."""
JAMAICA, TIMES_SQUARE = 130, 230
SUGGESTED = round(
    ROAD_FACTOR * float(straight_miles(np.array([JAMAICA]), np.array([TIMES_SQUARE]))[0]), 1
)

ACCESSIBILITY_TREE = (
    '- form "Your ride":',
    '- combobox "Pick-up": Jamaica',
    '- combobox "Drop-off" [expanded]: jamaica e',
    '- listbox "Drop-off zones":\n      - option "Jamaica Estates Queens"',
    '- spinbutton "Distance"',
    '- region "Quote":',
    "- term: Duration\n    - definition: ",
    " min likely ",
    '- listbox "Choose the drop-off on the map":\n      - group "Bronx":',
    '- button "Whole city" [pressed]',
    '- region "Recent quotes":',
)
"""Parts of Chromium's accessibility tree, which screen readers read."""

pytestmark = [pytest.mark.slow, needs_chromium]


@pytest.fixture(scope="module")
def locations(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Models that predict three minutes and four dollars per mile, each ±25 %."""
    return (
        write_ranged(tmp_path_factory.mktemp("duration"), 3.0),
        write_ranged(tmp_path_factory.mktemp("cost"), 4.0),
    )


@pytest.fixture(scope="module")
def address(locations: tuple[Path, Path]) -> Iterator[str]:
    duration, cost = locations
    with server(duration, COST_MODEL_LOCATION=str(cost)) as (_, port):
        yield f"http://{HOST}:{port}/"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    visit = open_page(browser, address)
    yield visit
    assert visit.errors == []
    assert {url.split("/")[2] for url in visit.requests} == {address.split("/")[2]}
    visit.page.context.close()


def test_page_shows_a_quote_with_ranges_and_versions(visit: Visit) -> None:
    expect(visit.page.get_by_text("Choose a pick-up")).to_be_visible()

    visit.ride()

    assert visit.number("duration") == round(3 * SUGGESTED)
    assert visit.number("cost") == pytest.approx(4 * SUGGESTED, abs=0.01)
    low, high = round(2.25 * SUGGESTED), round(3.75 * SUGGESTED)
    expect(visit.page.locator("#duration .range")).to_have_text(
        f"likely {low}\N{EN DASH}{high} min"
    )
    expect(visit.page.get_by_text("Made from real taxi rides of January 2021.")).to_be_visible()
    details = visit.page.get_by_text(f"Cost: model {models.RUN_ID}, 73,855 rides")
    expect(details).to_be_hidden()
    visit.page.get_by_text("Model details").click()
    expect(details).to_be_visible()
    expect(visit.page.get_by_role("status").last).to_contain_text(f"likely between {low} min")


def test_quote_changes_with_the_inputs(visit: Visit) -> None:
    visit.ride()
    distance = visit.page.get_by_label("Distance")
    assert float(distance.input_value()) == SUGGESTED

    distance.fill("5")
    expect(visit.page.locator("#duration .value")).to_have_text("15 min")
    visit.page.get_by_role("button", name=f"Use {SUGGESTED} mi").click()
    expect(visit.page.locator("#duration .value")).to_have_text(f"{round(3 * SUGGESTED)} min")

    visit.choose("Drop-off", "jamaica")
    expect(visit.page.locator("#cost .value")).to_have_text("$3.20")


def test_pickup_time_is_sent_in_new_york_time_and_omitted_for_now(visit: Visit) -> None:
    visit.ride()
    sent = list[dict[str, Any]]()

    def record(request: Request) -> None:
        if request.post_data:
            sent.append(json.loads(request.post_data))

    visit.page.on("request", record)

    visit.page.get_by_role("radio", name="Later").check()
    visit.page.get_by_label("Date and time").fill("2021-03-01T08:15")
    with visit.page.expect_response("**/predict"):
        pass
    visit.page.get_by_role("radio", name="Now").check()
    with visit.page.expect_response("**/predict"):
        pass

    assert sent[-2]["pickup_datetime"] == "2021-03-01T08:15:00"
    assert "pickup_datetime" not in sent[-1]


def test_keyboard_alone_gets_a_quote(visit: Visit) -> None:
    press = visit.page.keyboard.press

    press("Tab")
    visit.page.keyboard.type("jama")
    expect(visit.page.get_by_role("option", name="Jamaica Queens", exact=True)).to_be_visible()
    press("ArrowDown")
    press("ArrowUp")
    press("Enter")
    press("Tab")
    visit.page.keyboard.type("times")
    press("Tab")  # Tab accepts the option, like Enter

    visit.expect_state("answered")
    assert visit.page.locator("#pickup").input_value() == "Jamaica"
    assert visit.page.locator("#dropoff").input_value() == "Times Sq/Theatre District"


@pytest.mark.parametrize("end", ["Pick-up", "Drop-off"])
def test_every_place_that_a_rider_types_is_found(visit: Visit, end: str) -> None:
    known = {zone.id: zone.name for zone in taxi_zones()}
    field = visit.page.get_by_role("combobox", name=end)

    for text, zone, *_ in PLACES:
        field.fill(text)
        field.press("Enter")
        assert field.input_value().startswith(known[zone]), text


def test_option_shows_the_name_that_the_rider_typed(visit: Visit) -> None:
    visit.page.locator("#pickup").fill("grand central")

    option = visit.page.get_by_role("option", name="Midtown East Grand Central · Manhattan")
    expect(option).to_be_visible()


@pytest.mark.parametrize("leave", ["Enter", "Tab"])
def test_text_that_matches_no_zone_stays_with_a_sentence(visit: Visit, leave: str) -> None:
    visit.ride()
    field = visit.page.locator("#dropoff")
    visit.requests.clear()

    field.fill("hoboken")
    field.press(leave)

    assert field.input_value() == "hoboken"
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_accessible_description(re.compile("know this place"))
    expect(visit.page.get_by_role("alert")).to_contain_text("know this place")
    expect(visit.page.locator(".figures")).to_be_hidden()
    visit.page.wait_for_timeout(500)
    assert quote_requests(visit) == 0
    assert "to=" not in visit.page.url

    visit.choose("Drop-off", "jfk")
    visit.expect_state("answered")
    expect(field).not_to_have_attribute("aria-invalid", "true")


def test_both_unmatched_texts_stay_and_one_can_be_emptied(visit: Visit) -> None:
    for end, text in (("Pick-up", "hoboken"), ("Drop-off", "yonkers")):
        visit.choose(end, text)
    fields = visit.page.locator("#pickup"), visit.page.locator("#dropoff")
    assert [field.input_value() for field in fields] == ["hoboken", "yonkers"]

    for field in fields:
        expect(field).to_have_attribute("aria-invalid", "true")
        field.fill("")
        field.press("Tab")

    expect(visit.page.locator("#quote")).to_have_attribute("data-state", "empty")


def test_address_holds_the_quote_and_another_visitor_gets_the_same(
    visit: Visit, browser: Browser, address: str
) -> None:
    visit.ride()
    visit.page.get_by_label("Distance").fill("9.5")
    visit.page.get_by_role("radio", name="Later").check()
    visit.page.get_by_label("Date and time").fill("2021-03-01T08:15")
    visit.expect_state("answered")
    shared = visit.page.url
    assert shared == (f"{address}#from={JAMAICA}&to={TIMES_SQUARE}&miles=9.5&time=2021-03-01T08:15")

    other = open_page(browser, shared)

    expect(other.page.locator("#duration .value")).to_have_text(re.compile("^28|29"))
    assert other.page.locator("#pickup").input_value() == "Jamaica"
    assert other.page.locator("#dropoff").input_value() == "Times Sq/Theatre District"
    assert other.page.get_by_label("Distance").input_value() == "9.5"
    assert other.page.get_by_label("Date and time").input_value() == "2021-03-01T08:15"
    other.page.evaluate("location.hash = '#from=132&to=138'")
    expect(other.page.locator("#pickup")).to_have_value("JFK Airport")
    expect(other.page.get_by_role("radio", name="Now")).to_be_checked()
    assert other.errors == []
    other.page.context.close()


def test_address_without_a_choice_is_plain_and_an_invalid_one_is_ignored(
    browser: Browser, address: str
) -> None:
    visit = open_page(browser, f"{address}#from=999&to=x&miles=-1&time=noon")

    expect(visit.page.get_by_text("Choose a pick-up and a drop-off.")).to_be_visible()
    assert visit.page.url == address
    assert visit.errors == []
    visit.page.context.close()


def test_distance_beyond_that_of_the_training_rides_gets_a_sentence(visit: Visit) -> None:
    visit.ride()
    note = visit.page.locator(".note")
    expect(note).to_be_hidden()

    visit.page.get_by_label("Distance").fill("26")

    expect(note).to_contain_text("longer than 25.5 mi")
    expect(visit.page.get_by_role("status").last).to_contain_text("longer than 25.5 mi")
    visit.page.get_by_label("Distance").fill("25")
    expect(note).to_be_hidden()


@pytest.mark.parametrize(
    "context",
    [{"viewport": {"width": 1280, "height": 900}}, PHONE, NARROW,
     {"viewport": {"width": 960, "height": 900}}, {"viewport": {"width": 600, "height": 900}}],
    ids=["1280", "390", "320", "960", "600"],
)  # fmt: skip
def test_time_input_has_room_for_am_and_pm(
    browser: Browser, address: str, context: dict[str, Any]
) -> None:
    visit = open_page(browser, address, **context)
    visit.page.get_by_role("radio", name="Later").check()

    given, needed = visit.page.locator("#time").evaluate(
        """input => {
            const given = input.getBoundingClientRect().width;
            input.style.width = "max-content";
            return [given, input.getBoundingClientRect().width];
        }"""
    )

    assert given >= needed > 150
    visit.page.context.close()


COLLISIONS = """() => {
    const focused = document.activeElement;
    const radio = focused.matches("[type=radio]") && focused.nextElementSibling;
    const outlined = [radio, focused, focused.closest(".unit")].find(
        (one) => one && getComputedStyle(one).outlineStyle !== "none");
    const name = focused.id || focused.textContent.trim() || focused.value;
    if (!outlined) return [`no ring: ${name}`];
    const style = getComputedStyle(outlined);
    const grown = (by) => {
        const { left, top, right, bottom } = outlined.getBoundingClientRect();
        return { left: left - by, top: top - by, right: right + by, bottom: bottom + by };
    };
    const inner = grown(parseFloat(style.outlineOffset));
    const outer = grown(parseFloat(style.outlineOffset) + parseFloat(style.outlineWidth));
    const touches = (box) => box.left < outer.right && outer.left < box.right
        && box.top + 2 < outer.bottom && outer.top < box.bottom - 2;
    const within = (box) => box.left >= inner.left && box.right <= inner.right
        && box.top >= inner.top && box.bottom <= inner.bottom;
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const { parentElement, data } = walker.currentNode;
        if (outlined.contains(parentElement) || !data.trim()) continue;
        if (!parentElement.checkVisibility()) continue;
        if (parentElement.closest(".visually-hidden, svg, #tip")) continue;
        const range = document.createRange();
        range.selectNodeContents(walker.currentNode);
        for (const box of range.getClientRects())
            if (touches(box) && !within(box)) found.push(`${name}: ${data.trim()}`);
    }
    return found;
}"""
"""Returns the texts that the focus ring of the focused element touches.

Two pixels above and below the letters of a line are empty.
"""


@pytest.mark.parametrize(
    "context", [{"viewport": {"width": 1280, "height": 900}}, PHONE, NARROW], ids=str
)
def test_no_focus_ring_touches_a_label(
    browser: Browser, address: str, context: dict[str, Any]
) -> None:
    visit = open_page(browser, address, reduced_motion="reduce", **context)
    visit.ride()
    visit.page.get_by_label("Distance").fill("30")
    visit.page.get_by_role("radio", name="Later").check()
    visit.expect_state("answered")
    visit.page.get_by_text("Model details").click()
    visit.page.locator("#pickup").focus()
    found, seen = list[str](), set[str]()

    while not visit.page.evaluate("document.activeElement === document.body"):
        found += visit.page.evaluate(COLLISIONS)
        seen.add(visit.page.evaluate("document.activeElement.id"))
        visit.page.keyboard.press("Tab")

    assert {"pickup", "dropoff", "swap", "miles", "suggested", "time", "map", "clear"} <= seen
    assert set(found) == set()
    visit.page.context.close()


def test_map_names_boroughs_and_waters_without_overlap(browser: Browser, address: str) -> None:
    for context, least in (({"viewport": {"width": 1280, "height": 900}}, 10), (PHONE, 5)):
        visit = open_page(browser, address, reduced_motion="reduce", **context)
        visit.ride()

        names = visit.page.locator("#map .place-names text[visibility=visible]").all()
        boxes = [name.bounding_box() for name in names]

        assert len(names) >= least
        for first, second in combinations(filter(None, boxes), 2):
            apart = (
                first["x"] + first["width"] <= second["x"]
                or second["x"] + second["width"] <= first["x"]
                or first["y"] + first["height"] <= second["y"]
                or second["y"] + second["height"] <= first["y"]
            )
            assert apart
        visit.page.context.close()


def test_escape_restores_the_choice_and_then_clears_it(visit: Visit) -> None:
    visit.choose("Pick-up", "jamaica")
    field = visit.page.locator("#pickup")

    field.fill("hoboken")
    expect(visit.page.locator(".none")).to_contain_text("know this place")
    field.press("Escape")
    assert field.input_value() == "Jamaica"
    expect(field).to_have_attribute("aria-expanded", "false")
    field.press("Escape")
    assert field.input_value() == ""


def test_first_click_on_the_map_sets_the_pickup_and_the_second_the_dropoff(visit: Visit) -> None:
    visit.page.locator(f"#zone-{JAMAICA}").click()
    expect(visit.page.locator("#pickup")).to_have_value("Jamaica")
    visit.page.locator(f"#zone-{JAMAICA}").hover()
    expect(visit.page.locator("#tip")).to_have_text("Jamaica · Queens")

    visit.page.get_by_role("button", name="Manhattan").click()
    visit.page.wait_for_timeout(500)  # the zoom is animated
    visit.page.locator(f"#zone-{TIMES_SQUARE}").click()

    expect(visit.page.locator("#dropoff")).to_have_value("Times Sq/Theatre District")
    assert visit.number("duration") == round(3 * SUGGESTED)


def test_arrow_keys_choose_a_zone_on_the_map(visit: Visit) -> None:
    visit.choose("Pick-up", "jamaica")
    visit.page.get_by_role("radio", name="Drop-off").focus()
    visit.page.keyboard.press("Tab")
    found = visit.page.get_by_role("listbox", name="on the map")
    expect(found).to_be_focused()
    expect(found).to_have_attribute("aria-activedescendant", f"zone-{JAMAICA}")

    visit.page.keyboard.press("ArrowRight")
    visit.page.keyboard.press("Enter")

    visit.expect_state("answered")
    chosen = visit.page.locator("#map [role=option][aria-selected=true]").get_attribute(
        "aria-label"
    )
    assert chosen not in (None, "Jamaica")


def test_tap_selects_the_nearest_zone(browser: Browser, address: str) -> None:
    phone = open_page(browser, address, **PHONE)
    phone.page.locator("#map").scroll_into_view_if_needed()

    tap(phone, phone.page.locator(f"#zone-{JAMAICA}"))

    expect(phone.page.locator("#pickup")).to_have_value("Jamaica")
    phone.page.context.close()


def test_tap_among_crowded_zones_zooms_to_the_borough_first(browser: Browser, address: str) -> None:
    phone = open_page(browser, address, **PHONE, reduced_motion="reduce")
    zone = phone.page.locator(f"#zone-{TIMES_SQUARE}")
    phone.page.locator("#map").scroll_into_view_if_needed()

    tap(phone, zone)

    pressed = phone.page.get_by_role("button", name="Manhattan", pressed=True)
    expect(pressed).to_be_visible()
    expect(phone.page.get_by_role("status").last).to_have_text(
        "Showing Manhattan. Tap the zone again."
    )
    expect(phone.page.locator("#pickup")).to_have_value("")

    tap(phone, zone)

    expect(phone.page.locator("#pickup")).to_have_value("Times Sq/Theatre District")
    phone.page.context.close()


def tap(phone: Visit, zone: Locator) -> None:
    box = zone.bounding_box()
    assert box is not None
    phone.page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def test_screen_reader_gets_roles_names_and_errors(visit: Visit) -> None:
    visit.ride()
    visit.page.locator("#dropoff").fill("jamaica e")

    tree = visit.page.locator("main").aria_snapshot()

    for part in ACCESSIBILITY_TREE:
        assert part in tree, tree
    field = visit.page.get_by_role("combobox", name="Drop-off")
    active = field.get_attribute("aria-activedescendant")
    expect(visit.page.locator(f"#{active}")).to_have_accessible_name("Jamaica Estates Queens")
    expect(visit.page.get_by_role("status").last).to_have_text("1 zone")

    visit.page.route("**/predict", answer_with(422, type="/", field="trip_distance"))
    field.press("Enter")
    visit.expect_state("error")

    distance = visit.page.get_by_role("spinbutton", name="Distance")
    expect(distance).to_have_accessible_description(re.compile("from 0 to less than"))
    expect(distance).to_have_attribute("aria-invalid", "true")


def test_swap_button_exchanges_pickup_and_dropoff(visit: Visit) -> None:
    visit.ride()

    visit.page.get_by_role("button", name="Swap").click()

    expect(visit.page.locator("#pickup")).to_have_value("Times Sq/Theatre District")
    visit.expect_state("answered")


def answer_with(status: int, **problem: Any) -> Any:
    def answer(route: Route) -> None:
        route.fulfill(
            status=status, content_type="application/problem+json", body=json.dumps(problem)
        )

    return answer


@pytest.mark.parametrize(
    ("status", "problem", "text"),
    [
        (422, {"type": "/docs#invalid-ride", "field": "trip_distance"}, "less than 1,000 miles"),
        (422, {"type": "/docs#unscorable"}, "estimate this ride"),
        (503, {"type": "/docs#unavailable"}, "not available right now"),
        (502, {}, "went wrong on our side"),
    ],
)
def test_error_is_explained_and_disappears_after_a_success(
    visit: Visit, status: int, problem: dict[str, str], text: str
) -> None:
    visit.ride()

    visit.page.route("**/predict", answer_with(status, **problem))
    visit.page.get_by_label("Distance").fill("7")
    expect(visit.page.get_by_role("alert")).to_contain_text(text)
    expect(visit.page.locator(".figures")).to_be_hidden()
    if "field" in problem:
        expect(visit.page.get_by_label("Distance")).to_have_attribute("aria-invalid", "true")

    visit.page.unroute("**/predict")
    visit.page.get_by_label("Distance").fill("8")
    assert visit.number("duration") == 24
    expect(visit.page.get_by_label("Distance")).not_to_have_attribute("aria-invalid", "true")


def quote_requests(visit: Visit) -> int:
    return sum(url.endswith("/predict") for url in visit.requests)


def test_negative_distance_is_not_sent(visit: Visit) -> None:
    visit.ride()
    before = quote_requests(visit)

    visit.page.get_by_label("Distance").fill("-3")

    expect(visit.page.get_by_role("alert")).to_contain_text("from 0 to less than 1,000")
    visit.page.wait_for_timeout(600)
    assert quote_requests(visit) == before


def test_empty_distance_asks_for_one(visit: Visit) -> None:
    visit.ride()
    before = quote_requests(visit)

    visit.page.get_by_label("Distance").fill("")

    expect(visit.page.locator(".prompt")).to_have_text("Enter the distance.")
    expect(visit.page.locator("#miles-hint")).to_have_text("Enter the distance.")
    visit.page.get_by_label("Distance").fill("9.99")
    expect(visit.page.locator("#duration .value")).to_have_text("30 min")
    assert quote_requests(visit) == before + 1


def test_longest_valid_distance_is_sent(visit: Visit) -> None:
    visit.ride()

    visit.page.get_by_label("Distance").fill("999.99")

    expect(visit.page.get_by_role("alert")).to_contain_text("estimate this ride")  # from the model


def test_date_before_2009_is_refused_with_an_explanation(visit: Visit) -> None:
    visit.ride()
    visit.page.get_by_label("Later").check()

    visit.page.locator("#time").fill("2008-12-31T23:59")

    expect(visit.page.get_by_role("alert")).to_have_text("Choose a date from 2009 to 9998.")


def test_page_reports_being_offline_and_recovers(visit: Visit) -> None:
    visit.ride()

    visit.page.context.set_offline(True)
    visit.page.get_by_label("Distance").fill("7")
    expect(visit.page.get_by_role("alert")).to_contain_text("reach the service")
    visit.page.context.set_offline(False)

    assert visit.number("duration") == 21


def test_page_recovers_when_the_server_restarts(
    browser: Browser, locations: tuple[Path, Path]
) -> None:
    duration, _ = locations
    port, _ = free_ports()
    with ExitStack() as first:
        first.enter_context(server(duration, port))
        visit = open_page(browser, f"http://{HOST}:{port}/")
        visit.ride()
    visit.page.get_by_label("Distance").fill("7")
    expect(visit.page.get_by_role("alert")).to_contain_text("reach the service")

    with server(duration, port):
        # The button may be hidden by now, because the page also tries again by itself.
        visit.page.get_by_role("button", name="Try again", include_hidden=True).dispatch_event(
            "click"
        )
        assert visit.number("duration") == 21

    assert visit.errors == []
    visit.page.context.close()


def test_page_shows_no_cost_without_a_cost_model(
    browser: Browser, locations: tuple[Path, Path]
) -> None:
    with server(locations[0]) as (_, port):
        visit = open_page(browser, f"http://{HOST}:{port}/")
        visit.ride()

        assert visit.number("duration") == round(3 * SUGGESTED)
        expect(visit.page.locator("#cost")).to_be_hidden()
        expect(visit.page.locator("#recent li")).not_to_contain_text("$")
        assert "Cost" not in visit.page.locator(".origin").inner_text()
    visit.page.context.close()


def test_server_logs_the_address_of_the_page(locations: tuple[Path, Path], tmp_path: Path) -> None:
    log = tmp_path / "log"
    with server(locations[0], 0, f"--log-file={log}", "--bind=[::1]:0") as (_, port):
        output = log.read_text()

    assert f"The page: http://{HOST}:{port}/ " in output
    assert re.search(r"The page: http://\[::1\]:[1-9]\d*/ ", output)


def test_recent_quotes_survive_a_reload_and_can_be_requested_again(visit: Visit) -> None:
    visit.ride()
    visit.page.get_by_label("Distance").fill("5")
    expect(visit.page.locator("#duration .value")).to_have_text("15 min")
    visit.choose("Pick-up", "astoria")
    expect(visit.page.locator("#recent li")).to_have_count(2)

    visit.page.reload()
    visit.page.get_by_role("button", name="Jamaica →").click()

    assert visit.number("duration") == 15
    assert visit.page.get_by_label("Distance").input_value() == "5"
    visit.page.get_by_role("button", name="Clear").click()
    expect(visit.page.locator("#recent")).to_be_hidden()


def test_page_works_without_browser_storage(browser: Browser, address: str) -> None:
    context = browser.new_context()
    context.add_init_script(
        "Object.defineProperty(window, 'localStorage', {get() { throw new Error('no') }})"
    )
    visit = Visit(context.new_page(), address)

    visit.ride()

    expect(visit.page.get_by_text("Kept until you leave this page")).to_be_visible()
    assert visit.errors == []
    context.close()


def test_browser_revalidates_files_with_their_etag(browser: Browser, address: str) -> None:
    visit = open_page(browser, address)

    with visit.page.expect_response("**/zones.json") as found:
        visit.page.reload()

    assert visit.page.request.get(f"{address}zones.json").headers["etag"]
    assert found.value.status in (200, 304)  # Chromium reports a cached response as 200
    visit.page.context.close()


@pytest.mark.parametrize("part", ["empty", "answered"])
@pytest.mark.parametrize(
    "context",
    [NARROW, PHONE, {"viewport": {"width": 768, "height": 1024}}],
    ids=["320", "390", "768"],
)
def test_page_does_not_scroll_sideways(
    browser: Browser, address: str, context: dict[str, Any], part: str
) -> None:
    visit = open_page(browser, address, **context)
    if part == "answered":
        visit.ride("governor", "eltingville")

    inner, wide = visit.page.evaluate("[innerWidth, document.documentElement.scrollWidth]")

    assert wide <= inner
    visit.page.context.close()


def axe(page: Page) -> list[str]:
    """Return the serious and critical violations that axe-core finds, with their elements."""
    page.evaluate(AXE.read_text())
    found = page.evaluate(
        "axe.run(document, {resultTypes: ['violations'], rules: {'target-size': {enabled: true}}})"
    )
    return [
        f"{violation['id']}: {node['html'][:120]}"
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize(
    "context",
    [
        {"color_scheme": "light"},
        {"color_scheme": "dark"},
        {**PHONE, "color_scheme": "light"},
        {**NARROW, "color_scheme": "dark"},
        {"forced_colors": "active"},
        {"contrast": "more"},
    ],
    ids=["light", "dark", "phone", "narrow", "forced colors", "contrast"],
)
def test_axe_finds_no_serious_violation(
    browser: Browser, address: str, context: dict[str, Any]
) -> None:
    visit = open_page(browser, address, reduced_motion="reduce", **context)
    found = {"empty": axe(visit.page)}

    visit.ride()
    visit.page.get_by_role("radio", name="Later").check()
    visit.expect_state("answered")
    visit.page.wait_for_timeout(400)  # until the dimmed figures have faded in
    found["answered"] = axe(visit.page)
    visit.page.locator("#dropoff").fill("har")
    found["list open"] = axe(visit.page)
    visit.page.keyboard.press("Escape")
    visit.page.locator("#map").focus()
    found["map"] = axe(visit.page)
    visit.page.route("**/predict", answer_with(422, type="/", field="trip_distance"))
    visit.page.get_by_label("Distance").fill("7")
    visit.expect_state("error")
    found["error"] = axe(visit.page)

    assert {state: violations for state, violations in found.items() if violations} == {}
    visit.page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_follows_the_preferred_color_scheme(
    browser: Browser, address: str, scheme: Any
) -> None:
    visit = open_page(browser, address, color_scheme=scheme)

    paper = visit.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")

    levels = [int(level) for level in paper.removeprefix("rgb(").removesuffix(")").split(",")]
    assert (sum(levels) > 3 * 128) == (scheme == "light")
    visit.page.context.close()


@pytest.mark.parametrize(
    "command",
    [["node", "--test", "tests/web/page.test.mjs"], ["node_modules/.bin/tsc", "--pretty", "false"]],
    ids=["units", "types"],
)
def test_scripts_pass_unit_tests_and_type_checks(command: list[str]) -> None:
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
