// One ride, with fetch: node examples/quote.mjs [http://127.0.0.1:9696]
const address = process.argv[2] ?? "http://127.0.0.1:9696";

const answer = await fetch(`${address}/predict`, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ PULocationID: 130, DOLocationID: 205, trip_distance: 3.66 }),
  signal: AbortSignal.timeout(10_000),
});
const body = await answer.json();
if (answer.ok) {
  const cost = body.cost === undefined ? "" : `, ${body.cost.toFixed(2)} dollars`;
  console.log(`${body.duration.toFixed(1)} minutes${cost}`);
} else {
  console.error(`${body.title}: ${body.detail} (${answer.headers.get("x-request-id")})`);
  process.exitCode = 1;
}
