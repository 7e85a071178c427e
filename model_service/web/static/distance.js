/** The distance input: filled in once both zones are chosen, and editable by the rider. */

import { byId } from "./dom.js";
import { miles } from "./formatting.js";

/**
 * @param {number} factor from straight-line to road distance
 * @param {() => void} onChange
 */
export function createDistance(factor, onChange) {
  const input = byId("miles", HTMLInputElement);
  const hint = byId("miles-hint");
  const button = byId("suggested");
  /** @type {number | null} */
  let suggestion = null;

  function hintText() {
    if (suggestion === null) return "Filled in once you choose both zones.";
    if (input.value === "") return "Enter the distance.";
    if (Number(input.value) !== suggestion) return "The distance you entered.";
    return `Estimate: straight-line distance ×\u00a0${factor}.`;
  }

  function updateHint() {
    hint.textContent = hintText();
    button.hidden = suggestion === null || (input.value !== "" && Number(input.value) === suggestion);
    if (suggestion !== null) button.textContent = `Use ${miles(suggestion)}`;
  }

  /** @param {number | null} value */
  function set(value) {
    input.value = value === null ? "" : String(value);
    updateHint();
  }

  input.addEventListener("input", () => {
    updateHint();
    onChange();
  });
  button.addEventListener("click", () => {
    set(suggestion);
    input.focus();
    onChange();
  });

  return {
    set,
    /** @param {number | null} value miles between the chosen zones; null unless both are chosen */
    suggest(value) {
      suggestion = value;
      set(value);
    },
    /** Returns the distance if the rider entered another one than the estimate; otherwise null. */
    entered: () => (input.value === "" || Number(input.value) === suggestion ? null : Number(input.value)),
    /** Returns the distance in miles; null if the input is empty. */
    value: () => (input.value === "" ? null : Number(input.value)),
    /** Returns the error message for the input; empty if the input is valid. */
    error: () => (input.checkValidity() ? "" : "Enter a distance from 0 to less than 1,000 miles."),
  };
}
