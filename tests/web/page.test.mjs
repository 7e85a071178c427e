/** Tests the page's modules without a browser: `node --test tests/web/page.test.mjs`. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { createQuoteClient, fetchQuote, quoteError } from "../../model_service/web/static/quote_client.js";
import { cell, nearest, neighbor, places } from "../../model_service/web/static/cells.js";
import { createRecentQuotes } from "../../model_service/web/static/recent_quotes.js";
import { fragment, parse } from "../../model_service/web/static/address.js";
import { BOROUGHS, NAMES, NEIGHBORS } from "../../model_service/web/static/land.js";
import { details, made, origin, tooFar } from "../../model_service/web/static/models.js";
import { OTHER_NAMES } from "../../model_service/web/static/other_names.js";
import * as formatting from "../../model_service/web/static/formatting.js";
import { distinct, matches, straightMiles, suggestedMiles } from "../../model_service/web/static/zones.js";

const zone = (id, name, borough = "Queens", latitude = 40.7, longitude = -73.9) => ({
  id,
  name,
  borough,
  latitude,
  longitude,
});
const ZONES = [
  zone(130, "Jamaica"),
  zone(131, "Jamaica Estates"),
  zone(2, "Jamaica Bay"),
  zone(103, "Governor's Island", "Manhattan"),
  zone(74, "East Harlem North", "Manhattan"),
  zone(42, "Central Harlem North", "Manhattan"),
];
const names = (found) => found.map(({ zone: { name } }) => name);
const file = (path) => readFileSync(new URL(path, import.meta.url), "utf8");
/** All taxi zones, as the page gets them. */
const CITY = distinct(
  file("../../model_service/zones.csv")
    .trim()
    .split(/\r?\n/)
    .slice(1)
    .map((row) => row.split(","))
    .map(([id, name, borough, latitude, longitude]) => zone(Number(id), name, borough, Number(latitude), Number(longitude))),
);
/** What riders type, the zone that the page has to find first, and where the place is. */
const PLACES = JSON.parse(file("places.json"));
const ride = (miles) => ({ PULocationID: 130, DOLocationID: 205, trip_distance: miles });
const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

test("search ranks a zone whose name starts with the text first, then matches any word", () => {
  assert.deepEqual(names(matches(ZONES, "jam")).slice(0, 1), ["Jamaica"]);
  assert.deepEqual(names(matches(ZONES, "harlem")), ["East Harlem North", "Central Harlem North"]);
  assert.deepEqual(names(matches(ZONES, "n har")), ["East Harlem North", "Central Harlem North"]);
});

test("search ignores apostrophes, accents and case, and matches the borough", () => {
  assert.deepEqual(names(matches(ZONES, "GOVERNORS")), ["Governor's Island"]);
  assert.deepEqual(names(matches(ZONES, "jamaïca est")), ["Jamaica Estates"]);
  assert.equal(matches(ZONES, "manhattan").length, 3);
  assert.deepEqual(matches(ZONES, "hoboken"), []);
  assert.equal(matches(ZONES, " ").length, ZONES.length);
});

test("zones that share a name are told apart by their ids", () => {
  const found = distinct([zone(57, "Corona"), zone(56, "Corona"), zone(7, "Astoria")]).map(({ name }) => name);

  assert.deepEqual(found.sort(), ["Astoria", "Corona (56)", "Corona (57)"]);
});

test("search finds every place that riders type, in a zone that is there", () => {
  assert.ok(PLACES.length > 40);
  for (const [text, id, latitude, longitude] of PLACES) {
    const [first] = matches(CITY, text);
    assert.equal(first?.zone.id, id, text);
    assert.ok(straightMiles(first.zone, { ...first.zone, latitude, longitude }) < 1.5, text);
  }
});

