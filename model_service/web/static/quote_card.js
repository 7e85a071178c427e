/** The card that shows the quote, which is both figures with their ranges, or an error. */

import { make } from "./dom.js";
import { dollars, dollarsBetween, minutes, minutesBetween, spoken } from "./formatting.js";

/** @typedef {import("./quote_client.js").Quote} Quote */
/** @typedef {import("./quote_client.js").QuoteError} QuoteError */
/** @typedef {import("./quote_client.js").Interval} Interval */
/** @typedef {{warning: string, origin: string, details: string[]}} QuoteNotes */
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
  const note = /** @type {HTMLElement} */ (card.querySelector(".note"));
  const origin = /** @type {HTMLElement} */ (card.querySelector(".origin"));

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
    /**
     * @param {Quote} quote
     * @param {QuoteNotes} notes
     */
    showQuote(quote, notes) {
      enter("answered");
      figures(card, quote);
      note.textContent = notes.warning;
      note.hidden = notes.warning === "";
      const [sentence, list] = [origin.querySelector("p"), origin.querySelector("ul")];
      if (sentence) sentence.textContent = notes.origin;
      list?.replaceChildren(...notes.details.map((line) => make("li", line)));
      announce(`${spoken(quote)} ${notes.warning}`.trim());
    },
    /** @param {QuoteError} error */
    showError({ text, field, retry: retries }) {
      for (const id of INPUTS.values()) markInput(id, id === INPUTS.get(field ?? "") ? text : "");
      const message = retries ? `${text} Trying again…` : text;
      if (alert.textContent !== message) alert.textContent = message; // screen readers announce each assignment
      retry.hidden = !retries;
      enter("error");
    },
    /**
     * Shows which inputs are not valid.
     * @param {Map<string, string>} errors id of an input -> text of its error
     */
    showInputErrors(errors) {
      enter("error");
      for (const id of INPUTS.values()) markInput(id, errors.get(id) ?? "");
      alert.textContent = [...new Set(errors.values())].join(" ");
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
 * @param {Quote | undefined} quote
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
