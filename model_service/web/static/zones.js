/** The taxi zones: found by name, and how far it is from one to another. */

/** @typedef {{id: number, name: string, borough: string, latitude: number, longitude: number}} Zone */
/** @typedef {{road_factor: number, miles_within: number, zones: Zone[]}} ZoneTable */

const EARTH_MILES = 3958.8; // its mean radius

/**
 * The table, its zones by name.
 * @returns {Promise<ZoneTable>}
 */
export async function zoneTable() {
  const answer = await fetch("zones.json", { signal: AbortSignal.timeout(10_000) });
  if (!answer.ok) throw new Error(`zones.json: ${answer.status}`);
  const table = await answer.json();
  return { ...table, zones: distinct(table.zones) };
}

/**
 * By name; one that several have gets their numbers: "Corona (56)".  Newark has no borough.
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
 * Those that *text* may mean, the likeliest first; all where it is empty.
 * @param {Zone[]} zones
 * @param {string} text
 */
export function matches(zones, text) {
  const asked = plain(text);
  return zones
    .map((zone) => ({ zone, rank: rank(zone, asked) }))
    .filter(({ rank }) => rank < Infinity)
    .sort((one, other) => one.rank - other.rank)
    .map(({ zone }) => zone);
}

/**
 * @param {Zone} zone
 * @param {string} asked, plain
 */
function rank(zone, asked) {
  const name = plain(zone.name);
  if (name.startsWith(asked)) return 0;
  const words = asked.split(" ");
  if (begin(words, name)) return 1;
  if (begin(words, `${name} ${plain(zone.borough)}`)) return 2;
  return asked.length > 2 && name.includes(asked) ? 3 : Infinity;
}

/**
 * Whether each word begins one of the text.
 * @param {string[]} words
 * @param {string} text
 */
function begin(words, text) {
  return words.every((word) => ` ${text}`.includes(` ${word}`));
}

/**
 * Letters and digits alone, so that "governors" finds "Governor's".
 * @param {string} text
 */
function plain(text) {
  return text
    .normalize("NFD")
    .replace(/[\u0300-\u036f'’]/g, "")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, " ")
    .trim();
}

/**
 * Miles to be driven: as the crow flies, by how much longer roads are.
 * @param {ZoneTable} table
 * @param {Zone} from
 * @param {Zone} to
 */
export function suggestedMiles(table, from, to) {
  const driven = Math.max(table.road_factor * straightMiles(from, to), table.miles_within);
  return Math.round(driven * 10) / 10;
}

/**
 * Along the great circle, between centroids.
 * @param {Zone} from
 * @param {Zone} to
 */
export function straightMiles(from, to) {
  const [north, east] = [radians(to.latitude - from.latitude), radians(to.longitude - from.longitude)];
  const shrunk = Math.cos(radians(from.latitude)) * Math.cos(radians(to.latitude));
  const chord = Math.sin(north / 2) ** 2 + shrunk * Math.sin(east / 2) ** 2;
  return 2 * EARTH_MILES * Math.asin(Math.sqrt(chord));
}

/** @param {number} degrees */
const radians = (degrees) => (degrees * Math.PI) / 180;