test("search finds a zone by each of its names, and each name while it is typed", () => {
  const known = new Map(CITY.map((one) => [one.id, one]));
  for (const [id, others] of Object.entries(OTHER_NAMES)) {
    const own = known.get(Number(id));
    assert.ok(own, id);
    assert.equal(new Set(others).size, others.length, id);
    for (const name of [own.name, ...others]) {
      for (let end = 2; end <= name.length; end += 1) {
        const found = matches(CITY, name.slice(0, end)).map(({ zone }) => zone);
        assert.ok(found.includes(own), `${name.slice(0, end)}: ${own.name}`);
      }
    }
  }
});

test("search finds abbreviated words, and prefers a zone's own name", () => {
  assert.equal(names(matches(CITY, "union square"))[0], "Union Sq");
  assert.equal(names(matches(CITY, "st albans"))[0], "Saint Albans");
  assert.equal(names(matches(CITY, "times sq theater"))[0], "Times Sq/Theatre District");
  assert.equal(names(matches(CITY, "lga airport"))[0], "LaGuardia Airport");
  assert.equal(names(matches(CITY, "williamsburg"))[0], "Williamsburg (North Side)");
  assert.deepEqual(matches(CITY, "hoboken"), []);
});

/** Whether a polygon contains a point, by the number of its sides east of the point. */
function contains(shape, [x, y]) {
  const crossed = shape.filter(([x1, y1], index) => {
    const [x2, y2] = shape[(index + 1) % shape.length];
    return y1 > y !== y2 > y && x < x1 + ((y - y1) / (y2 - y1)) * (x2 - x1);
  });
  return crossed.length % 2 === 1;
}

test("each zone's center is on the land of its borough, and of no other", () => {
  for (const { name, borough, longitude, latitude } of CITY) {
    const on = Object.keys(BOROUGHS).filter((one) => BOROUGHS[one].some((shape) => contains(shape, [longitude, latitude])));
    assert.deepEqual(on, [borough], name);
  }
});

test("names of boroughs are on land, and names of waters on water", () => {
  const land = [...Object.values(BOROUGHS).flat(), ...NEIGHBORS];
  for (const { text, kind, at } of NAMES) {
    assert.equal(land.some((shape) => contains(shape, at)), kind === "borough", text);
  }
});

test("an address holds a ride, and invalid parts of it are left out", () => {
  const full = { from: 130, to: 230, miles: 12.5, time: "2021-03-01T08:15" };

  assert.equal(fragment(full), "#from=130&to=230&miles=12.5&time=2021-03-01T08:15");
  assert.deepEqual(parse(fragment(full)), full);
  const short = { from: 130, to: null, miles: null, time: "" };
  assert.equal(fragment(short), "#from=130");
  assert.deepEqual(parse(fragment(short)), short);
  assert.equal(fragment({ ...full, from: null, to: null }), "");
  const nothing = { from: null, to: null, miles: null, time: "" };
  assert.deepEqual(parse("#from=x&to=-1&miles=1e9&time=noon"), nothing);
  assert.deepEqual(parse(""), nothing);
});

const trained = (version, changes = {}) => ({
  version,
  training_rides: { source: "tlc", months: ["2021-01"], rides: 73_855, longest_miles: 25.6, ...changes },
});

test("the origin of a quote names real months or simulated rides", () => {
  const unknown = { version: "c", training_rides: null };
  const months = ["2021-01", "2021-03"];

  assert.equal(origin({ duration: trained("d"), cost: trained("c") }), "Made from real taxi rides of January 2021.");
  assert.equal(
    origin({ duration: trained("d", { months }), cost: null }),
    "Made from real taxi rides of 2 months from January 2021 to March 2021.",
  );
  assert.match(origin({ duration: trained("d", { source: "simulated" }), cost: null }), /simulated rides, not from real/);
  assert.match(origin({ duration: trained("d"), cost: unknown }), /cost from rides that the model does not name/);
  assert.equal(origin({ duration: unknown, cost: null }), "");
  assert.deepEqual(details({ duration: trained("d"), cost: unknown }), ["Duration: model d, 73,855 rides", "Cost: model c"]);
});

