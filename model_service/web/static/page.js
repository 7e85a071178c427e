/** The entry point of the page: connects the inputs and the map to the card with the quote. */

import { parse, showInAddress } from "./address.js";
import { createCombobox } from "./combobox.js";
import { createDistance } from "./distance.js";
import { byId, radios } from "./dom.js";
import { createMap } from "./map.js";
import { details, fetchModels, made, origin, tooFar } from "./models.js";
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

/**
 * @param {import("./zones.js").ZoneTable} table
 * @param {import("./models.js").Models} models
 */
function start(table, models) {
  const zoneById = new Map(table.zones.map((zone) => [zone.id, zone]));
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
    if ("error" in result) return card.showError(result.error);
    showQuote(result.quote, ride.trip_distance);
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

  /**
   * @param {import("./quote_client.js").Quote} quote
   * @param {number} miles
   */
  function showQuote(quote, miles) {
    if (!made(models, quote)) {
      const unknown = { version: quote.versions.duration, training_rides: null };
      const { cost } = quote.versions;
      models = { duration: unknown, cost: cost === undefined ? null : { version: cost, training_rides: null } };
    }
    card.showQuote(quote, { warning: tooFar(models, miles), origin: origin(models), details: details(models) });
  }

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
    showInAddress({
      from: pickup?.id ?? null,
      to: dropoff?.id ?? null,
      miles: distance.error() ? null : distance.entered(),
      time: time.local(),
    });
    const errors = inputErrors();
    if (errors.size > 0) return card.showInputErrors(errors);
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

  function inputErrors() {
    const inputs = { pickup: boxes.pickup, dropoff: boxes.dropoff, miles: distance, time };
    return new Map(Object.entries(inputs).flatMap(([id, input]) => (input.error() ? [[id, input.error()]] : [])));
  }

  /** Shows the ride that the address names. */
  function showAddressed() {
    const { from, to, miles, time: when } = parse(location.hash);
    /** @param {number | null} id */
    const named = (id) => (id === null ? null : (zoneById.get(id) ?? null));
    time.set(when);
    setEnds({ pickup: named(from), dropoff: named(to) });
    if (miles !== null) distance.set(miles);
    update();
  }

  for (const radio of radios("end")) {
    radio.addEventListener("change", () => activate(radio.value === "pickup" ? "pickup" : "dropoff"));
  }
  byId("swap").addEventListener("click", () => setEnds({ pickup: ends.dropoff, dropoff: ends.pickup }));
  byId("retry").addEventListener("click", () => client.retry());
  byId("ride").addEventListener("submit", (event) => event.preventDefault());
  addEventListener("online", () => client.retry());
  addEventListener("hashchange", showAddressed);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !time.value() && Date.now() - quotedAt > STALE) client.retry();
  });
  if (location.hash) showAddressed();
}

/** Loads the table of zones and the description of the models; retries until the service responds. */
async function load() {
  for (;;) {
    try {
      return await Promise.all([zoneTable(), fetchModels()]);
    } catch {
      byId("loading").textContent = "We can’t reach the service. Trying again…";
      await new Promise((resolve) => setTimeout(resolve, 3000));
    }
  }
}

start(...(await load()));
byId("loading").remove();
