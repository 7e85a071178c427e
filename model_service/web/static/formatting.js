/** Formats numbers and times for people to read and hear. */

const dollarsAndCents = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD" });
const wholeDollars = new Intl.NumberFormat("en-US", {
  style: "currency",
  currency: "USD",
  maximumFractionDigits: 0,
});
const oneDecimal = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 });

/**
 * @param {number} value
 * @returns {string} such as "21 min" or "1 h 5 min"
 */
export function minutes(value) {
  const whole = Math.round(value);
  const hours = Math.floor(whole / 60);
  if (hours === 0) return `${whole} min`;
  return whole % 60 === 0 ? `${hours} h` : `${hours} h ${whole % 60} min`;
}

/** @param {number} value */
export const dollars = (value) => dollarsAndCents.format(value);

/** @param {number} value */
export const miles = (value) => `${oneDecimal.format(value)} mi`;

/** @param {[number, number]} interval in minutes */
export function minutesBetween([low, high]) {
  const [from, to] = [Math.round(low), Math.round(high)];
  return to < 60 ? `${from}–${to} min` : `${minutes(from)} – ${minutes(to)}`;
}

/** @param {[number, number]} interval in dollars */
export const dollarsBetween = ([low, high]) =>
  `${wholeDollars.format(low)}–${wholeDollars.format(high)}`;

/**
 * Returns a quote as a sentence for screen readers.
 * @param {import("./quote_client.js").Quote} quote
 */
export function spoken({ duration, cost, intervals = {} }) {
  const parts = [`${minutes(duration)}${likely(intervals.duration, minutes)}`];
  if (cost !== undefined) parts.push(`${dollars(cost)}${likely(intervals.cost, wholeDollars.format)}`);
  return `${parts.join("; ")}.`;
}

/**
 * @param {[number, number] | undefined} interval
 * @param {(value: number) => string} format
 */
function likely(interval, format) {
  return interval ? `, likely between ${format(interval[0])} and ${format(interval[1])}` : "";
}

/**
 * Formats a month like "January 2021".
 * @param {string} text such as "2021-01"
 */
export function month(text) {
  const format = new Intl.DateTimeFormat("en-US", { timeZone: "UTC", month: "long", year: "numeric" });
  return format.format(new Date(`${text}-01T00:00Z`));
}

/**
 * Returns a moment as New York's local time, in the format of a datetime-local input.
 * @param {Date} moment
 */
export function newYorkTime(moment) {
  const clock = new Intl.DateTimeFormat("sv-SE", {
    timeZone: "America/New_York",
    dateStyle: "short",
    timeStyle: "short",
  });
  return clock.format(moment).replace(" ", "T");
}

/**
 * Formats a time like "Mon, Mar 1, 8:15 AM". Adds the year if it is not the current year.
 * @param {string} local in the format of a datetime-local input
 */
export function moment(local, now = new Date()) {
  return new Intl.DateTimeFormat("en-US", {
    timeZone: "UTC",
    year: local.startsWith(newYorkTime(now).slice(0, 5)) ? undefined : "numeric",
    weekday: "short",
    month: "short",
    day: "numeric",
    hour: "numeric",
    minute: "2-digit",
  }).format(new Date(`${local}Z`));
}
