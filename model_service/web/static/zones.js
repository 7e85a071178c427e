/** Loads the taxi zones, searches them by name, and estimates the distance between two zones. */

import { OTHER_NAMES } from "./other_names.js";

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

/** @typedef {{zone: Zone, otherName: string}} Match a zone, and the other name that the text matches */

/** Words that riders and the names of zones write in two ways. */
const SPELLINGS = [["sq", "square"], ["saint", "st"], ["mount", "mt"], ["theatre", "theater"], ["street", "st"], ["avenue", "ave"]];
/** @type {Map<string, string[]>} the results of `spellings`, which are the same for each search */
const spelled = new Map();

/**
 * Returns the zones that match *text*, the best match first; all zones if *text* is empty.
 * @param {Zone[]} zones
 * @param {string} text
 * @returns {Match[]}
 */
export function matches(zones, text) {
  const query = normalize(text).replace(/^the /, "");
  return zones
    .map((zone) => ({ zone, ...bestName(zone, query) }))
    .filter(({ rank }) => rank < Infinity)
    .sort((one, other) => one.rank - other.rank);
}

/**
 * Returns how well a zone matches, and the other name that matches better than its own name.
 * @param {Zone} zone
 * @param {string} query normalized
 */
function bestName(zone, query) {
  const [where] = spellings(`${zone.name} ${zone.borough}`);
  let best = { rank: rank(zone.name, where, query), otherName: "" };
  for (const otherName of OTHER_NAMES[zone.id] ?? []) {
    const found = rank(otherName, where, query);
    const behind = found === 0 ? 0 : found + 0.5; // a part of another name ranks behind own names
    if (behind < best.rank) best = { rank: behind, otherName };
  }
  return best;
}

/**
 * Returns the rank of a match: 0 for the whole name, up to 4, and Infinity if nothing matches.
 * @param {string} name
 * @param {string} where the zone's own name and borough, normalized
 * @param {string} query normalized
 */
function rank(name, where, query) {
  const words = query.split(" ");
  const ranks = spellings(name).map((spelling) => {
    if (spelling === query) return 0;
    if (spelling.startsWith(query)) return 1;
    if (prefixes(words, spelling)) return 2;
    if (prefixes(words, `${spelling} ${where}`)) return 3;
    return query.length > 2 && spelling.includes(query) ? 4 : Infinity;
  });
  return Math.min(...ranks);
}

/**
 * Returns a name, the name without "the", and the name with each of its words in other spellings,
 * all normalized.
 * @param {string} name
 */
function spellings(name) {
  const known = spelled.get(name);
  if (known) return known;
  const own = normalize(name);
  const words = own.split(" ");
  const respelled = [...SPELLINGS, ...SPELLINGS.map(([one, other]) => [other, one])]
    .filter(([one]) => words.includes(one))
    .map(([one, other]) => words.map((word) => (word === one ? other : word)).join(" "));
  const all = [own, own.replace(/^the /, ""), ...respelled];
  spelled.set(name, all);
  return all;
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
    .replace(/[\u0300-\u036f'’.]/g, "")
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
