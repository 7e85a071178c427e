/** The card that shows the quote, which is both figures with their ranges, or an error. */

import { dollars, dollarsBetween, minutes, minutesBetween, spoken } from "./formatting.js";

/** @typedef {import("./quote_client.js").QuoteResult} QuoteResult */
/** @typedef {import("./quote_client.js").Interval} Interval */
/** @typedef {"empty" | "loading" | "answered" | "error"} State */

/** Maps each field that a problem of the service may name to the id of its input. */
const INPUTS = new Map([
  ["trip_distance", "miles"],
  ["pickup_datetime", "time"],
  ["PULocationID", "pickup"],
  ["DOLocationID", "dropoff"],
]);

/**
 * @param {HTMLElement} card
 * @param {(text: string) => void} announce to screen readers
 */
export function createQuoteCard(card, announce) {
  const alert = /** @type {HTMLElement} */ (card.querySelector("[role=alert]"));
  const prompt = /** @type {HTMLElement} */ (card.querySelector(".prompt"));
  const retry = /** @type {HTMLElement} */ (card.querySelector("#retry"));
  const versions = /** @type {HTMLElement} */ (card.querySelector(".versions"));

  /** @param {State} state */
  function enter(state) {
    card.dataset.state = state;
    card.setAttribute("aria-busy", String(state === "loading"));
    if (state === "error") return;
    alert.textContent = "";
    retry.hidden = true;
    for (const id of INPUTS.values()) markInput(id, "");
  }

  return {
    /** @param {string} text that says what the rider has to do first */
    showPrompt(text) {
      if (prompt.textContent !== text) announce(text);
      prompt.textContent = text;
      enter("empty");
    },
    /** Dims the last quote until the next result. An error stays visible until then. */
    showLoading() {
      if (card.dataset.state !== "loading" && card.dataset.state !== "answered") figures(card, undefined);
      if (retry.hidden) enter("loading");
    },
    /** @param {QuoteResult} result */
    show(result) {
      if ("quote" in result) {
        enter("answered");
        figures(card, result.quote);
        versions.textContent = versionsOf(result.quote.versions);
        announce(spoken(result.quote));
        return;
      }
      const { text, field, retry: retries } = result.error;
      for (const id of INPUTS.values()) markInput(id, id === INPUTS.get(field ?? "") ? text : "");
      const message = retries ? `${text} Trying again…` : text;
      if (alert.textContent !== message) alert.textContent = message; // screen readers announce each assignment
      retry.hidden = !retries;
      enter("error");
    },
    /**
     * Shows that an input is not valid.
     * @param {string} id
     * @param {string} text
     */
    showInputError(id, text) {
      enter("error");
      for (const other of INPUTS.values()) markInput(other, other === id ? text : "");
      alert.textContent = text;
      retry.hidden = true;
    },
  };
}

/**
 * @param {string} id of an input
 * @param {string} text of the error; empty if the input is valid
 */
function markInput(id, text) {
  const error = document.getElementById(`${id}-error`);
  if (!error) return;
  error.textContent = text;
  error.hidden = text === "";
  const input = document.getElementById(id);
  if (text) input?.setAttribute("aria-invalid", "true");
  else input?.removeAttribute("aria-invalid");
}

/**
 * @param {HTMLElement} card
 * @param {import("./quote_client.js").Quote | undefined} quote
 */
function figures(card, quote) {
  const { duration, cost, intervals = {} } = quote ?? {};
  figure(card, "#duration", duration, minutes, intervals.duration, minutesBetween);
  figure(card, "#cost", cost, dollars, intervals.cost, dollarsBetween);
}

/**
 * @param {HTMLElement} card
 * @param {string} selector
 * @param {number | undefined} value
 * @param {(value: number) => string} format
 * @param {Interval | undefined} interval
 * @param {(interval: Interval) => string} formatRange
 */
function figure(card, selector, value, format, interval, formatRange) {
  const shown = /** @type {HTMLElement} */ (card.querySelector(selector));
  const [number, range] = shown.querySelectorAll("span");
  shown.hidden = value === undefined;
  if (value === undefined) return;
  number.replaceChildren(...smallUnits(format(value)));
  range.hidden = !interval;
  if (!interval) return;
  const [low, high] = interval;
  const width = high * 1.2 || 1; // the bar starts at zero
  range.textContent = `likely ${formatRange(interval)}`;
  for (const [name, at] of Object.entries({ low, value, high })) {
    range.style.setProperty(`--${name}`, `${(100 * at) / width}%`);
  }
}

/** @param {string} text such as "21 min" */
function smallUnits(text) {
  return text.split(/([a-z]+)/).map((part) => {
    if (!/[a-z]/.test(part)) return part;
    const small = document.createElement("small");
    small.textContent = part;
    return small;
  });
}

/** @param {{duration: string, cost?: string}} versions */
function versionsOf({ duration, cost }) {
  const costVersion = cost === undefined ? "" : `, cost ${cost.slice(0, 12)}`;
  return `Models: duration ${duration.slice(0, 12)}${costVersion}`;
}
