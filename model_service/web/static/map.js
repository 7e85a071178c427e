/** The map: a list of zones laid out where they lie; chosen from by hand or by arrow keys. */

import { WHOLE, addBoroughs, drawCells } from "./boroughs.js";
import { beside, box, nearest, places as lay } from "./cells.js";
import { createRoute } from "./route.js";

/** @typedef {import("./zones.js").Zone} Zone */
/** @typedef {import("./cells.js").Place} Place */
/** @typedef {import("./cells.js").Point} Point */
/** @typedef {import("./cells.js").Box} Box */

const FINGER = 24; // pixels between a tap and the zone that it means
const CROWDED = 8; // pixels between two zones that a finger cannot tell from each other
const GLIDE = 350; // milliseconds, from one part of the city to another
/** @type {Record<string, Point>} */
const ARROWS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };

/**
 * @param {object} given
 * @param {SVGSVGElement} given.svg
 * @param {HTMLElement} given.tip
 * @param {HTMLElement} given.boroughs
 * @param {Zone[]} given.zones
 * @param {(zone: Zone) => void} given.onChoice
 * @param {(borough: string) => void} given.onCloser look, which a tap took among zones that lie close
 */
export function createMap({ svg, tip, boroughs, zones, onChoice, onCloser }) {
  const places = lay(zones);
  const placeOf = new Map(places.map((place) => [place.zone, place]));
  const { paths, outlines } = drawCells(svg, places);
  const drawRoute = createRoute(svg);
  /** @type {(Place | null)[]} */
  let ends = [null, null];
  /** @type {Place | null} */
  let active = null;
  /** @type {Box} */
  let view = box([...outlines.values()].flat(), 4);
  let shownPart = WHOLE;
  let motion = 0;

  const pixel = () => Math.max(view.width / (svg.clientWidth || 1), view.height / (svg.clientHeight || 1));

  function drawView() {
    svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.width} ${view.height}`);
    drawRoute(ends[0], ends[1], view, pixel());
    point(active);
  }

  /**
   * Show a part of the city.
   * @param {string} part
   */
  function frame(part) {
    shownPart = part;
    const shown = places.filter(({ zone }) => part === WHOLE || zone.borough === part);
    const margin = part === WHOLE ? 4 : shown.length > 1 ? 12 : 60; // Newark's is alone
    const target = box(shown.flatMap(({ zone }) => outlines.get(zone) ?? []), margin);
    for (const button of boroughs.children) {
      button.setAttribute("aria-pressed", String(button.textContent === part));
    }
    point(null);
    cancelAnimationFrame(motion);
    glide({ ...view }, target, performance.now());
  }

  /**
   * @param {Box} from
   * @param {Box} to
   * @param {number} began
   */
  function glide(from, to, began) {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const passed = still ? 1 : Math.min((performance.now() - began) / GLIDE, 1);
    const eased = 1 - (1 - passed) ** 3;
    /** @param {keyof Box} side */
    const mix = (side) => from[side] + eased * (to[side] - from[side]);
    view = { x: mix("x"), y: mix("y"), width: mix("width"), height: mix("height") };
    drawView();
    if (passed < 1) motion = requestAnimationFrame(() => glide(from, to, began));
  }

  /**
   * Say which zone is under the pointer or the arrow keys.
   * @param {Place | null} place
   */
  function point(place) {
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

  /** @param {PointerEvent | MouseEvent} event */
  function under(event) {
    const matrix = svg.getScreenCTM();
    if (!matrix) return null;
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    return nearest(places, [x, y], Math.max(FINGER * pixel(), 20));
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
    if (!active) point(middle());
    else if (key in ARROWS) point(beside(places, active, ARROWS[key]));
    else onChoice(active.zone);
  }

  /** Where the arrow keys begin: at the middle of what is shown. */
  const middle = () => nearest(places, [view.x + view.width / 2, view.y + view.height / 2], Infinity);

  addBoroughs(boroughs, zones, frame);
  svg.addEventListener("pointermove", (event) => {
    if (event.pointerType !== "touch") point(under(event));
  });
  svg.addEventListener("pointerleave", () => point(null));
  svg.addEventListener("click", (event) => {
    const place = under(event);
    if (!place) return;
    if (event.pointerType !== "touch" || !crowded(place)) return onChoice(place.zone);
    frame(place.zone.borough);
    onCloser(place.zone.borough);
  });
  svg.addEventListener("keydown", onKey);
  svg.addEventListener("focus", () => {
    if (svg.matches(":focus-visible")) point(active ?? ends.find(Boolean) ?? middle());
  });
  svg.addEventListener("blur", () => point(null));
  new ResizeObserver(drawView).observe(svg);

  return {
    /**
     * @param {Zone | null} pickup
     * @param {Zone | null} dropoff
     * @param {"pickup" | "dropoff"} end that the map chooses next
     */
    show(pickup, dropoff, end) {
      ends = [pickup, dropoff].map((zone) => (zone && placeOf.get(zone)) ?? null);
      const selected = end === "pickup" ? pickup : dropoff;
      for (const [zone, path] of paths) path.setAttribute("aria-selected", String(zone === selected));
      svg.setAttribute("aria-label", end === "pickup" ? "Pick-up, on the map" : "Drop-off, on the map");
      drawView();
    },
  };
}
