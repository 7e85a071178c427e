/** Draws the zones of each borough on the map, and adds the buttons that zoom to a borough. */

import { cell } from "./cells.js";
import { element } from "./route.js";

/** @typedef {import("./zones.js").Zone} Zone */
/** @typedef {import("./cells.js").Place} Place */
/** @typedef {import("./cells.js").Point} Point */

export const WHOLE = "Whole city";

/**
 * Draws each zone as an option of the list box, grouped by borough.
 * @param {SVGSVGElement} svg
 * @param {Place[]} places
 */
export function drawCells(svg, places) {
  /** @type {Map<Zone, Point[]>} */
  const outlines = new Map(places.map((place) => [place.zone, cell(place, places)]));
  /** @type {Map<Zone, SVGPathElement>} */
  const paths = new Map();
  for (const borough of boroughsOf(places.map(({ zone }) => zone))) {
    const group = element("g", { role: "group", "aria-label": borough, class: slug(borough) });
    for (const [zone, corners] of outlines) {
      if (zone.borough !== borough) continue;
      const d = `M${corners.map((corner) => corner.map((at) => at.toFixed(1)).join(" ")).join("L")}Z`;
      const path = element("path", { id: `zone-${zone.id}`, role: "option", "aria-label": zone.name, d });
      paths.set(zone, path);
      group.append(path);
    }
    svg.append(group);
  }
  return { paths, outlines };
}

/**
 * Adds a button for each borough. The buttons are also the legend of the map's colors.
 * @param {HTMLElement} group
 * @param {Zone[]} zones
 * @param {(part: string) => void} zoom
 */
export function addBoroughs(group, zones, zoom) {
  for (const part of [WHOLE, ...boroughsOf(zones)]) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = slug(part);
    button.textContent = part;
    button.setAttribute("aria-pressed", String(part === WHOLE));
    button.addEventListener("click", () => zoom(part));
    group.append(button);
  }
}

/** @param {Zone[]} zones */
const boroughsOf = (zones) => [...new Set(zones.map(({ borough }) => borough))].sort();

/** @param {string} name */
const slug = (name) => name.toLowerCase().replaceAll(" ", "-");
