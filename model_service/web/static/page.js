/** The entry point of the page: connects the inputs and the map to the card with the quote. */

import { createCombobox } from "./combobox.js";
import { createDistance } from "./distance.js";
import { byId, radios } from "./dom.js";
import { createMap } from "./map.js";
import { createPickupTime } from "./pickup_time.js";
import { createQuoteCard } from "./quote_card.js";
import { createQuoteClient, fetchQuote } from "./quote_client.js";
import { createRecentList } from "./recent_list.js";
import { browserStorage, createRecentQuotes } from "./recent_quotes.js";
import { suggestedMiles, zoneTable } from "./zones.js";

/** @typedef {import("./zones.js").Zone} Zone */
/** @typedef {"pickup" | "dropoff"} End */

const STALE = 5 * 60 * 1000; // milliseconds until a quote for "now" is out of date

/** @param {string} text for screen readers */
const announce = (text) => {
  byId("announcements").textContent = text;
};

/** @param {import("./zones.js").ZoneTable} table */
function start(table) {
  /** @type {Record<End, Zone | null>} */
  const ends = { pickup: null, dropoff: null };
  /** @type {End} */
  let activeEnd = "pickup";
  let quotedAt = Infinity;

  const card = createQuoteCard(byId("quote"), announce);
  const recent = createRecentQuotes(browserStorage());
  const distance = createDistance(table.road_factor, update);
  const time = createPickupTime(update);
  const boxes = { pickup: boxOf("pickup"), dropoff: boxOf("dropoff") };
  const client = createQuoteClient(fetchQuote, (result, ride) => {
    card.show(result);
    if ("error" in result) return;
    quotedAt = Date.now();
    recent.add({
      pickup: ride.PULocationID,
      dropoff: ride.DOLocationID,
      miles: ride.trip_distance,
      when: ride.pickup_datetime?.slice(0, 16) ?? "",
      duration: result.quote.duration,
      cost: result.quote.cost,
    });
    list.show();
  });
  const list = createRecentList(recent, table.zones, (past, pickup, dropoff) => {
    time.set(past.when);
    setEnds({ pickup, dropoff });
    distance.set(past.miles);
    update();
    byId("quote").scrollIntoView({ block: "nearest" });
  });
  const map = createMap({
    svg: byId("map", SVGSVGElement),
    tip: byId("tip"),
    boroughs: byId("boroughs"),
    zones: table.zones,
    onChoice(zone) {
      announce(`${activeEnd === "pickup" ? "Pick-up" : "Drop-off"}: ${zone.name}`);
      choose(activeEnd, zone);
    },
    onZoom: (borough) => announce(`Showing ${borough}. Tap the zone again.`),
  });

  /** @param {End} end */
  function boxOf(end) {
    const input = byId(end, HTMLInputElement);
    input.addEventListener("focus", () => activate(end));
    return createCombobox(input, { zones: table.zones, onChoice: (zone) => choose(end, zone), announce });
  }

  /**
   * @param {End} end
   * @param {Zone | null} zone
   */
  function choose(end, zone) {
    const other = end === "pickup" ? "dropoff" : "pickup";
    setEnds({ [end]: zone });
    if (zone && !ends[other]) activate(other);
  }

  /** @param {End} end the end that the next selection on the map sets */
  function activate(end) {
    activeEnd = end;
    for (const radio of radios("end")) radio.checked = radio.value === end;
    map.show(ends.pickup, ends.dropoff, activeEnd);
  }

  /** @param {Partial<Record<End, Zone | null>>} changed */
  function setEnds(changed) {
    Object.assign(ends, changed);
    const { pickup, dropoff } = ends;
    boxes.pickup.show(pickup);
    boxes.dropoff.show(dropoff);
    map.show(pickup, dropoff, activeEnd);
    distance.suggest(pickup && dropoff && suggestedMiles(table, pickup, dropoff));
    update();
  }

  /** Requests a quote for the inputs, or shows what is missing or wrong. */
  function update() {
    const [miles, { pickup, dropoff }] = [distance.value(), ends];
    client.request(null);
    if (distance.error()) return card.showInputError("miles", distance.error());
    if (time.error()) return card.showInputError("time", time.error());
    if (!pickup || !dropoff) return card.showPrompt("Choose a pick-up and a drop-off.");
    if (miles === null) return card.showPrompt("Enter the distance.");
    card.showLoading();
    client.request({
      PULocationID: pickup.id,
      DOLocationID: dropoff.id,
      trip_distance: miles,
      pickup_datetime: time.value(),
    });
  }

  for (const radio of radios("end")) {
    radio.addEventListener("change", () => activate(radio.value === "pickup" ? "pickup" : "dropoff"));
  }
  byId("swap").addEventListener("click", () => setEnds({ pickup: ends.dropoff, dropoff: ends.pickup }));
  byId("retry").addEventListener("click", () => client.retry());
  byId("ride").addEventListener("submit", (event) => event.preventDefault());
  addEventListener("online", () => client.retry());
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !time.value() && Date.now() - quotedAt > STALE) client.retry();
  });
}

/** Loads the table of zones; retries until the service responds. */
async function load() {
  for (;;) {
    try {
      return await zoneTable();
    } catch {
      byId("loading").textContent = "We can’t reach the service. Trying again…";
      await new Promise((resolve) => setTimeout(resolve, 3000));
    }
  }
}

start(await load());
byId("loading").remove();