test("a distance beyond that of the models' rides gets a sentence", () => {
  const models = { duration: trained("d"), cost: trained("c", { longest_miles: 30 }) };

  assert.equal(tooFar(models, 25.6), "");
  assert.match(tooFar(models, 25.7), /longer than 25.6 mi/);
  assert.equal(tooFar({ duration: { version: "d", training_rides: null }, cost: null }, 900), "");
});

test("a quote of other models is recognized", () => {
  const both = { duration: trained("d"), cost: trained("c") };

  assert.ok(made(both, { duration: 1, versions: { duration: "d", cost: "c" } }));
  assert.ok(!made(both, { duration: 1, versions: { duration: "d" } }));
  assert.ok(made({ ...both, cost: null }, { duration: 1, versions: { duration: "d" } }));
});

test("straight-line distance is 69 miles per degree of latitude, and symmetric", () => {
  const [south, north] = [zone(1, "a", "", 40, -74), zone(2, "b", "", 41, -74)];

  assert.ok(Math.abs(straightMiles(south, north) - 69.1) < 0.1);
  assert.equal(straightMiles(south, north), straightMiles(north, south));
});

test("a distance is suggested between zones and within one zone", () => {
  const table = { road_factor: 1.3, miles_within: 0.8, zones: [] };
  const [south, north] = [zone(1, "a", "", 40, -74), zone(2, "b", "", 40.1, -74)];

  assert.equal(suggestedMiles(table, south, north), 9);
  assert.equal(suggestedMiles(table, south, south), 0.8);
});

/** Pseudorandom places, the same in each run. */
function scattered(count) {
  let seed = 7;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  return places(Array.from({ length: count }, (_, id) => zone(id, "", "", 40 + random(), -74 + random())));
}

test("no corner of a cell is closer to another place than to its own", () => {
  const all = scattered(120);

  for (const place of all) {
    const corners = cell(place, all);
    assert.ok(corners.length > 2);
    for (const [x, y] of corners) {
      const own = Math.hypot(place.x - x, place.y - y);
      for (const other of all) assert.ok(Math.hypot(other.x - x, other.y - y) > own - 1e-6);
    }
  }
});

test("an arrow key moves to a place in its direction, or stays", () => {
  const all = scattered(60);

  for (const place of all) {
    const east = neighbor(all, place, [1, 0]);
    assert.ok(east === place || east.x > place.x);
  }
});

test("a tap selects the nearest place, or none if all are far away", () => {
  const all = scattered(60);
  const [first] = all;

  assert.equal(nearest(all, [first.x + 0.01, first.y], 5), first);
  assert.equal(nearest(all, [1e6, 0], 5), null);
});

test("numbers are formatted with their units", () => {
  assert.equal(formatting.minutes(20.6), "21 min");
  assert.equal(formatting.minutes(59.7), "1 h");
  assert.equal(formatting.minutes(65), "1 h 5 min");
  assert.equal(formatting.minutesBetween([17.2, 26.9]), "17–27 min");
  assert.equal(formatting.minutesBetween([50, 70]), "50 min – 1 h 10 min");
  assert.equal(formatting.dollarsBetween([15.2, 22.9]), "$15–$23");
  assert.equal(formatting.miles(3.66), "3.7 mi");
});

test("a quote is announced as a sentence, with its ranges, and without a missing cost", () => {
  const versions = { duration: "v" };

  assert.equal(formatting.spoken({ duration: 21, versions }), "21 min.");
  assert.equal(
    formatting.spoken({ duration: 21, cost: 18.4, intervals: { duration: [17, 27] }, versions }),
    "21 min, likely between 17 min and 27 min; $18.40.",
  );
});

test("times are formatted in New York time", () => {
  assert.equal(formatting.newYorkTime(new Date("2021-03-01T13:15:00Z")), "2021-03-01T08:15");
  const sameYear = new Date("2021-12-31T12:00Z");
  assert.equal(formatting.moment("2021-03-01T08:15", sameYear), "Mon, Mar 1, 8:15 AM");
  assert.equal(formatting.moment("2022-03-01T08:15", sameYear), "Tue, Mar 1, 2022, 8:15 AM");
});

