/** Keeps the ride in the fragment of the page's address, so that a rider can share or bookmark it. */

/**
 * The ride in an address: ids of zones, miles if the rider entered them, and a time unless it is now.
 * @typedef {{from: number | null, to: number | null, miles: number | null, time: string}} AddressedRide
 */

const TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}$/; // as in a datetime-local input

/**
 * @param {AddressedRide} ride
 * @returns {string} such as "#from=130&to=230&miles=12.5&time=2021-03-01T08:15"; empty without zones
 */
export function fragment({ from, to, miles, time }) {
  if (from === null && to === null) return "";
  const parts = Object.entries({ from, to, miles, time }).filter(([, value]) => value !== null && value !== "");
  return `#${parts.map(([name, value]) => `${name}=${value}`).join("&")}`;
}

/**
 * Reads a fragment; a part that is not valid is null or empty.
 * @param {string} text such as location.hash
 * @returns {AddressedRide}
 */
export function parse(text) {
  const parts = new URLSearchParams(text.replace(/^#/, ""));
  /** @param {string} name */
  const number = (name) => (/^\d+(\.\d+)?$/.test(parts.get(name) ?? "") ? Number(parts.get(name)) : null);
  const time = parts.get("time") ?? "";
  return { from: number("from"), to: number("to"), miles: number("miles"), time: TIME.test(time) ? time : "" };
}

/** @param {AddressedRide} ride */
export function showInAddress(ride) {
  history.replaceState(null, "", fragment(ride) || location.pathname + location.search);
}
