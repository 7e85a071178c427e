/** The map: a list box of zones at their locations, for pointers and arrow keys. */

import { WHOLE, addBoroughs, boroughsOf, corners, drawCells, drawNames } from "./boroughs.js";
import { box, nearest, neighbor, places as placesOf } from "./cells.js";
import { createRoute } from "./route.js";

/** @typedef {import("./zones.js").Zone} Zone */
/** @typedef {import("./cells.js").Place} Place */
/** @typedef {import("./cells.js").Point} Point */
/** @typedef {import("./cells.js").Box} Box */

const TAP_RADIUS = 24; // pixels: the maximum distance from a tap to the zone that it selects
const CROWDED = 8; // pixels: two zones this close to each other are too close to tap
const ZOOM_TIME = 350; // milliseconds of the animation from one part of the city to another
/** @type {Record<string, Point>} */
const ARROWS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };

/**
 * @param {object} given
 * @param {SVGSVGElement} given.svg
 * @param {HTMLElement} given.tip
 * @param {HTMLElement} given.boroughs
 * @param {Zone[]} given.zones
 * @param {(zone: Zone) => void} given.onChoice
 * @param {(borough: string) => void} given.onZoom after a tap among zones that are close together
 */
export function createMap({ svg, tip, boroughs, zones, onChoice, onZoom }) {
  const places = placesOf(zones);
  const placeOf = new Map(places.map((place) => [place.zone, place]));
  const paths = drawCells(svg, places);
  const zoneOf = new Map([...paths].map(([zone, path]) => [/** @type {EventTarget} */ (path), zone]));
  const showNames = drawNames(svg);
  const drawRoute = createRoute(svg);
  /** @type {(Place | null)[]} */
  let ends = [null, null];
  /** @type {Place | null} */
  let active = null;
  /** @type {Box} */
  let view = box(boroughsOf(zones).flatMap(corners), 4);
  let shownPart = WHOLE;
  let motion = 0;

  const pixel = () => Math.max(view.width / (svg.clientWidth || 1), view.height / (svg.clientHeight || 1));

  function drawView() {
    svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.width} ${view.height}`);
    drawRoute(ends[0], ends[1], view, pixel());
    showNames(pixel());
    highlight(active);
  }

  /**
   * Zooms to a part of the city.
   * @param {string} part
   */
  function zoom(part) {
    shownPart = part;
    const shown = boroughsOf(zones).filter((borough) => part === WHOLE || borough === part);
    const target = box(shown.flatMap(corners), part === WHOLE ? 4 : 12);
    for (const button of boroughs.children) {
      button.setAttribute("aria-pressed", String(button.textContent === part));
    }
    highlight(null);
    cancelAnimationFrame(motion);
    animate({ ...view }, target, performance.now());
  }

  /**
   * @param {Box} from
   * @param {Box} to
   * @param {number} began
   */
  function animate(from, to, began) {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const passed = still ? 1 : Math.min((performance.now() - began) / ZOOM_TIME, 1);
    const eased = 1 - (1 - passed) ** 3;
    /** @param {keyof Box} side */
    const mix = (side) => from[side] + eased * (to[side] - from[side]);
    view = { x: mix("x"), y: mix("y"), width: mix("width"), height: mix("height") };
    drawView();
    if (passed < 1) motion = requestAnimationFrame(() => animate(from, to, began));
  }

  /**
   * Highlights the zone under the pointer or the arrow keys.
   * @param {Place | null} place
   */
  function highlight(place) {
    if (active) paths.get(active.zone)?.classList.remove("active");
    active = place;
    tip.hidden = !place;
    if (!place) return svg.removeAttribute("aria-activedescendant");
    paths.get(place.zone)?.classList.add("active");
    svg.setAttribute("aria-activedescendant", `zone-${place.zone.id}`);
    tip.textContent = `${place.zone.name} · ${place.zone.borough}`;
    const matrix = svg.getScreenCTM();
    if (!matrix) return;
    const [sheet, at] = [svg.getBoundingClientRect(), new DOMPoint(place.x, place.y).matrixTransform(matrix)];
    const room = Math.max(sheet.width - tip.offsetWidth, 0);
    tip.style.left = `${Math.min(Math.max(at.x - sheet.x - tip.offsetWidth / 2, 0), room)}px`;
    tip.style.top = `${Math.max(at.y - sheet.y - tip.offsetHeight - 16, 0)}px`;
  }

  /**
   * Returns the zone at a pointer, or the zone that is nearest to it on the water.
   * @param {PointerEvent | MouseEvent} event
   */
  function under(event) {
    const zone = event.target && zoneOf.get(event.target);
    if (zone) return placeOf.get(zone) ?? null;
    const matrix = svg.getScreenCTM();
    if (!matrix) return null;
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    return nearest(places, [x, y], Math.max(TAP_RADIUS * pixel(), 20));
  }

  /** @param {Place} place */
  function crowded({ x, y, zone }) {
    const others = places.filter((other) => other.zone !== zone);
    return shownPart !== zone.borough && nearest(others, [x, y], CROWDED * pixel()) !== null;
  }

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    const { key } = event;
    if (!(key in ARROWS) && key !== "Enter" && key !== " ") return;
    event.preventDefault();
    if (!active) highlight(middle());
    else if (key in ARROWS) highlight(neighbor(places, active, ARROWS[key]));
    else onChoice(active.zone);
  }

  /** Returns the zone in the middle of the view, where the arrow keys start. */
  const middle = () => nearest(places, [view.x + view.width / 2, view.y + view.height / 2], Infinity);

  addBoroughs(boroughs, zones, zoom);
  svg.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "touch") highlight(under(event));
  });
  svg.addEventListener("pointerleave", () => highlight(null));
  svg.addEventListener("click", (event) => {
    const place = under(event);
    if (!place) return;
    if (event.pointerType !== "touch" || !crowded(place)) return onChoice(place.zone);
    zoom(place.zone.borough);
    onZoom(place.zone.borough);
  });
  svg.addEventListener("keydown", onKey);
  svg.addEventListener("focus", () => {
    if (svg.matches(":focus-visible")) highlight(active ?? ends.find(Boolean) ?? middle());
  });
  svg.addEventListener("blur", () => highlight(null));
  new ResizeObserver(drawView).observe(svg);

  return {
    /**
     * @param {Zone | null} pickup
     * @param {Zone | null} dropoff
     * @param {"pickup" | "dropoff"} end the end that the next selection sets
     */
    show(pickup, dropoff, end) {
      ends = [pickup, dropoff].map((zone) => (zone && placeOf.get(zone)) ?? null);
      const selected = end === "pickup" ? pickup : dropoff;
      for (const [zone, path] of paths) path.setAttribute("aria-selected", String(zone === selected));
      svg.setAttribute("aria-label", end === "pickup" ? "Choose the pick-up on the map" : "Choose the drop-off on the map");
      drawView();
    },
  };
}