/** A fetch that never responds; it fails when its signal aborts. */
const fetchForever = (_, { signal }) =>
  new Promise((_, fail) => signal.addEventListener("abort", () => fail(signal.reason)));

test("a request ends when it is aborted or times out", async (t) => {
  const timers = [];
  t.mock.method(globalThis, "setTimeout", (run, after) => timers.push({ run, after }));
  t.mock.method(globalThis, "fetch", fetchForever);
  const [dropped, wanted] = [new AbortController(), new AbortController()];
  const results = [fetchQuote(ride(1), dropped.signal), fetchQuote(ride(2), wanted.signal)];

  dropped.abort();
  assert.equal((await results[0]).error.retry, true);

  assert.equal(timers[1].after, 15_000);
  timers[1].run();
  assert.equal((await results[1]).error.retry, true);
});

test("only the latest ride is requested, and an outdated quote is dropped", async () => {
  const requested = [];
  const shown = [];
  const slowFetch = async ({ trip_distance: miles }, signal) => {
    requested.push([miles, signal]);
    await sleep(miles === 2 ? 300 : 1);
    return { quote: { duration: miles, versions: { duration: "v" } } };
  };
  const client = createQuoteClient(slowFetch, (result) => shown.push(result.quote.duration));

  client.request(ride(1));
  client.request(ride(2));
  await sleep(350);
  client.request(ride(3));
  await sleep(500);

  assert.deepEqual(requested.map(([miles]) => miles), [2, 3]);
  assert.ok(requested[0][1].aborted);
  assert.deepEqual(shown, [3]);
});

test("temporary errors are retried, and others are not", async () => {
  const shown = [];
  const results = [{ error: { text: "gone", retry: true } }, { error: { text: "wrong", retry: false } }];
  const client = createQuoteClient(async () => results.shift(), (result) => shown.push(result.error.text));

  client.request(ride(1));
  await sleep(4800);

  assert.deepEqual(shown, ["gone", "wrong"]);
});

test("an error has a text, its field, and whether to retry", () => {
  const invalid = { type: "/docs#invalid-ride", field: "trip_distance" };

  assert.match(quoteError(422, invalid).text, /1,000 miles/);
  assert.equal(quoteError(422, invalid).field, "trip_distance");
  assert.equal(quoteError(422, { type: "/docs#unscorable" }).retry, false);
  assert.ok(quoteError(503, {}).retry && quoteError(502, {}).retry);
  assert.equal(quoteError(400, {}).retry, false);
});

const recentQuote = (dropoff, duration) => ({ pickup: 130, dropoff, miles: 3, when: "", duration });

test("a recent quote replaces an earlier one of the same ride, and six are kept", () => {
  const recent = createRecentQuotes(null);

  for (let dropoff = 1; dropoff <= 8; dropoff += 1) recent.add(recentQuote(dropoff, 10));
  recent.add(recentQuote(5, 20));

  assert.equal(recent.all().length, 6);
  assert.deepEqual(recent.all()[0], recentQuote(5, 20));
  assert.equal(recent.isStored(), false);
});

test("recent quotes survive a storage that is full or holds invalid data", () => {
  const full = () => {
    throw new Error("full");
  };
  const recent = createRecentQuotes({ getItem: () => '[{"pickup": "x"}, 7]', setItem: full });

  recent.add(recentQuote(5, 20));

  assert.deepEqual(recent.all(), [recentQuote(5, 20)]);
  assert.equal(recent.isStored(), false);
  assert.deepEqual(createRecentQuotes({ getItem: () => "{", setItem: full }).all(), []);
});

test("arrow keys reach every zone from every other zone", () => {
  const all = places(CITY);
  const arrows = [[1, 0], [-1, 0], [0, 1], [0, -1]];
  const next = new Map(all.map((place) => [place, arrows.map((arrow) => neighbor(all, place, arrow))]));

  for (const from of all) {
    const reached = new Set([from]);
    for (const place of reached) for (const found of next.get(place)) reached.add(found);
    assert.equal(reached.size, all.length);
  }
});
