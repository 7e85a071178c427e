/** Draws the land, the zones and the names on the map, and adds the buttons that zoom to a borough. */

import { UNITS, cell, project } from "./cells.js";
import { BOROUGHS, NAMES, NEIGHBORS } from "./land.js";
import { element } from "./route.js";

/** @typedef {import("./zones.js").Zone} Zone */
/** @typedef {import("./cells.js").Place} Place */
/** @typedef {import("./cells.js").Point} Point */

export const WHOLE = "Whole city";

/**
 * Draws each zone as an option of the list box, grouped by borough: the part of the borough's land
 * that is closer to the zone's centroid than to any other of the borough.
 * @param {SVGSVGElement} svg
 * @param {Place[]} places
 */
export function drawCells(svg, places) {
  /** @type {Map<Zone, SVGPathElement>} */
  const paths = new Map();
  svg.append(element("path", { class: "neighbors", "aria-hidden": "true", d: outline(NEIGHBORS) }));
  for (const borough of boroughsOf(places.map(({ zone }) => zone))) {
    const shore = element("clipPath", { id: `shore-${slug(borough)}` });
    shore.append(element("path", { d: outline(BOROUGHS[borough]) }));
    const group = element("g", { role: "group", "aria-label": borough, class: slug(borough) });
    group.setAttribute("clip-path", `url(#${shore.id})`);
    const own = places.filter(({ zone }) => zone.borough === borough);
    for (const place of own) {
      const { id, name } = place.zone;
      const path = element("path", { id: `zone-${id}`, role: "option", "aria-label": name, d: line(cell(place, own)) });
      paths.set(place.zone, path);
      group.append(path);
    }
    svg.append(shore, group);
  }
  return paths;
}

/**
 * Writes the names of boroughs and waters. Returns a function that sets their size, and hides the
 * names that overlap other texts or the edge of the map, or are longer than their water.
 * @param {SVGSVGElement} svg
 */
export function drawNames(svg) {
  const group = element("g", { class: "place-names", "aria-hidden": "true" });
  const made = NAMES.map(({ text, kind, at, turn = 0, room = Infinity }) => {
    const [x, y] = project(at);
    const name = element("text", { x, y, class: kind, transform: `rotate(${turn} ${x} ${y})` });
    name.textContent = text;
    group.append(name);
    return { name, room: room * UNITS };
  });
  svg.append(group);
  /** @param {number} pixel the size of a pixel, in units of the plane */
  return (pixel) => {
    group.setAttribute("font-size", String(12 * pixel));
    const sheet = svg.getBoundingClientRect();
    const taken = [...svg.querySelectorAll(".route text")].map((text) => text.getBoundingClientRect());
    for (const { name, room } of made) {
      const own = name.getBoundingClientRect();
      const within = own.left >= sheet.left && own.right <= sheet.right && name.getComputedTextLength() <= room;
      const fits = within && !taken.some((other) => overlap(own, other));
      name.setAttribute("visibility", fits ? "visible" : "hidden");
      if (fits) taken.push(own);
    }
  };
}

/**
 * @param {DOMRect} one
 * @param {DOMRect} other
 */
function overlap(one, other) {
  return one.left < other.right && other.left < one.right && one.top < other.bottom && other.top < one.bottom;
}

/**
 * Returns the corners of a borough's land.
 * @param {string} borough
 */
export const corners = (borough) => BOROUGHS[borough].flat().map(project);

/** @param {Point[][]} shapes as longitudes and latitudes */
const outline = (shapes) => shapes.map((shape) => line(shape.map(project))).join("");

/** @param {Point[]} points of the plane */
const line = (points) => `M${points.map((point) => point.map((at) => at.toFixed(1)).join(" ")).join("L")}Z`;

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
export const boroughsOf = (zones) => [...new Set(zones.map(({ borough }) => borough))].sort();

/** @param {string} name */
const slug = (name) => name.toLowerCase().replaceAll(" ", "-");
