/** What the page works out by itself, without a browser: `node --test tests/web/page.test.mjs`. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { ask, createAsker, trouble } from "../../model_service/web/static/quote_client.js";
import { beside, cell, nearest, places } from "../../model_service/web/static/cells.js";
import { createRecent } from "../../model_service/web/static/recent_quotes.js";
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
const names = (found) => found.map(({ name }) => name);
const ride = (miles) => ({ PULocationID: 130, DOLocationID: 205, trip_distance: miles });
const soon = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

test("a zone is found by how its name begins, then by any of its words", () => {
  assert.deepEqual(names(matches(ZONES, "jam")).slice(0, 1), ["Jamaica"]);
  assert.deepEqual(names(matches(ZONES, "harlem")), ["East Harlem North", "Central Harlem North"]);
  assert.deepEqual(names(matches(ZONES, "n har")), ["East Harlem North", "Central Harlem North"]);
});

test("apostrophes, accents and capitals do not matter, and the borough is a word too", () => {
  assert.deepEqual(names(matches(ZONES, "GOVERNORS")), ["Governor's Island"]);
  assert.deepEqual(names(matches(ZONES, "jamaïca est")), ["Jamaica Estates"]);
  assert.equal(matches(ZONES, "manhattan").length, 3);
  assert.deepEqual(matches(ZONES, "hoboken"), []);
  assert.equal(matches(ZONES, " ").length, ZONES.length);
});

test("a name that several zones have gets their numbers, and all are in order", () => {
  const found = names(distinct([zone(57, "Corona"), zone(56, "Corona"), zone(7, "Astoria")]));

  assert.deepEqual(found.sort(), ["Astoria", "Corona (56)", "Corona (57)"]);
});

test("a degree of latitude is 69 miles, and a way back is as long", () => {
  const [south, north] = [zone(1, "a", "", 40, -74), zone(2, "b", "", 41, -74)];

  assert.ok(Math.abs(straightMiles(south, north) - 69.1) < 0.1);
  assert.equal(straightMiles(south, north), straightMiles(north, south));
});

test("a distance is suggested within a zone, too", () => {
  const table = { road_factor: 1.3, miles_within: 0.8, zones: [] };
  const [south, north] = [zone(1, "a", "", 40, -74), zone(2, "b", "", 40.1, -74)];

  assert.equal(suggestedMiles(table, south, north), 9);
  assert.equal(suggestedMiles(table, south, south), 0.8);
});

/** The same scattered places each time. */
function scattered(count) {
  let seed = 7;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  return places(Array.from({ length: count }, (_, id) => zone(id, "", "", 40 + random(), -74 + random())));
}

