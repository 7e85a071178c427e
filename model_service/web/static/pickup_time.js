/** The fields of the pick-up time: now, or another, on New York's clocks. */

import { by, radios } from "./dom.js";
import { newYorkTime } from "./formatting.js";

/** @param {() => void} onChange */
export function createWhen(onChange) {
  const moment = by("moment");
  const time = by("time", HTMLInputElement);

  /** @param {string} when as an input of type datetime-local has it; none for now */
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
    /** As the service reads it; none for now. */
    value: () => (moment.hidden ? undefined : `${time.value}:00`.slice(0, 19)),
    /** What is wrong with what was chosen; nothing where it can be sent. */
    fault() {
      if (moment.hidden || (time.value && time.checkValidity())) return "";
      return time.value ? "Choose a date from 2009 to 9998." : "Choose a date and a time.";
    },
  };
}
