/** Computes the map's geometry: zones as points on a plane, and a Voronoi cell for each zone. */

/** @typedef {import("./zones.js").Zone} Zone */
/** @typedef {[number, number]} Point */
/** @typedef {{zone: Zone, x: number, y: number}} Place */
/** @typedef {{x: number, y: number, width: number, height: number}} Box */

export const UNITS = 20; // units of the plane per mile
const MILES_PER_DEGREE = 69.1;
const CENTER = [-74, 40.73]; // degrees east and north
const REACH = 20 * UNITS; // half of the side of a cell without neighbors; larger than any borough

/**
 * Projects a location to the plane; a city is small enough for a flat projection.
 * @param {Point} location degrees east and north
 * @returns {Point}
 */
export function project([longitude, latitude]) {
  const scale = MILES_PER_DEGREE * UNITS;
  const narrower = Math.cos((CENTER[1] * Math.PI) / 180);
  return [(longitude - CENTER[0]) * scale * narrower, (CENTER[1] - latitude) * scale];
}

/**
 * Projects the centroids of the zones.
 * @param {Zone[]} zones
 * @returns {Place[]}
 */
export function places(zones) {
  return zones.map((zone) => {
    const [x, y] = project([zone.longitude, zone.latitude]);
    return { zone, x, y };
  });
}

/**
 * Returns the corners of the cell of *place*: the area of a large square around *place* that is
 * closer to *place* than to any other place.
 * @param {Place} place
 * @param {Place[]} all
 * @returns {Point[]}
 */
export function cell(place, all) {
  const { x, y } = place;
  /** @type {Point[]} */
  const square = [[x - REACH, y - REACH], [x + REACH, y - REACH], [x + REACH, y + REACH], [x - REACH, y + REACH]];
  return all.reduce((corners, other) => (other === place ? corners : clip(corners, place, other)), square);
}

/**
 * Returns the corners of the part of a polygon that is closer to *place* than to *other*.
 * @param {Point[]} corners
 * @param {Place} place
 * @param {Place} other
 */
function clip(corners, place, other) {
  const [dx, dy] = [other.x - place.x, other.y - place.y];
  const half = (dx * (place.x + other.x) + dy * (place.y + other.y)) / 2;
  /** @param {Point} corner */
  const beyond = ([x, y]) => dx * x + dy * y - half;
  return corners.flatMap((corner, index) => {
    const next = corners[(index + 1) % corners.length];
    const [here, there] = [beyond(corner), beyond(next)];
    const kept = here <= 0 ? [corner] : [];
    if (here < 0 !== there < 0 && here !== there) kept.push(between(corner, next, here / (here - there)));
    return kept;
  });
}

/**
 * @param {Point} from
 * @param {Point} to
 * @param {number} share of the distance
 * @returns {Point}
 */
const between = (from, to, share) => [
  from[0] + share * (to[0] - from[0]),
  from[1] + share * (to[1] - from[1]),
];

/**
 * Returns the place closest to a point, or null if no place is within the distance *reach*.
 * @param {Place[]} all
 * @param {Point} point
 * @param {number} reach
 */
export function nearest(all, [x, y], reach) {
  let [best, least] = [/** @type {Place | null} */ (null), reach];
  for (const place of all) {
    const far = Math.hypot(place.x - x, place.y - y);
    if (far <= least) [best, least] = [place, far];
  }
  return best;
}

/**
 * Returns the next place from *from* in a direction, or *from* if there is none. Prefers places
 * straight ahead.
 * @param {Place[]} all
 * @param {Place} from
 * @param {Point} direction, a unit vector
 */
export function neighbor(all, from, [right, down]) {
  let [best, least] = [from, Infinity];
  for (const place of all) {
    const [dx, dy] = [place.x - from.x, place.y - from.y];
    const ahead = dx * right + dy * down;
    const aside = Math.abs(dx * down - dy * right);
    if (ahead <= 0 || aside > 2 * ahead) continue;
    const far = ahead + 2 * aside;
    if (far < least) [best, least] = [place, far];
  }
  return best;
}

/**
 * Returns the bounding box of the points, with a margin.
 * @param {Point[]} points
 * @param {number} margin
 * @returns {Box}
 */
export function box(points, margin) {
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  const [x, y] = [Math.min(...xs) - margin, Math.min(...ys) - margin];
  return { x, y, width: Math.max(...xs) + margin - x, height: Math.max(...ys) + margin - y };
}
