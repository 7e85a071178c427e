/** The pick-up time inputs: the current time, or another date and time in New York. */

import { byId, radios } from "./dom.js";
import { newYorkTime } from "./formatting.js";

/** @param {() => void} onChange */
export function createPickupTime(onChange) {
  const moment = byId("moment");
  const time = byId("time", HTMLInputElement);

  /** @param {string} when in the format of a datetime-local input; empty means the current time */
  function set(when) {
    for (const radio of radios("when")) radio.checked = (radio.value === "now") === (when === "");
    moment.hidden = when === "";
    time.value = when;
  }

  time.addEventListener("input", onChange);
  for (const radio of radios("when")) {
    radio.addEventListener("change", () => {
      set(radio.value === "now" ? "" : newYorkTime(new Date()));
      onChange();
    });
  }

  return {
    set,
    /** Returns the time in the format of the input; empty means the current time. */
    local: () => (moment.hidden ? "" : time.value),
    /** Returns the time in the format of the API; undefined means the current time. */
    value: () => (moment.hidden ? undefined : `${time.value}:00`.slice(0, 19)),
    /** Returns the error message for the input; empty if the input is valid. */
    error() {
      if (moment.hidden || (time.value && time.checkValidity())) return "";
      return time.value ? "Choose a date from 2009 to 9998." : "Choose a date and a time.";
    },
  };
}
