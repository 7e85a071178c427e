/** The quote as it is shown and said: both figures with their ranges, or why there are none. */

import { dollars, dollarsBetween, minutes, minutesBetween, spoken } from "./formatting.js";

/** @typedef {import("./quote_client.js").Outcome} Outcome */
/** @typedef {import("./quote_client.js").Interval} Interval */
/** @typedef {"empty" | "asking" | "answered" | "trouble"} State */

/** Which field a problem of the service is about. */
const FIELDS = new Map([
  ["trip_distance", "miles"],
  ["pickup_datetime", "time"],
  ["PULocationID", "pickup"],
  ["DOLocationID", "dropoff"],
]);

/**
 * @param {HTMLElement} card
 * @param {(text: string) => void} say
 */
export function createAnswer(card, say) {
  const alert = /** @type {HTMLElement} */ (card.querySelector("[role=alert]"));
  const invitation = /** @type {HTMLElement} */ (card.querySelector(".invitation"));
  const again = /** @type {HTMLElement} */ (card.querySelector("#again"));
  const versions = /** @type {HTMLElement} */ (card.querySelector(".versions"));

  /** @param {State} state */
  function enter(state) {
    card.dataset.state = state;
    card.setAttribute("aria-busy", String(state === "asking"));
    if (state === "trouble") return;
    alert.textContent = "";
    again.hidden = true;
    for (const id of FIELDS.values()) markField(id, "");
  }

  return {
    /** @param {string} text what there is to do first */
    empty(text) {
      if (invitation.textContent !== text) say(text);
      invitation.textContent = text;
      enter("empty");
    },
    /** What is shown stays until there is an answer: dimmed, or why it has to be asked again. */
    asking() {
      if (card.dataset.state !== "asking" && card.dataset.state !== "answered") figures(card, undefined);
      if (again.hidden) enter("asking");
    },
    /** @param {Outcome} outcome */
    show(outcome) {
      if ("quote" in outcome) {
        enter("answered");
        figures(card, outcome.quote);
        versions.textContent = versionsOf(outcome.quote.versions);
        say(spoken(outcome.quote));
        return;
      }
      const { text, field, again: worthTrying } = outcome.trouble;
      for (const id of FIELDS.values()) markField(id, id === FIELDS.get(field ?? "") ? text : "");
      const words = worthTrying ? `${text} Trying again …` : text;
      if (alert.textContent !== words) alert.textContent = words; // the same again is not news
      again.hidden = !worthTrying;
      enter("trouble");
    },
    /**
     * A field that cannot be sent as it is.
     * @param {string} id
     * @param {string} text
     */
    refuse(id, text) {
      enter("trouble");
      for (const other of FIELDS.values()) markField(other, other === id ? text : "");
      alert.textContent = text;
      again.hidden = true;
    },
  };
}

/**
 * @param {string} id of an input
 * @param {string} text none where it is right
 */
function markField(id, text) {
  const fault = document.getElementById(`${id}-fault`);
  if (!fault) return;
  fault.textContent = text;
  fault.hidden = text === "";
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
 * @param {(value: number) => string} word
 * @param {Interval | undefined} interval
 * @param {(interval: Interval) => string} wordBetween
 */
function figure(card, selector, value, word, interval, wordBetween) {
  const shown = /** @type {HTMLElement} */ (card.querySelector(selector));
  const [number, range] = shown.querySelectorAll("span");
  shown.hidden = value === undefined;
  if (value === undefined) return;
  number.replaceChildren(...unitsSmall(word(value)));
  range.hidden = !interval;
  if (!interval) return;
  const [low, high] = interval;
  const whole = high * 1.2 || 1; // the bar begins at nothing
  range.textContent = `likely ${wordBetween(interval)}`;
  for (const [name, at] of Object.entries({ low, value, high })) {
    range.style.setProperty(`--${name}`, `${(100 * at) / whole}%`);
  }
}

/** @param {string} text such as "21 min" */
function unitsSmall(text) {
  return text.split(/([a-z]+)/).map((part) => {
    if (!/[a-z]/.test(part)) return part;
    const small = document.createElement("small");
    small.textContent = part;
    return small;
  });
}

/** @param {{duration: string, cost?: string}} versions */
function versionsOf({ duration, cost }) {
  const of = cost === undefined ? "" : `, cost ${cost.slice(0, 12)}`;
  return `Models: duration ${duration.slice(0, 12)}${of}`;
}
