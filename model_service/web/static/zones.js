/** Loads the taxi zones, searches them by name, and estimates the distance between two zones. */

/** @typedef {{id: number, name: string, borough: string, latitude: number, longitude: number}} Zone */
/** @typedef {{road_factor: number, miles_within: number, zones: Zone[]}} ZoneTable */

const EARTH_MILES = 3958.8; // mean radius

/**
 * Fetches the table of zones; the zones in the result are sorted by name.
 * @returns {Promise<ZoneTable>}
 */
export async function zoneTable() {
  const response = await fetch("zones.json", { signal: AbortSignal.timeout(10_000) });
  if (!response.ok) throw new Error(`zones.json: ${response.status}`);
  const table = await response.json();
  return { ...table, zones: distinct(table.zones) };
}

/**
 * Sorts zones by name. Adds the id to a name that several zones have: "Corona (56)".
 * Replaces the borough of Newark, "EWR", by "New Jersey".
 * @param {Zone[]} zones
 */
export function distinct(zones) {
  const count = new Map();
  for (const { name } of zones) count.set(name, (count.get(name) ?? 0) + 1);
  return zones
    .map((zone) => (count.get(zone.name) > 1 ? { ...zone, name: `${zone.name} (${zone.id})` } : zone))
    .map((zone) => ({ ...zone, borough: zone.borough === "EWR" ? "New Jersey" : zone.borough }))
    .sort((one, other) => one.name.localeCompare(other.name, "en"));
}

/**
 * Returns the zones that match *text*, the best match first; all zones if *text* is empty.
 * @param {Zone[]} zones
 * @param {string} text
 */
export function matches(zones, text) {
  const query = normalize(text);
  return zones
    .map((zone) => ({ zone, rank: rank(zone, query) }))
    .filter(({ rank }) => rank < Infinity)
    .sort((one, other) => one.rank - other.rank)
    .map(({ zone }) => zone);
}

/**
 * @param {Zone} zone
 * @param {string} query normalized
 */
function rank(zone, query) {
  const name = normalize(zone.name);
  if (name.startsWith(query)) return 0;
  const words = query.split(" ");
  if (prefixes(words, name)) return 1;
  if (prefixes(words, `${name} ${normalize(zone.borough)}`)) return 2;
  return query.length > 2 && name.includes(query) ? 3 : Infinity;
}

/**
 * Returns whether each word is a prefix of a word of the text.
 * @param {string[]} words
 * @param {string} text
 */
function prefixes(words, text) {
  return words.every((word) => ` ${text}`.includes(` ${word}`));
}

/**
 * Reduces a text to lower-case letters, digits and spaces, so that "governors" finds "Governor's".
 * @param {string} text
 */
function normalize(text) {
  return text
    .normalize("NFD")
    .replace(/[\u0300-\u036f'’]/g, "")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, " ")
    .trim();
}

/**
 * Estimates the driving distance in miles: the straight-line distance times the road factor.
 * @param {ZoneTable} table
 * @param {Zone} from
 * @param {Zone} to
 */
export function suggestedMiles(table, from, to) {
  const driven = Math.max(table.road_factor * straightMiles(from, to), table.miles_within);
  return Math.round(driven * 10) / 10;
}

/**
 * Returns the great-circle distance between the centroids, in miles.
 * @param {Zone} from
 * @param {Zone} to
 */
export function straightMiles(from, to) {
  const [north, east] = [radians(to.latitude - from.latitude), radians(to.longitude - from.longitude)];
  const cosines = Math.cos(radians(from.latitude)) * Math.cos(radians(to.latitude));
  const chord = Math.sin(north / 2) ** 2 + cosines * Math.sin(east / 2) ** 2;
  return 2 * EARTH_MILES * Math.asin(Math.sqrt(chord));
}

/** @param {number} degrees */
const radians = (degrees) => (degrees * Math.PI) / 180;
