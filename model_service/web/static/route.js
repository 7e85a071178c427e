/** Draws the ride on the map: both ends, their names, and a curve between them. */

/** @typedef {import("./cells.js").Place} Place */
/** @typedef {import("./cells.js").Box} Box */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Makes an SVG element.
 * @template {keyof SVGElementTagNameMap} Name
 * @param {Name} name
 * @param {Record<string, string | number>} attributes
 */
export function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  return made;
}

/** @param {SVGSVGElement} svg */
export function createRoute(svg) {
  const group = element("g", { class: "route", "aria-hidden": "true" });
  svg.append(group);

  /**
   * @param {Place | null} pickup
   * @param {Place | null} dropoff
   * @param {Box} view
   * @param {number} pixel the size of a pixel, in units of the plane
   */
  return function draw(pickup, dropoff, view, pixel) {
    const ends = [pickup, dropoff].map((place) => (place && within(place, view) ? place : null));
    const south = pickup && dropoff && pickup !== dropoff ? (pickup.y > dropoff.y ? 0 : 1) : -1;
    group.replaceChildren(
      ...(pickup && dropoff && pickup !== dropoff ? [curve(pickup, dropoff, pixel)] : []),
      ...ends.flatMap((place, end) => (place ? [marker(place, end, pixel)] : [])),
      ...ends.flatMap((place, end) =>
        place && !(end === 0 && pickup === dropoff) ? [name(place, end === south, view, pixel)] : [],
      ),
    );
  };
}

/**
 * @param {Place} place
 * @param {Box} view
 */
function within({ x, y }, view) {
  return x > view.x && x < view.x + view.width && y > view.y && y < view.y + view.height;
}

/**
 * @param {Place} from
 * @param {Place} to
 * @param {number} pixel
 */
function curve(from, to, pixel) {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const side = dx > 0 ? 1 : -1; // bends the curve upwards
  const middle = [(from.x + to.x) / 2 + 0.18 * side * dy, (from.y + to.y) / 2 - 0.18 * side * dx];
  return element("path", {
    d: `M${from.x} ${from.y}Q${middle.join(" ")} ${to.x} ${to.y}`,
    "stroke-width": 3 * pixel,
  });
}

/**
 * Makes the marker of an end: a circle for the pick-up, a square for the drop-off.
 * @param {Place} place
 * @param {number} end
 * @param {number} pixel
 */
function marker({ x, y }, end, pixel) {
  const half = (end === 0 ? 6.5 : 6) * pixel;
  const stroke = { "stroke-width": 2.5 * pixel };
  if (end === 0) return element("circle", { cx: x, cy: y, r: half, ...stroke });
  return element("rect", { x: x - half, y: y - half, width: 2 * half, height: 2 * half, ...stroke });
}

/**
 * @param {Place} place
 * @param {boolean} below whether to write the name below the place instead of above it
 * @param {Box} view
 * @param {number} pixel
 */
function name({ zone, x, y }, below, view, pixel) {
  const share = (x - view.x) / view.width; // aligns a name at the edge inwards
  const made = element("text", {
    x: x + (share < 0.25 ? -6 : share > 0.75 ? 6 : 0) * pixel,
    y: y + (below ? 24 : -13) * pixel,
    "text-anchor": share < 0.25 ? "start" : share > 0.75 ? "end" : "middle",
    "font-size": 14 * pixel,
    "stroke-width": 4 * pixel,
  });
  made.textContent = zone.name;
  return made;
}