test("no corner of a cell is nearer to another place than to its own", () => {
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

test("an arrow leads to a place that lies there, or nowhere", () => {
  const all = scattered(60);

  for (const place of all) {
    const east = beside(all, place, [1, 0]);
    assert.ok(east === place || east.x > place.x);
  }
});

test("a tap means the nearest place, and none where all are far", () => {
  const all = scattered(60);
  const [first] = all;

  assert.equal(nearest(all, [first.x + 0.01, first.y], 5), first);
  assert.equal(nearest(all, [1e6, 0], 5), null);
});

test("numbers read as people say them", () => {
  assert.equal(formatting.minutes(20.6), "21 min");
  assert.equal(formatting.minutes(59.7), "1 h");
  assert.equal(formatting.minutes(65), "1 h 5 min");
  assert.equal(formatting.minutesBetween([17.2, 26.9]), "17–27 min");
  assert.equal(formatting.minutesBetween([50, 70]), "50 min – 1 h 10 min");
  assert.equal(formatting.dollarsBetween([15.2, 22.9]), "$15–$23");
  assert.equal(formatting.miles(3.66), "3.7 mi");
});

test("a quote is said in a sentence, with its ranges, and without a cost where there is none", () => {
  const versions = { duration: "v" };

  assert.equal(formatting.spoken({ duration: 21, versions }), "21 min.");
  assert.equal(
    formatting.spoken({ duration: 21, cost: 18.4, intervals: { duration: [17, 27] }, versions }),
    "21 min, likely between 17 min and 27 min; $18.40.",
  );
});

test("now is New York's", () => {
  assert.equal(formatting.newYorkTime(new Date("2021-03-01T13:15:00Z")), "2021-03-01T08:15");
  const sameYear = new Date("2021-12-31T12:00Z");
  assert.equal(formatting.moment("2021-03-01T08:15", sameYear), "Mon, Mar 1, 8:15 AM");
  assert.equal(formatting.moment("2022-03-01T08:15", sameYear), "Tue, Mar 1, 2022, 8:15 AM");
});

/** A service that never answers: what is asked of it ends when it is told to. */
const silent = (_, { signal }) =>
  new Promise((_, fail) => signal.addEventListener("abort", () => fail(signal.reason)));

test("a question ends when its answer is no longer wanted, or takes too long", async (t) => {
  const timers = [];
  t.mock.method(globalThis, "setTimeout", (run, after) => timers.push({ run, after }));
  t.mock.method(globalThis, "fetch", silent);
  const [dropped, wanted] = [new AbortController(), new AbortController()];
  const outcomes = [ask(ride(1), dropped.signal), ask(ride(2), wanted.signal)];

  dropped.abort();
  assert.equal((await outcomes[0]).trouble.again, true);

  assert.equal(timers[1].after, 15_000);
  timers[1].run();
  assert.equal((await outcomes[1]).trouble.again, true);
});

test("of several wishes the last is asked for, and a stale answer is dropped", async () => {
  const asked = [];
  const shown = [];
  const ask = async ({ trip_distance: miles }, signal) => {
    asked.push([miles, signal]);
    await soon(miles === 2 ? 300 : 1);
    return { quote: { duration: miles, versions: { duration: "v" } } };
  };
  const asker = createAsker(ask, (outcome) => shown.push(outcome.quote.duration));

  asker.want(ride(1));
  asker.want(ride(2));
  await soon(350);
  asker.want(ride(3));
  await soon(500);

  assert.deepEqual(asked.map(([miles]) => miles), [2, 3]);
  assert.ok(asked[0][1].aborted);
  assert.deepEqual(shown, [3]);
});

test("what may come right is asked again by itself, and nothing else is", async () => {
  const shown = [];
  const outcomes = [{ trouble: { text: "gone", again: true } }, { trouble: { text: "wrong", again: false } }];
  const asker = createAsker(async () => outcomes.shift(), (outcome) => shown.push(outcome.trouble.text));

  asker.want(ride(1));
  await soon(4800);

  assert.deepEqual(shown, ["gone", "wrong"]);
});

test("trouble is in words, names the field, and says whether to try again", () => {
  const invalid = { type: "/docs#invalid-ride", field: "trip_distance" };

  assert.match(trouble(422, invalid).text, /1,000 miles/);
  assert.equal(trouble(422, invalid).field, "trip_distance");
  assert.equal(trouble(422, { type: "/docs#unscorable" }).again, false);
  assert.ok(trouble(503, {}).again && trouble(502, {}).again);
  assert.equal(trouble(400, {}).again, false);
});

const past = (dropoff, duration) => ({ pickup: 130, dropoff, miles: 3, when: "", duration });

test("a recent quote takes the place of an earlier one of its ride, and few are kept", () => {
  const recent = createRecent(null);

  for (let dropoff = 1; dropoff <= 8; dropoff += 1) recent.add(past(dropoff, 10));
  recent.add(past(5, 20));

  assert.equal(recent.all().length, 6);
  assert.deepEqual(recent.all()[0], past(5, 20));
  assert.equal(recent.isKept(), false);
});

test("a storage that is full or holds nonsense is survived", () => {
  const full = () => {
    throw new Error("full");
  };
  const recent = createRecent({ getItem: () => '[{"pickup": "x"}, 7]', setItem: full });

  recent.add(past(5, 20));

  assert.deepEqual(recent.all(), [past(5, 20)]);
  assert.equal(recent.isKept(), false);
  assert.deepEqual(createRecent({ getItem: () => "{", setItem: full }).all(), []);
});

test("every zone can be reached by arrows from any other", () => {
  const [, ...rows] = readFileSync(new URL("../../model_service/zones.csv", import.meta.url), "utf8")
    .trim()
    .split(/\r?\n/);
  const columns = rows.map((row) => row.split(",").map(Number));
  const all = places(columns.map(([id, , , latitude, longitude]) => zone(id, "", "", latitude, longitude)));
  const arrows = [[1, 0], [-1, 0], [0, 1], [0, -1]];
  const next = new Map(all.map((place) => [place, arrows.map((arrow) => beside(all, place, arrow))]));

  for (const from of all) {
    const reached = new Set([from]);
    for (const place of reached) for (const found of next.get(place)) reached.add(found);
    assert.equal(reached.size, all.length);
  }
});
