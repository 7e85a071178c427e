/** The page: a wish from fields and map, and what becomes of it. */

import { createAnswer } from "./quote_card.js";
import { ask, createAsker } from "./quote_client.js";
import { createCombobox } from "./combobox.js";
import { createDistance } from "./distance.js";
import { by, radios } from "./dom.js";
import { createMap } from "./map.js";
import { browserStorage, createRecent } from "./recent_quotes.js";
import { createRecentList } from "./recent_list.js";
import { createWhen } from "./pickup_time.js";
import { suggestedMiles, zoneTable } from "./zones.js";

/** @typedef {import("./zones.js").Zone} Zone */
/** @typedef {"pickup" | "dropoff"} End */

const STALE = 5 * 60 * 1000; // milliseconds, until a ride that begins now begins at another time

/** @param {string} text for who cannot see the page */
const say = (text) => {
  by("said").textContent = text;
};

/** @param {import("./zones.js").ZoneTable} table */
function start(table) {
  /** @type {Record<End, Zone | null>} */
  const ends = { pickup: null, dropoff: null };
  /** @type {End} */
  let aimed = "pickup";
  let answeredAt = Infinity;

  const answer = createAnswer(by("quote"), say);
  const recent = createRecent(browserStorage());
  const distance = createDistance(table.road_factor, wish);
  const when = createWhen(wish);
  const boxes = { pickup: boxOf("pickup"), dropoff: boxOf("dropoff") };
  const asker = createAsker(ask, (outcome, ride) => {
    answer.show(outcome);
    if ("trouble" in outcome) return;
    answeredAt = Date.now();
    recent.add({
      pickup: ride.PULocationID,
      dropoff: ride.DOLocationID,
      miles: ride.trip_distance,
      when: ride.pickup_datetime?.slice(0, 16) ?? "",
      duration: outcome.quote.duration,
      cost: outcome.quote.cost,
    });
    list.show();
  });
  const list = createRecentList(recent, table.zones, (past, pickup, dropoff) => {
    when.set(past.when);
    setEnds({ pickup, dropoff });
    distance.set(past.miles);
    wish();
    by("quote").scrollIntoView({ block: "nearest" });
  });
  const map = createMap({
    svg: by("map", SVGSVGElement),
    tip: by("tip"),
    boroughs: by("boroughs"),
    zones: table.zones,
    onChoice(zone) {
      say(`${aimed === "pickup" ? "Pick-up" : "Drop-off"}: ${zone.name}`);
      choose(aimed, zone);
    },
    onCloser: (borough) => say(`The map shows ${borough}. Tap again.`),
  });

  /** @param {End} end */
  function boxOf(end) {
    const input = by(end, HTMLInputElement);
    input.addEventListener("focus", () => aim(end));
    return createCombobox(input, { zones: table.zones, onChoice: (zone) => choose(end, zone), say });
  }

  /**
   * @param {End} end
   * @param {Zone | null} zone
   */
  function choose(end, zone) {
    const other = end === "pickup" ? "dropoff" : "pickup";
    setEnds({ [end]: zone });
    if (zone && !ends[other]) aim(other);
  }

  /** @param {End} end that the map chooses next */
  function aim(end) {
    aimed = end;
    for (const radio of radios("end")) radio.checked = radio.value === end;
    map.show(ends.pickup, ends.dropoff, aimed);
  }

  /** @param {Partial<Record<End, Zone | null>>} changed */
  function setEnds(changed) {
    Object.assign(ends, changed);
    const { pickup, dropoff } = ends;
    boxes.pickup.show(pickup);
    boxes.dropoff.show(dropoff);
    map.show(pickup, dropoff, aimed);
    distance.suggest(pickup && dropoff && suggestedMiles(table, pickup, dropoff));
    wish();
  }

  /** Ask for what the fields say, or say what is wrong with them. */
  function wish() {
    const [miles, { pickup, dropoff }] = [distance.value(), ends];
    asker.want(null);
    if (distance.fault()) return answer.refuse("miles", distance.fault());
    if (when.fault()) return answer.refuse("time", when.fault());
    if (!pickup || !dropoff) return answer.empty("Choose where you start and where you are going.");
    if (miles === null) return answer.empty("Say how far it is.");
    answer.asking();
    asker.want({
      PULocationID: pickup.id,
      DOLocationID: dropoff.id,
      trip_distance: miles,
      pickup_datetime: when.value(),
    });
  }

  for (const radio of radios("end")) {
    radio.addEventListener("change", () => aim(radio.value === "pickup" ? "pickup" : "dropoff"));
  }
  by("swap").addEventListener("click", () => setEnds({ pickup: ends.dropoff, dropoff: ends.pickup }));
  by("again").addEventListener("click", () => asker.again());
  by("ride").addEventListener("submit", (event) => event.preventDefault());
  addEventListener("online", () => asker.again());
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !when.value() && Date.now() - answeredAt > STALE) asker.again();
  });
}

/** The table of zones, however long the service takes to come back. */
async function load() {
  for (;;) {
    try {
      return await zoneTable();
    } catch {
      by("loading").textContent = "The service cannot be reached. Trying again …";
      await new Promise((again) => setTimeout(again, 3000));
    }
  }
}

start(await load());
by("loading").remove();
