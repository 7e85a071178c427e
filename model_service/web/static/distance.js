/** The field of the distance: suggested from the map, and a rider's own where they know better. */

import { by } from "./dom.js";
import { miles } from "./formatting.js";

/**
 * @param {number} factor how much longer roads are than a straight line
 * @param {() => void} onChange
 */
export function createDistance(factor, onChange) {
  const input = by("miles", HTMLInputElement);
  const hint = by("miles-hint");
  const button = by("suggested");
  /** @type {number | null} */
  let suggestion = null;

  function words() {
    if (suggestion === null) return "Suggested once both ends are known.";
    if (input.value === "") return "How far is it?";
    if (Number(input.value) !== suggestion) return "Your own distance.";
    return `Suggested: a straight line, times ${factor} for the roads.`;
  }

  function explain() {
    hint.textContent = words();
    button.hidden = suggestion === null || (input.value !== "" && Number(input.value) === suggestion);
    if (suggestion !== null) button.textContent = `Back to ${miles(suggestion)}`;
  }

  /** @param {number | null} value */
  function set(value) {
    input.value = value === null ? "" : String(value);
    explain();
  }

  input.addEventListener("input", () => {
    explain();
    onChange();
  });
  button.addEventListener("click", () => {
    set(suggestion);
    input.focus();
    onChange();
  });

  return {
    set,
    /** @param {number | null} value for other zones, whose distance is another */
    suggest(value) {
      suggestion = value;
      set(value);
    },
    /** In miles; none where there is none. */
    value: () => (input.value === "" ? null : Number(input.value)),
    /** What is wrong with what was typed; nothing where it can be sent. */
    fault: () => (input.checkValidity() ? "" : "The distance has to be from 0 to less than 1,000 miles."),
  };
}
