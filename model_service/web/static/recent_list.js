/** The list of recent quotes; each is a button that asks for its ride anew. */

import { by, make } from "./dom.js";
import { dollars, miles, minutes, moment } from "./formatting.js";

/** @typedef {import("./zones.js").Zone} Zone */
/** @typedef {import("./recent_quotes.js").Past} Past */

/**
 * @param {ReturnType<typeof import("./recent_quotes.js").createRecent>} recent
 * @param {Zone[]} zones
 * @param {(past: Past, pickup: Zone, dropoff: Zone) => void} onChoice
 */
export function createRecentList(recent, zones, onChoice) {
  const section = by("recent");
  const byId = new Map(zones.map((zone) => [zone.id, zone]));

  function show() {
    const items = recent.all().flatMap(item);
    section.querySelector("ol")?.replaceChildren(...items);
    section.hidden = items.length === 0;
    by("kept").textContent = recent.isKept() ? "Kept in this browser only." : "Kept until you leave.";
  }

  /** @param {Past} past */
  function item(past) {
    const [pickup, dropoff] = [byId.get(past.pickup), byId.get(past.dropoff)];
    if (!pickup || !dropoff) return []; // of a table of zones that was another
    const button = make("button", "");
    button.type = "button";
    const cost = past.cost === undefined ? "" : ` · ${dollars(past.cost)}`;
    const when = past.when ? `, ${moment(past.when)}` : "";
    button.append(
      ...[make("span", `${pickup.name} → ${dropoff.name}`, "names"), " "],
      ...[make("span", `${minutes(past.duration)}${cost}`, "numbers"), " "],
      make("span", `${miles(past.miles)}${when}`, "small"),
    );
    button.addEventListener("click", () => onChoice(past, pickup, dropoff));
    const made = make("li", "");
    made.append(button);
    return [made];
  }

  by("forget").addEventListener("click", () => {
    recent.clear();
    show();
    by("pickup").focus(); // what had the focus is gone
  });
  show();
  return { show };
}
