/** Describes the models behind a quote: the rides that they learned from, and how far these went. */

import { miles as formatMiles, month } from "./formatting.js";

/** @typedef {{source: "tlc" | "simulated", months: string[], rides: number, longest_miles: number}} TrainingRides */
/** @typedef {{version: string, training_rides: TrainingRides | null}} Model */
/** @typedef {{duration: Model, cost: Model | null}} Models */

/** @returns {Promise<Models>} */
export async function fetchModels() {
  const response = await fetch("models.json", { signal: AbortSignal.timeout(10_000) });
  if (!response.ok) throw new Error(`models.json: ${response.status}`);
  return response.json();
}

/**
 * Returns whether the models made a quote. They did not if the service was restarted with others.
 * @param {Models} models
 * @param {import("./quote_client.js").Quote} quote
 */
export function made(models, quote) {
  return models.duration.version === quote.versions.duration && models.cost?.version === quote.versions.cost;
}

/**
 * Returns a sentence that says from which rides the quotes are made; empty if the models do not say.
 * @param {Models} models
 */
export function origin({ duration, cost }) {
  const known = duration.training_rides;
  if (!known) return "";
  const same = !cost || (cost.training_rides && describe(cost.training_rides) === describe(known));
  if (same) return `Made from ${describe(known)}.`;
  const other = cost.training_rides ? describe(cost.training_rides) : "rides that the model does not name";
  return `Duration made from ${describe(known)}; cost from ${other}.`;
}

/** @param {TrainingRides} rides */
function describe({ source, months }) {
  const [first, last] = [month(months[0]), month(months[months.length - 1])];
  const span = months.length === 1 ? first : `${months.length} months from ${first} to ${last}`;
  return source === "simulated" ? "simulated rides, not from real ones" : `real taxi rides of ${span}`;
}

/**
 * Returns a sentence if nearly all rides that the models learned from were shorter; otherwise empty.
 * @param {Models} models
 * @param {number} miles
 */
export function tooFar({ duration, cost }, miles) {
  const longest = Math.min(
    ...[duration, cost].map((model) => model?.training_rides?.longest_miles ?? Infinity),
  );
  if (miles <= longest) return "";
  return `Few of the rides behind this quote were longer than ${formatMiles(longest)}. This ride may take longer and cost more.`;
}

/**
 * Returns a line for each model: its version, and the number of rides that it learned from.
 * @param {Models} models
 */
export function details({ duration, cost }) {
  return [line("Duration", duration), ...(cost ? [line("Cost", cost)] : [])];
}

/**
 * @param {string} target
 * @param {Model} model
 */
function line(target, { version, training_rides: rides }) {
  const learned = rides ? `, ${rides.rides.toLocaleString("en-US")} rides` : "";
  return `${target}: model ${version}${learned}`;
}
