/** The list of recent quotes; a click on a quote requests a new quote for the same ride. */

import { byId, make } from "./dom.js";
import { dollars, miles, minutes, moment } from "./formatting.js";

/** @typedef {import("./zones.js").Zone} Zone */
/** @typedef {import("./recent_quotes.js").RecentQuote} RecentQuote */

/**
 * @param {ReturnType<typeof import("./recent_quotes.js").createRecentQuotes>} recent
 * @param {Zone[]} zones
 * @param {(past: RecentQuote, pickup: Zone, dropoff: Zone) => void} onChoice
 */
export function createRecentList(recent, zones, onChoice) {
  const section = byId("recent");
  const zoneById = new Map(zones.map((zone) => [zone.id, zone]));

  function show() {
    const items = recent.all().flatMap(item);
    section.querySelector("ol")?.replaceChildren(...items);
    section.hidden = items.length === 0;
    byId("storage-note").textContent = recent.isStored() ? "Saved in this browser only." : "Kept until you leave this page.";
  }

  /** @param {RecentQuote} past */
  function item(past) {
    const [pickup, dropoff] = [zoneById.get(past.pickup), zoneById.get(past.dropoff)];
    if (!pickup || !dropoff) return []; // stored with another table of zones
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

  byId("clear").addEventListener("click", () => {
    recent.clear();
    show();
    byId("pickup").focus(); // the button that had the focus is hidden
  });
  show();
  return { show };
}
